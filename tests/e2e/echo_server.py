"""An upstream that answers with the very bytes it was sent, for tests of what arrives where; it keeps nothing."""

import contextlib
import socket
import threading

from hop import Message, messages
from processes import LOOPBACK, free_port


class Echo:
    """Serves HTTP/1.1 on a port of its own, a thread a connection; `name` is told in the answer's `x-upstream`.

    It pretends to have decided something itself, as no client may ever be told."""

    FORGED = "x-thinkgate-score: forged\r\nx-thinkgate-domain: forged\r\nx-thinkgate-forged: forged\r\n"

    def __init__(self, name: str = "echo"):
        self.name, self.port = name, free_port()
        self.listener = socket.create_server((LOOPBACK, self.port), backlog=128)
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Wakes the thread that waits in accept; closing alone does not.
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
    """The next request on a connection, framing included."""
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
    """All lines up to an empty one, and that one."""
    lines = []
    while not lines or lines[-1] != b"\r\n":
        if not (line := stream.readline()):
            raise EOFError
        lines.append(line)
    return b"".join(lines)


def echoed(answer: Message) -> Message:
    """The request that the upstream got."""
    assert answer.status == 200, answer
    [request] = messages(answer.body)
    return request
