"""Events reach the client as they are generated. A client that disconnects stops the model."""

import contextlib
import json
import socket
import statistics
import struct
import time

import pytest

from tests.harness.processes import Gateway

from .http_messages import parse_messages
from .models import MODEL
from .raw_http import CHAT, connect, request_bytes, seconds_until
from .recording_proxy import RecordingProxy
from .request_kinds import chat_body

IDLE_WITHIN_S = 0.2
LINGER_ZERO = struct.pack("ii", 1, 0)  # closing sends a reset
LONG = {"max_tokens": 1500, "ignore_eos": True}  # five seconds of generation


def test_each_event_is_sent_on_when_it_arrives(gateway, proxy, measured):
    body = chat_body(MODEL, "Count for a while.", max_tokens=300, ignore_eos=True, stream=True)
    pieces = []
    with contextlib.closing(connect(gateway.port)) as connection:
        connection.sendall(request_bytes(body, headers=("Connection: close",)))
        while piece := connection.recv(65536):
            pieces.append((time.monotonic(), piece))
    arrived = proxy.arrivals()
    first = next(at for at, piece in pieces if b"data: " in piece)
    last = max(at for at, piece in arrived if b"data: " in piece)
    assert last - first > 0.3, "the first event came only when the answer was nearly done"

    # For each event, the time from its last byte at the proxy to its last byte at the client.
    lags = [got - had for had, got in zip(event_times(arrived), event_times(pieces), strict=True)]
    median, worst = statistics.median(lags) * 1e3, max(lags) * 1e3
    measured(f"an SSE event spends {median:.2f} ms in the gateway (median of {len(lags)}, worst {worst:.1f} ms)")
    measured(f"the first event was there {last - first:.2f} s before the last one was generated")
    assert median < 10


def event_times(pieces: list[tuple[float, bytes]]) -> list[float]:
    """The time at which the last byte of each SSE event arrived."""
    times, tail = [], b""
    for at, piece in pieces:
        data = tail + piece
        times += [at] * data.count(b"\n\n")
        # vLLM sends one event a chunk, so chunk framing is between events, never inside a blank line.
        tail = data[-1:] if not data.endswith(b"\n\n") else b""
    return times


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
def test_a_client_that_disconnects_makes_vllm_idle(gateway, vllm, proxy, measured, stream, end):
    waits = []
    for _ in range(3):
        connection = connect(gateway.port)
        connection.sendall(request_bytes(chat_body(MODEL, "Go on and on.", stream=stream, **LONG)))
        seconds_until(lambda: vllm.running() == 1, 5)
        if stream:
            assert connection.recv(65536).startswith(b"HTTP/1.1 200"), "it has begun"
        if end == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
        connection.close()
        waits.append(seconds_until(lambda: vllm.running() == 0, 5))
    kind = "stream" if stream else "plain"
    measured(
        f"vLLM was idle {', '.join(f'{wait * 1e3:.0f}' for wait in waits)} ms after the client of a {kind} answer left ({end})"
    )
    assert sorted(waits)[1] < IDLE_WITHIN_S  # one of three may meet a busy machine


def test_a_stream_that_ends_early_is_not_repeated(gateway, proxy):
    """A client that disconnects is no failure of the upstream, so thinkgate does not retry."""
    with contextlib.closing(connect(gateway.port)) as connection:
        connection.sendall(request_bytes(chat_body(MODEL, "Go on and on.", stream=True, **LONG)))
        connection.recv(65536)
    time.sleep(0.5)
    assert len(proxy.exchanges(CHAT)) == 1


def test_a_server_that_disconnects_ends_the_stream_with_an_error(vllm, log):
    with RecordingProxy(vllm.port).listen() as proxy, Gateway(proxy.url, log) as gateway:
        gateway.wait()
        body = chat_body(MODEL, "Go on and on.", stream=True, **LONG)
        with contextlib.closing(connect(gateway.port)) as connection:
            connection.sendall(request_bytes(body, headers=("Connection: close",)))
            data = bytearray()
            while b"data: " not in data:
                piece = connection.recv(65536)
                assert piece, bytes(data)
                data += piece
            proxy.drop()
            while piece := connection.recv(65536):
                data += piece
        [answer] = parse_messages(bytes(data))
        *before, last, end = answer.body.split(b"\n\n")
        assert end == b"" and data.endswith(b"\r\n0\r\n\r\n"), "the stream has a clean end"
        error = json.loads(last.strip().removeprefix(b"data: "))["error"]
        assert error["code"] == "upstream_reset" and error["message"] and error["type"] == "server_error"
        assert b"[DONE]" not in answer.body
        assert json.loads(before[0].removeprefix(b"data: "))["object"] == "chat.completion.chunk"
