"""A vLLM freezes, dies and restarts: what the gateway's client sees."""

import concurrent.futures
import os
import pathlib
import signal
import time

from tests.harness.processes import Vllm, make_model

from .fault_injection import (
    IDLE_S,
    Stream,
    error_code,
    final_error,
    final_vllm_error,
    frozen,
    gateway_with_short_limits,
    is_complete,
)
from .models import MODEL
from .raw_http import chat, exchange, request_bytes, seconds_until
from .request_kinds import chat_body


def test_a_server_that_freezes_ends_its_streams_after_the_idle_limit(vllm, log):
    with gateway_with_short_limits(log, vllm.url) as gateway:
        stream = Stream(gateway)
        with frozen(vllm):
            start = time.monotonic()
            error = final_error(stream.read_to_end())
            assert error["code"] == "upstream_timeout" and "upstream.idle_ms" in error["message"]
            assert IDLE_S - 0.5 < time.monotonic() - start < IDLE_S + 5
    seconds_until(lambda: vllm.running() == 0, 10)


def test_a_server_that_freezes_for_less_than_the_limit_is_not_noticed(vllm, log):
    with gateway_with_short_limits(log, vllm.url, idle_ms=15000) as gateway:
        stream = Stream(gateway)
        with frozen(vllm):
            time.sleep(1.5)
        assert is_complete(stream.read_to_end())


def test_a_frozen_server_does_not_answer_within_the_limit_for_headers(vllm, log):
    with gateway_with_short_limits(log, vllm.url, headers_ms=1500) as gateway:
        with frozen(vllm):
            start = time.monotonic()
            answer = chat(gateway.port, MODEL, "Hello")
            assert answer.status == 504 and error_code(answer) == "upstream_timeout"
            assert b"upstream.headers_ms" in answer.body
            assert time.monotonic() - start < 6
        assert chat(gateway.port, MODEL, "Hello").status == 200, "one that is awake again answers again"


def test_an_engine_that_freezes_sends_no_first_chunk(vllm, log):
    """vLLM sends the headers of a stream before its engine has generated anything."""
    engine = next(pid for pid in children(vllm.process.pid) if "EngineCore" in pathlib.Path(f"/proc/{pid}/cmdline").read_text())
    with gateway_with_short_limits(log, vllm.url, first_chunk_ms=1500) as gateway:
        os.kill(engine, signal.SIGSTOP)
        try:
            answer = exchange(gateway.port, request_bytes(chat_body(MODEL, "Hello", stream=True), headers=("Connection: close",)))
        finally:
            os.kill(engine, signal.SIGCONT)
        # vLLM may have sent its first chunk, which has only the role, before the engine stopped.
        assert answer.status == 200
        error = final_error(answer)
        assert error["code"] == "upstream_timeout"
        assert "upstream.first_chunk_ms" in error["message"] or "upstream.idle_ms" in error["message"]


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_one_of_two_servers_dies_and_comes_back_and_the_other_dies_slowly(vllm, work, log, measured):
    """SIGKILL during responses, a restart at the same address, and then SIGTERM."""
    model = make_model(work / "Qwen3-0.6B-mortal")
    with Vllm(model, MODEL, work / "mortal-vllm.log") as mortal:
        mortal.wait()
        with gateway_with_short_limits(log, vllm.url, mortal.url) as gateway:
            check_kill_during_responses(gateway, vllm, mortal, measured)
            # New requests go to the other server, so no client notices.
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                answers = list(pool.map(lambda n: chat(gateway.port, MODEL, f"Hello {n}", max_tokens=3), range(100)))
            assert [answer.status for answer in answers] == [200] * 100
            with Vllm(model, MODEL, work / "mortal-vllm-again.log", port=mortal.port) as again:
                again.wait()
                wait_until_used_again(gateway, again)
                check_sigterm_during_streams(gateway, again, measured)


def check_kill_during_responses(gateway, vllm, mortal, measured) -> None:
    # All of them fit into the cache of one vLLM. Otherwise it would queue some of them.
    streams = [Stream(gateway, max_tokens=1000) for _ in range(6)]
    assert mortal.running() and vllm.running(), "both have some of them"
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        # These have received nothing when it dies, because a plain response is sent when it is complete.
        unanswered = [pool.submit(chat, gateway.port, MODEL, f"Count to {n}.", max_tokens=1000, ignore_eos=True) for n in range(6)]
        seconds_until(lambda: mortal.running() + vllm.running() == 12, 20)
        os.killpg(mortal.process.pid, signal.SIGKILL)
        ends = [stream.read_to_end() for stream in streams]
        answers = [request.result() for request in unanswered]
    cut = [answer for answer in ends if not is_complete(answer)]
    assert 0 < len(cut) < len(ends)
    assert {final_error(answer)["code"] for answer in cut} == {"upstream_reset"}
    assert all(answer.status == 200 and b'"finish_reason":"length"' in answer.body for answer in answers)
    measured(
        f"a vLLM killed: {len(cut)} streams that it had begun ended with an error, {len(answers)} unanswered requests were answered"
    )


def wait_until_used_again(gateway, again) -> None:
    """Sends requests until the restarted server receives one."""
    deadline = time.monotonic() + 30
    while not again.generated():
        assert chat(gateway.port, MODEL, "Hello", max_tokens=3).status == 200
        assert time.monotonic() < deadline, gateway.log_end()


def check_sigterm_during_streams(gateway, again, measured) -> None:
    """On SIGTERM vLLM abandons its requests: a stream ends with an error or an `abort` of vLLM, or stalls until our timeout."""
    streams = [Stream(gateway, max_tokens=1000) for _ in range(4)]
    seconds_until(again.running, 5)
    start = time.monotonic()
    again.process.send_signal(signal.SIGTERM)
    cut = [answer for answer in (stream.read_to_end() for stream in streams) if not is_complete(answer)]
    seconds = time.monotonic() - start
    assert 0 < len(cut) < len(streams)
    codes = {how_it_ended(answer) for answer in cut}
    measured(f"a vLLM told to stop: its {len(cut)} streams ended with {', '.join(codes)}, {seconds:.1f} s after SIGTERM at most")
    assert codes <= {"500", "abort", "upstream_timeout", "upstream_reset"}
    answers = [chat(gateway.port, MODEL, f"Hello {n}", max_tokens=3).status for n in range(20)]
    assert answers == [200] * 20


def how_it_ended(answer) -> str:
    """`abort`, or the code of the error, of a stream that is not complete."""
    if answer.body.endswith(b"data: [DONE]\n\n") and b'"finish_reason":"abort"' in answer.body:
        return "abort"  # vLLM 0.32 on a slow machine
    return str((final_vllm_error(answer) or final_error(answer))["code"])
