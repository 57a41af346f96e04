"""A TCP hop that keeps every byte: it stands between thinkgate and vLLM, so tests know what really went over the wire."""

import contextlib
import dataclasses
import socket
import threading
import time

from processes import LOOPBACK, free_port


@dataclasses.dataclass
class Message:
    """One HTTP/1.1 request or response as it was sent, with its body out of its framing."""

    first_line: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def status(self) -> int:
        return int(self.first_line.split(" ")[1])

    @property
    def path(self) -> str:
        return self.first_line.split(" ")[1]


@dataclasses.dataclass
class Exchange:
    request: Message
    response: Message | None


class Connection:
    """The bytes of one connection, in both directions; `arrived` has the time of each piece that the server sent."""

    def __init__(self):
        self.sent, self.received = bytearray(), bytearray()
        self.arrived: list[tuple[float, bytes]] = []
        self.seen = 0  # exchanges that a test has done with

    def exchanges(self) -> list[Exchange]:
        requests, responses = messages(bytes(self.sent)), messages(bytes(self.received))
        return [Exchange(request, responses[i] if i < len(responses) else None) for i, request in enumerate(requests)]

    def new(self) -> list[Exchange]:
        return self.exchanges()[self.seen :]


def messages(data: bytes) -> list[Message]:
    """All complete messages in one direction of a connection; the last one may end where the bytes end."""
    found = []
    while data:
        head, separator, rest = data.partition(b"\r\n\r\n")
        if not separator:
            break
        first_line, *lines = head.decode("latin-1").split("\r\n")
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        message = Message(first_line, headers, b"")
        if (message.header("transfer-encoding") or "").lower() == "chunked":
            message.body, data = dechunk(rest)
        elif (length := message.header("content-length")) is not None:
            message.body, data = rest[: int(length)], rest[int(length) :]
        elif first_line.startswith("HTTP/"):
            message.body, data = rest, b""
        else:
            data = rest
        found.append(message)
    return found


def dechunk(data: bytes) -> tuple[bytes, bytes]:
    """A chunked body, and what follows it. A body cut short gives what there is of it."""
    body = bytearray()
    while True:
        size, separator, rest = data.partition(b"\r\n")
        if not separator:
            return bytes(body), b""
        length = int(size.split(b";")[0], 16)
        body += rest[:length]
        data = rest[length + 2 :]
        if length == 0:
            return bytes(body), data


class Hop:
    """Listens on a port of its own, and passes everything on to `target` on this machine, which may change.

    It takes connections from `listen` on, so that an upstream can be late."""

    def __init__(self, target: int):
        self.target, self.port = target, free_port()
        self.connections: list[Connection] = []
        self.open: set[socket.socket] = set()
        self.listener: socket.socket | None = None

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def listen(self) -> "Hop":
        self.listener = socket.create_server((LOOPBACK, self.port))
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.listener:
            # Wakes the thread that waits in accept; closing alone does not.
            with contextlib.suppress(OSError):
                self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
        self.drop()

    def move_to(self, target: int) -> None:
        """Another server stands behind the address from now on, as after a restart."""
        self.target = target
        self.drop()

    def drop(self) -> None:
        for connection in list(self.open):
            close(connection)

    def clear(self) -> None:
        """Forgets what was said so far. Connections stay: thinkgate keeps them for the next request."""
        for connection in list(self.connections):
            connection.seen = len(connection.exchanges())
            connection.arrived = []

    def exchanges(self, path: str) -> list[Exchange]:
        """What was asked at `path` since the last `clear`."""
        return [e for connection in list(self.connections) for e in connection.new() if e.request.path == path]

    def exchange(self, path: str) -> Exchange:
        [only] = self.exchanges(path)
        return only

    def arrivals(self) -> list[tuple[float, bytes]]:
        """When each piece came from the server, on the connection that got the most."""
        return max((c.arrived for c in self.connections), key=lambda pieces: sum(len(p) for _, p in pieces))

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection((LOOPBACK, self.target), timeout=5)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            connection = Connection()
            self.connections.append(connection)
            self.open |= {near, far}
            for source, sink, up in ((near, far, True), (far, near, False)):
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._pump, args=(source, sink, connection, up), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, connection: Connection, up: bool) -> None:
        """Bytes are kept before they go on, so whoever has an answer finds all of it here."""
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                if up:
                    connection.sent += piece
                else:
                    connection.received += piece
                    connection.arrived.append((time.monotonic(), piece))
                sink.sendall(piece)
        self.open -= {source, sink}
        close(source)
        close(sink)


def close(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
