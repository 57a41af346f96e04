"""Helpers for tests of failing upstreams: a gateway with short timeouts, a frozen server, and the end of a stream."""

import contextlib
import json
import os
import pathlib
import signal

from tests.harness.processes import Gateway, Vllm

from .http_messages import Message, parse_messages
from .models import MODEL
from .raw_http import connect, request_bytes
from .request_kinds import chat_body

LONG = {"max_tokens": 1500, "ignore_eos": True}  # five seconds of generation
IDLE_S = 4  # long enough for the pauses of a busy machine
LIMITS = {"idle_ms": IDLE_S * 1000, "open_ms": 1000, "discover_ms": 1000}


@contextlib.contextmanager
def gateway_with_short_limits(log: pathlib.Path, *urls: str, **limits: int):
    """A gateway with short timeouts in front of these servers, which serve one model."""
    config = {"models": {MODEL: {"endpoints": [{"url": url} for url in urls]}}, "upstream": LIMITS | limits}
    file = log.with_suffix(".yaml")
    file.write_text(json.dumps(config))
    with Gateway(None, log, ["--config", str(file)]) as gateway:
        yield gateway.wait()


@contextlib.contextmanager
def frozen(vllm: Vllm):
    """Stops all processes of vLLM by SIGSTOP while in this context. Its connections stay open."""
    os.killpg(vllm.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(vllm.process.pid, signal.SIGCONT)


class Stream:
    """A streamed response that has begun."""

    def __init__(self, gateway: Gateway, **fields):
        self.connection, self.data = connect(gateway.port), bytearray()
        body = chat_body(MODEL, "Go on and on.", stream=True, **LONG | fields)
        self.connection.sendall(request_bytes(body, headers=("Connection: close",)))
        while b"data: " not in self.data:
            piece = self.connection.recv(65536)
            assert piece, bytes(self.data)
            self.data += piece

    def read_to_end(self) -> Message:
        """Reads until the connection ends; returns the whole response, which must have a clean end."""
        with contextlib.closing(self.connection), contextlib.suppress(ConnectionResetError):
            while piece := self.connection.recv(65536):
                self.data += piece
        assert self.data.endswith(b"\r\n0\r\n\r\n"), f"the stream has no clean end: {bytes(self.data[-300:])!r}"
        [answer] = parse_messages(bytes(self.data))
        return answer


def final_error(answer: Message) -> dict:
    """The error event at the end of a stream. Nothing may follow it."""
    *events, end = answer.body.split(b"\n\n")
    assert end == b"" and b"[DONE]" not in answer.body, answer.body[-500:]
    return json.loads(events[-1].strip().removeprefix(b"data: "))["error"]


def final_vllm_error(answer: Message) -> dict | None:
    """The error event of vLLM at the end of a stream, which `[DONE]` follows; None where there is none."""
    *events, end = answer.body.removesuffix(b"data: [DONE]\n\n").split(b"\n\n")
    assert end == b"", answer.body[-500:]
    error = json.loads(events[-1].strip().removeprefix(b"data: ")).get("error")
    return error if answer.body.endswith(b"[DONE]\n\n") else None


def is_complete(answer: Message) -> bool:
    """Whether a stream ended as vLLM ends it, after `max_tokens` tokens."""
    return answer.status == 200 and answer.body.endswith(b"data: [DONE]\n\n") and b'"finish_reason":"length"' in answer.body


def error_code(answer: Message) -> str:
    """The code of an error response."""
    return json.loads(answer.body)["error"]["code"]
