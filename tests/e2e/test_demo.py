"""`thinkgate demo` prints two curl commands that do what it says they do."""

import re
import signal
import subprocess

from tests.harness.processes import ServerProcess, free_port, thinkgate_binary


def test_the_printed_commands_do_what_they_say(log):
    port = free_port()
    with ServerProcess([thinkgate_binary(), "demo", "--listen", f"127.0.0.1:{port}"], port, log) as demo:
        demo.wait_for("/ready", 200, 30)
        printed = log.read_text()
        assert f"http://127.0.0.1:{port}" in printed
        # A backslash at the end of a line continues the command.
        commands = re.findall(r"^ *(curl (?:.*\\\n)*.*)$", printed, re.MULTILINE)
        answers = [paste(command) for command in commands]
        assert [mode(answer) for answer in answers] == ["reasoning", "direct"]
        assert ["I was told to think" in answer for answer in answers] == [True, False]
        demo.process.send_signal(signal.SIGINT)
        assert demo.process.wait(5) == 0


def paste(command: str) -> str:
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, timeout=30).stdout


def mode(answer: str) -> str:
    return re.search(r"^x-thinkgate-mode: (\w+)", answer, re.MULTILINE)[1]
