"""A TCP relay between the gateway and one vLLM, which cuts, delays and refuses on command."""

import asyncio
import contextlib
import socket

from client import LINGER_ZERO
from processes import LOOPBACK, free_port


class Pair:
    """One connection of the gateway, and the one to vLLM that belongs to it."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter):
        self.near, self.far = near, far
        # The next piece from vLLM is passed on by half, and then the connection is reset: an event broken in its middle.
        self.breaks_next = False
        self.half_closed = False

    def reset(self) -> None:
        for writer in (self.near, self.far):
            with contextlib.suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
            writer.transport.abort()

    def half_close(self) -> None:
        """Tells the gateway that nothing more will come, in the middle of whatever came, and still takes what it sends."""
        self.half_closed = True
        with contextlib.suppress(OSError, RuntimeError):
            self.near.write_eof()
        self.far.transport.abort()


class Relay:
    """Listens on a port of its own for good; behind it stands `target`, a port on this machine, which may change."""

    def __init__(self, target: int):
        self.target, self.port = target, free_port()
        self.delay = 0.0  # seconds before each piece from vLLM goes on
        self.pairs: set[Pair] = set()
        self.server: asyncio.Server | None = None
        self.taken = 0  # connections so far

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    async def listen(self) -> None:
        self.server = await asyncio.start_server(self._serve, LOOPBACK, self.port)

    def refuse(self) -> None:
        """New connections are refused until `listen`; those that are open stay."""
        if self.server:
            self.server.close()
            self.server = None

    def open(self) -> int:
        return len(self.pairs)

    async def _serve(self, near_reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        self.taken += 1
        try:
            far_reader, far = await asyncio.open_connection(LOOPBACK, self.target)
        except OSError:
            # Nobody listens there. The gateway's connection stood already, so all that it can see is a reset.
            near.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
            near.transport.abort()
            return
        pair = Pair(near, far)
        self.pairs.add(pair)
        try:
            ways = [asyncio.create_task(self._pass(near_reader, far)), asyncio.create_task(self._answer(far_reader, pair))]
            # Whichever side ends first, ends both: so does a client's leaving reach vLLM.
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            while pair.half_closed and await near_reader.read(65536):
                pass
        except OSError:
            pass
        finally:
            self.pairs.discard(pair)
            near.close()
            far.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(65536):
                writer.write(piece)
                await writer.drain()

    async def _answer(self, reader: asyncio.StreamReader, pair: Pair) -> None:
        with contextlib.suppress(OSError, RuntimeError):
            while piece := await reader.read(65536):
                if self.delay:
                    await asyncio.sleep(self.delay)
                if pair.breaks_next:
                    pair.near.write(piece[: len(piece) // 2])
                    await asyncio.sleep(0.02)  # a reset must not overtake what was written
                    pair.reset()
                    return
                pair.near.write(piece)
                await pair.near.drain()
