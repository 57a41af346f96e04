"""A client that sees everything: HTTP/1.1 on a plain socket, which reads when it wants to, and may leave at any point."""

import asyncio
import contextlib
import dataclasses
import socket
import struct

import h11

from processes import LOOPBACK

# Longer than any wait that the gateway may make a client endure, one after the other: whoever hears nothing for so long is lost.
PATIENCE_S = 60
LINGER_ZERO = struct.pack("ii", 1, 0)  # closing sends a reset


@dataclasses.dataclass
class Manners:
    """How a client treats its connection."""

    # It leaves when it has read so many bytes of the answer's body; 0: as soon as its request is sent.
    leaves_after: int | None = None
    # It leaves when it has sent so many bytes of its own body.
    sends_only: int | None = None
    leaves_by_reset: bool = False
    # It takes small pieces with a pause in seconds before each of the first ones, through a small buffer.
    pauses: tuple[float, ...] = ()


@dataclasses.dataclass
class Heard:
    """What came back, however it ended."""

    status: int = 0
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    body: bytearray = dataclasses.field(default_factory=bytearray)
    # whole: its framing says that it is complete. cut: the connection ended before that. silent: nothing for PATIENCE_S.
    # left: the client did. refused: no connection could be made.
    end: str = "whole"
    why: str = ""


class Connection:
    """One connection, for one request after the other."""

    def __init__(self, connected: socket.socket):
        self.socket, self.http = connected, h11.Connection(h11.CLIENT)
        self.loop = asyncio.get_running_loop()
        self.used = 0

    @classmethod
    async def open(cls, port: int, buffer: int = 0) -> "Connection":
        connected = socket.socket()
        connected.setblocking(False)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if buffer:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        try:
            await asyncio.wait_for(asyncio.get_running_loop().sock_connect(connected, (LOOPBACK, port)), PATIENCE_S)
        except BaseException:
            connected.close()
            raise
        return cls(connected)

    def is_fresh(self) -> bool:
        """Whether another request may be sent: the last exchange is complete, and the server has not closed since."""
        if self.http.our_state is not h11.DONE or self.http.their_state is not h11.DONE:
            return self.used == 0
        with contextlib.suppress(BlockingIOError, InterruptedError):
            self.socket.recv(1, socket.MSG_PEEK)
            return False  # its end, or bytes that nobody asked for
        return True

    def close(self, by_reset: bool = False) -> None:
        if by_reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
        self.socket.close()

    async def exchange(self, method: str, path: str, headers: list[tuple[str, str]], body: bytes, manners: Manners) -> Heard:
        """Sends a request, and reads its answer as `manners` say. Never raises for what the other side does."""
        if self.used:
            self.http.start_next_cycle()
        self.used += 1
        heard = Heard()
        # The answer may come while the body is still on its way.
        sending = asyncio.create_task(self._send(method, path, headers, body, manners.sends_only))
        try:
            if manners.sends_only is not None or manners.leaves_after == 0:
                await sending
                await asyncio.sleep(0.05)
                heard.end = "left"
            else:
                await self._read(heard, manners)
        except TimeoutError:
            heard.end = "silent"
        except (OSError, h11.RemoteProtocolError) as error:
            heard.end, heard.why = "cut", str(error) or type(error).__name__
        finally:
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await sending
        return heard

    async def _send(self, method, path, headers, body, only) -> None:
        request = h11.Request(method=method, target=path, headers=[("host", "gateway"), *headers, ("content-length", str(len(body)))])
        head = self.http.send(request)
        await self.loop.sock_sendall(self.socket, head + body[: 65536 if only is None else only])
        if only is None:
            await self.loop.sock_sendall(self.socket, body[65536:])
            self.http.send(h11.Data(body))
            self.http.send(h11.EndOfMessage())

    async def _read(self, heard: Heard, manners: Manners) -> None:
        pauses = list(manners.pauses)
        while True:
            event = self.http.next_event()
            if event is h11.NEED_DATA:
                if pauses and heard.status:
                    await asyncio.sleep(pauses.pop(0))
                piece = await asyncio.wait_for(self.loop.sock_recv(self.socket, 2048 if manners.pauses else 65536), PATIENCE_S)
                self.http.receive_data(piece)
            elif isinstance(event, h11.Response):
                heard.status = event.status_code
                heard.headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
            elif isinstance(event, h11.Data):
                heard.body += event.data
                if manners.leaves_after is not None and len(heard.body) >= manners.leaves_after:
                    heard.end = "left"
                    return
            elif isinstance(event, h11.EndOfMessage):
                return
            else:
                raise ConnectionResetError(f"the connection ended: {event!r}")
