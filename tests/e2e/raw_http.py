"""HTTP by hand, for the tests that care about bytes and about when they come."""

import contextlib
import json
import re
import socket
import time

from hop import Message, messages
from kinds import chat_body
from processes import LOOPBACK

CHAT = "/v1/chat/completions"
# What thinkgate may put into a body: a new field of the request, or one more entry of the client's own object.
SWITCH = re.compile(
    rb"\s*,?\s*\"chat_template_kwargs\"\s*:\s*\{\s*\"enable_thinking\"\s*:\s*(true|false)\s*\}\s*,?\s*"
    rb"|\s*,?\s*\"enable_thinking\"\s*:\s*(true|false)\s*,?\s*"
)


def request_bytes(body: bytes, path: str = CHAT, headers: tuple[str, ...] = ()) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: gateway", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def connect(port: int) -> socket.socket:
    connection = socket.create_connection((LOOPBACK, port), timeout=60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def exchange(port: int, request: bytes) -> Message:
    """Sends a request that says `Connection: close`, and reads the answer to the end."""
    with contextlib.closing(connect(port)) as connection:
        connection.sendall(request)
        data = b"".join(iter(lambda: connection.recv(65536), b""))
    [answer] = messages(data)
    return answer


def chat(port: int, model: str, text: str, headers: tuple[str, ...] = (), **fields) -> Message:
    return exchange(port, request_bytes(chat_body(model, text, **fields), headers=("Connection: close", *headers)))


def thought(answer: Message) -> bool:
    """Whether the model did: the reasoning text is there."""
    assert answer.status == 200, answer
    return bool(json.loads(answer.body)["choices"][0]["message"].get("reasoning"))


def switch_in(sent: bytes, received: bytes) -> bool | None:
    """The value of the switch that was put into the client's body; None when the body came as it was sent.

    Fails when anything else differs: the rest has to be the client's bytes, before the switch and after it."""
    if sent == received:
        return None
    extra = len(received) - len(sent)
    for place in SWITCH.finditer(received):
        for at in range(place.start(), place.end() - extra + 1):
            if received[:at] == sent[:at] and received[at + extra :] == sent[at:]:
                if found := SWITCH.fullmatch(received[at : at + extra]):
                    return (found[1] or found[2]) == b"true"
    # `"chat_template_kwargs": null` counts as absent, and an object takes its place.
    for value in (b"true", b"false"):
        if received == re.sub(rb'("chat_template_kwargs"\s*:\s*)null', rb'\1{"enable_thinking":' + value + b"}", sent):
            return value == b"true"
    raise AssertionError(f"more than the switch has changed:\nsent     {sent!r}\nreceived {received!r}")


def seconds_until(condition, limit: float) -> float:
    """How long it took until `condition` held, asked again and again without a pause."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < limit, f"not within {limit} s"
        time.sleep(0.002)
    return time.monotonic() - start
