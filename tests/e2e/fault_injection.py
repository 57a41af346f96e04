"""What the tests of broken servers share: a gateway with short limits, a stream that is watched, a server that freezes."""

import contextlib
import json
import os
import pathlib
import signal

from conftest import MODEL
from hop import Message, messages
from kinds import chat_body
from processes import Gateway, Vllm
from wire import connect, request_bytes

LONG = {"max_tokens": 1500, "ignore_eos": True}  # five seconds of generation
IDLE_S = 4  # a busy machine pauses too
LIMITS = {"idle_ms": IDLE_S * 1000, "open_ms": 1000, "discover_ms": 1000}


@contextlib.contextmanager
def gateway_before(log: pathlib.Path, *urls: str, **limits: int):
    """A gateway with short limits before servers of one model."""
    config = {"models": {MODEL: {"endpoints": [{"url": url} for url in urls]}}, "upstream": LIMITS | limits}
    file = log.with_suffix(".yaml")
    file.write_text(json.dumps(config))
    with Gateway(None, log, ["--config", str(file)]) as gateway:
        yield gateway.wait()


@contextlib.contextmanager
def frozen(vllm: Vllm):
    """SIGSTOP: its connections stay, and nobody is there."""
    os.killpg(vllm.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(vllm.process.pid, signal.SIGCONT)


class Stream:
    """A long answer on its way to a client who has seen it begin."""

    def __init__(self, gateway: Gateway, **fields):
        self.connection, self.data = connect(gateway.port), bytearray()
        body = chat_body(MODEL, "Go on and on.", stream=True, **LONG | fields)
        self.connection.sendall(request_bytes(body, headers=("Connection: close",)))
        while b"data: " not in self.data:
            piece = self.connection.recv(65536)
            assert piece, bytes(self.data)
            self.data += piece

    def rest(self) -> Message:
        """The answer, once its connection has ended, in whatever way."""
        with contextlib.closing(self.connection), contextlib.suppress(ConnectionResetError):
            while piece := self.connection.recv(65536):
                self.data += piece
        assert self.data.endswith(b"\r\n0\r\n\r\n"), f"the stream has no clean end: {bytes(self.data[-300:])!r}"
        [answer] = messages(bytes(self.data))
        return answer


def last_error(answer: Message) -> dict:
    """The error that a stream ends with, and nothing after it."""
    *events, end = answer.body.split(b"\n\n")
    assert end == b"" and b"[DONE]" not in answer.body, answer.body[-500:]
    return json.loads(events[-1].strip().removeprefix(b"data: "))["error"]


def last_error_of_vllm(answer: Message) -> dict | None:
    """The error that vLLM itself ended a stream with, and it says [DONE] after it."""
    *events, end = answer.body.removesuffix(b"data: [DONE]\n\n").split(b"\n\n")
    assert end == b"", answer.body[-500:]
    error = json.loads(events[-1].strip().removeprefix(b"data: ")).get("error")
    return error if answer.body.endswith(b"[DONE]\n\n") else None


def is_whole(answer: Message) -> bool:
    return answer.status == 200 and answer.body.endswith(b"data: [DONE]\n\n") and b'"finish_reason":"length"' in answer.body


def code(answer: Message) -> str:
    return json.loads(answer.body)["error"]["code"]
