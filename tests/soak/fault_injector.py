"""What goes wrong during the run: on the way to vLLM, in vLLM itself, and by the hands of operators and clients."""

import asyncio
import contextlib
import json
import os
import random
import signal
import time

from cast import Cast, Server
from incidents import Incidents
from traffic import Traffic

LONG_PAUSE_S = (10, 14)  # over upstream.idle_ms
SHORT_PAUSE_S = (1, 3)  # well below every limit: no client may see it


class Faults:
    """Does one after the other until it is told to stop."""

    def __init__(self, cast: Cast, traffic: Traffic, incidents: Incidents, restarts: list[float]):
        self.cast, self.traffic, self.incidents = cast, traffic, incidents
        self.random = random.Random(traffic.mix.seed)
        # Seconds after the start at which a vLLM is killed: its way back takes half a minute of both cores.
        self.restarts = restarts
        self.mends: list[asyncio.Task] = []
        self.reloads = 0
        self.menu = {
            self.cut: 5, self.break_event: 4, self.half_close: 4, self.refuse: 3, self.delay: 3, self.pause: 4, self.long_pause: 1,
            self.burst: 2, self.reload: 3,
        }  # fmt: skip

    async def run(self, stop: asyncio.Event) -> None:
        began = time.monotonic()
        while not stop.is_set():
            if self.restarts and time.monotonic() - began > self.restarts[0]:
                self.restarts.pop(0)
                await self.restart()
            else:
                [what] = self.random.choices(list(self.menu), weights=self.menu.values())
                await what()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self.random.uniform(0.5, 4))
        await asyncio.gather(*self.mends)

    def fault(self, name: str, server: Server | None = None):
        return self.incidents.fault(name, server.name if server else "")

    def one(self) -> Server:
        return self.random.choice(self.cast.servers)

    # On the way between the gateway and vLLM.

    async def cut(self) -> None:
        server = self.one()
        with self.fault("cut", server):
            for pair in list(server.relay.pairs):
                pair.reset()

    async def break_event(self) -> None:
        server = self.one()
        with self.fault("break", server):
            for pair in list(server.relay.pairs):
                pair.breaks_next = True
            await asyncio.sleep(0.5)
            for pair in list(server.relay.pairs):
                pair.breaks_next = False

    async def half_close(self) -> None:
        server = self.one()
        with self.fault("half-close", server):
            for pair in list(server.relay.pairs):
                pair.half_close()

    async def refuse(self) -> None:
        server = self.one()
        with self.fault("refuse", server):
            server.relay.refuse()
            await asyncio.sleep(self.random.uniform(1, 5))
            await server.relay.listen()

    async def delay(self) -> None:
        server = self.one()
        with self.fault("delay", server):
            server.relay.delay = self.random.uniform(0.05, 0.3)
            await asyncio.sleep(self.random.uniform(2, 5))
            server.relay.delay = 0

    # Of vLLM itself.

    async def pause(self) -> None:
        await self.stop_for("pause", SHORT_PAUSE_S)

    async def long_pause(self) -> None:
        await self.stop_for("long pause", LONG_PAUSE_S)

    async def stop_for(self, name: str, seconds: tuple[float, float]) -> None:
        server = self.one()
        if not server.up:
            return
        with self.fault(name, server):
            os.killpg(server.vllm.process.pid, signal.SIGSTOP)
            await asyncio.sleep(self.random.uniform(*seconds))
            os.killpg(server.vllm.process.pid, signal.SIGCONT)

    async def restart(self) -> None:
        """Takes turns: SIGKILL, as when memory runs out, and SIGTERM, after which vLLM goes silent and keeps its connections."""
        name = "kill" if len(self.mends) % 2 == 0 else "term"
        up = [server for server in self.cast.servers if server.up]
        if len(up) == len(self.cast.servers):
            self.mends.append(asyncio.create_task(self._restart(name, self.random.choice(up))))

    async def _restart(self, name: str, server: Server) -> None:
        with self.fault(name, server):
            server.up = False
            if name == "term":
                os.kill(server.vllm.process.pid, signal.SIGTERM)
                await asyncio.sleep(12)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.vllm.process.pid, signal.SIGKILL)
            await asyncio.to_thread(server.vllm.process.wait)
            await server.start()

    # Of those who run the gateway, and of its clients.

    async def burst(self) -> None:
        """More requests at a time than `server.max_in_flight`."""
        with self.fault("burst"):
            asks = [self.traffic.mix.plain() for _ in range(self.cast.max_in_flight + 16)]
            await asyncio.gather(*(self.traffic.ask_once(ask) for ask in asks))

    async def reload(self) -> None:
        """A changed file, the same file, and one that is half written: none of it is seen by a client."""
        if "thinkgate_config_reload_ok" not in await self.cast.metrics():
            return
        self.reloads += 1
        gateway = self.cast.gateway
        with self.fault("reload"):
            good = self.cast.config(threshold=self.random.choice([0.4, 0.5, 0.6]))
            for text in self.random.choice([[good], [good], [json.dumps(good)[:200], good]]):
                self.cast.write_config(text)
                if self.random.random() < 0.5:
                    gateway.process.send_signal(signal.SIGHUP)
                await asyncio.sleep(self.random.uniform(0.5, 2))
