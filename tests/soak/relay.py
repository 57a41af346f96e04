"""A TCP relay between the gateway and one vLLM that resets, delays and refuses connections on command."""

import asyncio
import contextlib
import socket

from tests.harness.processes import LOOPBACK, free_port

from .client import LINGER_ZERO


class RelayedConnection:
    """A connection from the gateway (near) and its connection to vLLM (far)."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter):
        self.near, self.far = near, far
        # Half of the next piece from vLLM is forwarded, then the connection is reset: this cuts an event in its middle.
        self.cut_next_piece = False
        self.half_closed = False

    def reset(self) -> None:
        """Resets both connections."""
        for writer in (self.near, self.far):
            with contextlib.suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
            writer.transport.abort()

    def half_close(self) -> None:
        """Ends the direction to the gateway, possibly in the middle of a response, and still reads what the gateway sends."""
        self.half_closed = True
        with contextlib.suppress(OSError, RuntimeError):
            self.near.write_eof()
        self.far.transport.abort()


class Relay:
    """Forwards connections from a fixed port of its own to port `target` of this machine, which may change."""

    def __init__(self, target: int):
        self.target, self.port = target, free_port()
        self.delay = 0.0  # seconds before each piece from vLLM is forwarded
        self.connections: set[RelayedConnection] = set()
        self.server: asyncio.Server | None = None
        self.accepted = 0  # connections so far

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    async def listen(self) -> None:
        """Accepts connections from now on."""
        self.server = await asyncio.start_server(self._serve, LOOPBACK, self.port)

    def refuse(self) -> None:
        """Refuses new connections until `listen`. Open ones stay open."""
        if self.server:
            self.server.close()
            self.server = None

    def open_connections(self) -> int:
        """The number of open connections."""
        return len(self.connections)

    async def _serve(self, near_reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        self.accepted += 1
        try:
            far_reader, far = await asyncio.open_connection(LOOPBACK, self.target)
        except OSError:
            # vLLM is down. The gateway's connection is already accepted, so all that the gateway can see is a reset.
            near.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
            near.transport.abort()
            return
        connection = RelayedConnection(near, far)
        self.connections.add(connection)
        try:
            directions = [
                asyncio.create_task(self._forward(near_reader, far)),
                asyncio.create_task(self._forward_response(far_reader, connection)),
            ]
            # The side that ends first ends both, so that vLLM learns when a client disconnects.
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
            for direction in directions:
                direction.cancel()
            await asyncio.gather(*directions, return_exceptions=True)
            while connection.half_closed and await near_reader.read(65536):
                pass
        except OSError:
            pass
        finally:
            self.connections.discard(connection)
            near.close()
            far.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(65536):
                writer.write(piece)
                await writer.drain()

    async def _forward_response(self, reader: asyncio.StreamReader, connection: RelayedConnection) -> None:
        with contextlib.suppress(OSError, RuntimeError):
            while piece := await reader.read(65536):
                if self.delay:
                    await asyncio.sleep(self.delay)
                if connection.cut_next_piece:
                    connection.near.write(piece[: len(piece) // 2])
                    await asyncio.sleep(0.02)  # so that the reset does not overtake the bytes
                    connection.reset()
                    return
                connection.near.write(piece)
                await connection.near.drain()
