"""HTTP over plain sockets, for tests of exact bytes and of their timing."""

import contextlib
import json
import re
import socket
import time

from tests.harness.processes import LOOPBACK

from .http_messages import Message, parse_messages
from .request_kinds import chat_body

CHAT = "/v1/chat/completions"
# What thinkgate may insert into a body: a new field, or a new entry in the client's own `chat_template_kwargs`.
SWITCH = re.compile(
    rb"\s*,?\s*\"chat_template_kwargs\"\s*:\s*\{\s*\"enable_thinking\"\s*:\s*(true|false)\s*\}\s*,?\s*"
    rb"|\s*,?\s*\"enable_thinking\"\s*:\s*(true|false)\s*,?\s*"
)


def request_bytes(body: bytes, path: str = CHAT, headers: tuple[str, ...] = ()) -> bytes:
    """A POST request with this body."""
    lines = [f"POST {path} HTTP/1.1", "Host: gateway", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def connect(port: int) -> socket.socket:
    """Opens a connection to a port on this machine."""
    connection = socket.create_connection((LOOPBACK, port), timeout=60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def exchange(port: int, request: bytes) -> Message:
    """Sends a request that has `Connection: close`, and reads the response to its end."""
    with contextlib.closing(connect(port)) as connection:
        connection.sendall(request)
        data = b"".join(iter(lambda: connection.recv(65536), b""))
    [answer] = parse_messages(data)
    return answer


def chat(port: int, model: str, text: str, headers: tuple[str, ...] = (), **fields) -> Message:
    """Sends a chat request with one user message."""
    return exchange(port, request_bytes(chat_body(model, text, **fields), headers=("Connection: close", *headers)))


def has_reasoning(answer: Message) -> bool:
    """Whether a chat response has reasoning text, so that the model reasoned."""
    assert answer.status == 200, answer
    return bool(json.loads(answer.body)["choices"][0]["message"].get("reasoning"))


def added_switch(sent: bytes, received: bytes) -> bool | None:
    """The value of the switch that thinkgate inserted into the client's body, or None when the body is unchanged.

    Fails when anything else differs: all other bytes must be the client's.
    """
    if sent == received:
        return None
    extra = len(received) - len(sent)
    for place in SWITCH.finditer(received):
        for at in range(place.start(), place.end() - extra + 1):
            is_inserted = received[:at] == sent[:at] and received[at + extra :] == sent[at:]
            if is_inserted and (found := SWITCH.fullmatch(received[at : at + extra])):
                return (found[1] or found[2]) == b"true"
    # thinkgate replaces `"chat_template_kwargs": null`, which counts as absent, by an object.
    for value in (b"true", b"false"):
        if received == re.sub(rb'("chat_template_kwargs"\s*:\s*)null', rb'\1{"enable_thinking":' + value + b"}", sent):
            return value == b"true"
    raise AssertionError(f"more than the switch has changed:\nsent     {sent!r}\nreceived {received!r}")


def seconds_until(condition, limit: float) -> float:
    """Polls `condition` until it holds; returns how many seconds that took."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < limit, f"not within {limit} s"
        time.sleep(0.002)
    return time.monotonic() - start


def send_slowly(port: int, path: str, body: bytes, framing: str, pause: float = 0.3) -> Message:
    """Sends the body in four pieces, with a pause before each.

    `framing` is `length`, `chunked`, or `trailers` for chunks and a trailer.
    """
    chunked = framing != "length"
    lines = [f"POST {path} HTTP/1.1", "Host: gateway", "Content-Type: application/json", "Connection: close"]
    lines += ["Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"]
    lines += ["Trailer: x-end"] if framing == "trailers" else []
    step = len(body) // 4 + 1
    with contextlib.closing(connect(port)) as connection:
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
        for at in range(0, len(body), step):
            time.sleep(pause)
            piece = body[at : at + step]
            connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            connection.sendall(b"0\r\nx-end: here\r\n\r\n" if framing == "trailers" else b"0\r\n\r\n")
        [answer] = parse_messages(b"".join(iter(lambda: connection.recv(65536), b"")))
    return answer
