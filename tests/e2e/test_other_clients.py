"""The OpenAI SDK for Node, and curl: only their base URL changes."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from tests.harness import prompts

from .models import MODEL
from .raw_http import CHAT

HERE = pathlib.Path(__file__).parent
SOME = prompts.THINK[:4] + prompts.DIRECT[:4]


def node() -> str:
    return str(pathlib.Path(sys.executable).parent / "node")


def test_the_sdk_for_node(gateway, proxy):
    asked = subprocess.run(
        [node(), HERE / "node" / "chat.mjs", f"{gateway.url}/v1", MODEL],
        input=json.dumps(SOME), capture_output=True, text=True, timeout=120, env=os.environ | {"NO_COLOR": "1"},
    )  # fmt: skip
    assert asked.returncode == 0, asked.stderr
    answers = [json.loads(line) for line in asked.stdout.splitlines()]
    assert len(answers) == 2 * len(SOME)
    sent = [json.loads(exchange.request.body) for exchange in proxy.exchanges(CHAT)]
    for answer, body in zip(answers, sorted(sent, key=order), strict=True):
        assert answer["why"] == "classifier"
        assert bool(answer["reasoning"]) == (answer["mode"] == "reasoning"), answer
        assert "made locally today" in answer["content"]
        assert body["chat_template_kwargs"] == {"enable_thinking": answer["mode"] == "reasoning"}
    assert {answer["mode"] for answer in answers} == {"reasoning", "direct"}


def order(body: dict) -> tuple[int, bool]:
    """Sorts requests as chat.mjs sent them: each prompt plain, then streamed. The proxy may have recorded two connections."""
    return SOME.index(body["messages"][0]["content"]), body.get("stream", False)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_curl(gateway, proxy, stream):
    modes = set()
    for prompt in SOME:
        proxy.clear()
        body = {"model": MODEL, "messages": [{"role": "user", "content": prompt}], "max_tokens": 1024, "stream": stream}
        command = ["curl", "-sS", "--no-buffer", "--dump-header", "-", f"{gateway.url}{CHAT}"]
        command += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
        head, _, answer = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout.partition(b"\r\n\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:])
        mode = headers["x-thinkgate-mode"]
        modes.add(mode)
        wire = proxy.exchange(CHAT)
        assert answer == wire.response.body
        assert (b'"reasoning":" the' in answer) == (mode == "reasoning")
        assert json.loads(wire.request.body)["chat_template_kwargs"] == {"enable_thinking": mode == "reasoning"}
    assert modes == {"reasoning", "direct"}
