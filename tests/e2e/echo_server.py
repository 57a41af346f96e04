"""An upstream that answers with the bytes of the request, for tests of what arrives where."""

import contextlib
import socket
import threading

from tests.harness.processes import LOOPBACK, free_port

from .http_messages import Message, parse_messages


class EchoServer:
    """Serves HTTP/1.1 on a port of its own, with a thread for each connection. Responses have `name` in `x-upstream`.

    They also have forged `x-thinkgate-*` headers, which must never reach a client.
    """

    FORGED = "x-thinkgate-score: forged\r\nx-thinkgate-domain: forged\r\nx-thinkgate-forged: forged\r\n"

    def __init__(self, name: str = "echo"):
        self.name, self.port = name, free_port()
        self.listener = socket.create_server((LOOPBACK, self.port), backlog=128)
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Wakes the thread that waits in `accept`. Closing alone would not.
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError), connection, connection.makefile("rb") as stream:
            while True:
                request = read_request(stream)
                head = f"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\nx-upstream: {self.name}\r\n{self.FORGED}"
                connection.sendall(f"{head}content-length: {len(request)}\r\n\r\n".encode() + request)


def read_request(stream) -> bytes:
    """The bytes of the next request on a connection, with their framing."""
    head = read_lines(stream)
    lines = head.lower().split(b"\r\n")
    if any(line.startswith(b"transfer-encoding:") for line in lines):
        body = bytearray()
        while True:
            size = stream.readline()
            body += size
            if not (length := int(size.split(b";")[0] or b"0", 16)):
                return head + body + read_lines(stream)
            body += stream.read(length + 2)
    length = next((int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:")), 0)
    return head + stream.read(length)


def read_lines(stream) -> bytes:
    """All lines up to and including an empty one."""
    lines = []
    while not lines or lines[-1] != b"\r\n":
        if not (line := stream.readline()):
            raise EOFError
        lines.append(line)
    return b"".join(lines)


def echoed(answer: Message) -> Message:
    """The request that the upstream received, from its response."""
    assert answer.status == 200, answer
    [request] = parse_messages(answer.body)
    return request
