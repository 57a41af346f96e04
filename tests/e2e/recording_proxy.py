"""A TCP proxy between thinkgate and vLLM that records every byte, so that tests see what was sent."""

import contextlib
import dataclasses
import socket
import threading
import time

from tests.harness.processes import LOOPBACK, free_port

from .http_messages import Message, parse_messages


@dataclasses.dataclass
class Exchange:
    """A request and its response, which is None until it begins."""

    request: Message
    response: Message | None


class Connection:
    """The recorded bytes of one connection. `arrived` has the time of each piece that the server sent."""

    def __init__(self):
        self.sent, self.received = bytearray(), bytearray()
        self.arrived: list[tuple[float, bytes]] = []
        self.cleared = 0  # the number of exchanges before the last `clear`

    def exchanges(self) -> list[Exchange]:
        """All exchanges of the connection."""
        requests, responses = parse_messages(bytes(self.sent)), parse_messages(bytes(self.received))
        return [Exchange(request, responses[i] if i < len(responses) else None) for i, request in enumerate(requests)]

    def new_exchanges(self) -> list[Exchange]:
        """The exchanges since the last `clear`."""
        return self.exchanges()[self.cleared :]


class RecordingProxy:
    """Forwards connections from a port of its own to port `target` of this machine, which may change.

    It accepts connections only after `listen`, so that a test can have an upstream that starts late.
    """

    def __init__(self, target: int):
        self.target, self.port = target, free_port()
        self.connections: list[Connection] = []
        self.open: set[socket.socket] = set()
        self.listener: socket.socket | None = None

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def listen(self) -> "RecordingProxy":
        """Begins to accept connections."""
        self.listener = socket.create_server((LOOPBACK, self.port))
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.listener:
            # Wakes the thread that waits in `accept`. Closing alone would not.
            with contextlib.suppress(OSError):
                self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
        self.drop()

    def move_to(self, target: int) -> None:
        """Forwards to another server from now on, as after a restart."""
        self.target = target
        self.drop()

    def drop(self) -> None:
        """Closes all connections."""
        for connection in list(self.open):
            close(connection)

    def clear(self) -> None:
        """Forgets earlier exchanges. Connections stay open, because thinkgate reuses them."""
        for connection in list(self.connections):
            connection.cleared = len(connection.exchanges())
            connection.arrived = []

    def exchanges(self, path: str) -> list[Exchange]:
        """The exchanges with `path` since the last `clear`."""
        return [e for connection in list(self.connections) for e in connection.new_exchanges() if e.request.path == path]

    def exchange(self, path: str) -> Exchange:
        """The only exchange with `path` since the last `clear`."""
        [only] = self.exchanges(path)
        return only

    def arrivals(self) -> list[tuple[float, bytes]]:
        """The pieces that the server sent and their times, of the connection that received the most bytes."""
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
        """Copies bytes one way. It records them before it sends them on, so that a received response is always recorded."""
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
    """Closes a connection in both directions, also while another thread reads from it."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
