"""An HTTP/1.1 client on a plain socket. It reports how a response ended, and can read slowly or disconnect at any point."""

import asyncio
import contextlib
import dataclasses
import socket
import struct

import h11

from tests.harness.processes import LOOPBACK

# Longer than all of the gateway's timeouts together. A request without any bytes for so long is lost.
RESPONSE_TIMEOUT_S = 60
LINGER_ZERO = struct.pack("ii", 1, 0)  # closing sends a reset


@dataclasses.dataclass
class ClientBehaviour:
    """How a client misuses its connection, if it does."""

    # It disconnects after so many bytes of the response body; 0: as soon as it has sent its request.
    disconnect_after: int | None = None
    # It disconnects after it has sent so many bytes of its own body.
    send_only: int | None = None
    # It disconnects by a reset instead of an orderly close.
    disconnect_by_reset: bool = False
    # It reads small pieces through a small buffer, with these pauses in seconds before the first ones.
    read_pauses: tuple[float, ...] = ()


@dataclasses.dataclass
class Response:
    """A response, however it ended."""

    status: int = 0
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    body: bytearray = dataclasses.field(default_factory=bytearray)
    # complete: by its framing. cut: the connection ended before that. silent: no bytes for RESPONSE_TIMEOUT_S.
    # disconnected: by the client. refused: no connection could be opened.
    end: str = "complete"
    why: str = ""


class Connection:
    """A connection that sends one request after the other."""

    def __init__(self, connected: socket.socket):
        self.socket, self.http = connected, h11.Connection(h11.CLIENT)
        self.loop = asyncio.get_running_loop()
        self.used = 0

    @classmethod
    async def open(cls, port: int, buffer: int = 0) -> "Connection":
        """Connects to a port on this machine. `buffer` is the size of the receive buffer in bytes, 0 for the default."""
        connected = socket.socket()
        connected.setblocking(False)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if buffer:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        try:
            await asyncio.wait_for(asyncio.get_running_loop().sock_connect(connected, (LOOPBACK, port)), RESPONSE_TIMEOUT_S)
        except BaseException:
            connected.close()
            raise
        return cls(connected)

    def is_reusable(self) -> bool:
        """Whether another request may be sent: the last exchange is complete, and the server has not closed the connection."""
        if self.http.our_state is not h11.DONE or self.http.their_state is not h11.DONE:
            return self.used == 0
        with contextlib.suppress(BlockingIOError, InterruptedError):
            self.socket.recv(1, socket.MSG_PEEK)
            return False  # the end of the connection, or unexpected bytes
        return True

    def close(self, by_reset: bool = False) -> None:
        """Closes the connection."""
        if by_reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
        self.socket.close()

    async def exchange(
        self, method: str, path: str, headers: list[tuple[str, str]], body: bytes, behaviour: ClientBehaviour
    ) -> Response:
        """Sends a request and reads its response as `behaviour` says. Failures are in the response, never exceptions."""
        if self.used:
            self.http.start_next_cycle()
        self.used += 1
        response = Response()
        # The response may arrive while the body is still being sent.
        sending = asyncio.create_task(self._send(method, path, headers, body, behaviour.send_only))
        try:
            if behaviour.send_only is not None or behaviour.disconnect_after == 0:
                await sending
                await asyncio.sleep(0.05)
                response.end = "disconnected"
            else:
                await self._read(response, behaviour)
        except TimeoutError:
            response.end = "silent"
        except (OSError, h11.RemoteProtocolError) as error:
            response.end, response.why = "cut", str(error) or type(error).__name__
        finally:
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await sending
        return response

    async def _send(self, method, path, headers, body, only) -> None:
        request = h11.Request(
            method=method, target=path, headers=[("host", "gateway"), *headers, ("content-length", str(len(body)))]
        )
        head = self.http.send(request)
        await self.loop.sock_sendall(self.socket, head + body[: 65536 if only is None else only])
        if only is None:
            await self.loop.sock_sendall(self.socket, body[65536:])
            self.http.send(h11.Data(body))
            self.http.send(h11.EndOfMessage())

    async def _read(self, response: Response, behaviour: ClientBehaviour) -> None:
        read_pauses = list(behaviour.read_pauses)
        while True:
            event = self.http.next_event()
            if event is h11.NEED_DATA:
                if read_pauses and response.status:
                    await asyncio.sleep(read_pauses.pop(0))
                piece = await asyncio.wait_for(
                    self.loop.sock_recv(self.socket, 2048 if behaviour.read_pauses else 65536), RESPONSE_TIMEOUT_S
                )
                self.http.receive_data(piece)
            elif isinstance(event, h11.Response):
                response.status = event.status_code
                response.headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
            elif isinstance(event, h11.Data):
                response.body += event.data
                if behaviour.disconnect_after is not None and len(response.body) >= behaviour.disconnect_after:
                    response.end = "disconnected"
                    return
            elif isinstance(event, h11.EndOfMessage):
                return
            else:
                raise ConnectionResetError(f"the connection ended: {event!r}")
