"""Injects faults during a run: on the connections to vLLM, in vLLM itself, and by operators and clients."""

import asyncio
import contextlib
import json
import os
import random
import signal
import time

from .attacks import Attacks
from .fault_log import FaultLog
from .scenario import MODEL, Scenario, Server
from .traffic import Traffic

LONG_PAUSE_S = (10, 14)  # longer than upstream.idle_ms
SHORT_PAUSE_S = (1, 3)  # shorter than every timeout, so no client may notice


class FaultInjector:
    """Injects one random fault after the other."""

    def __init__(self, scenario: Scenario, traffic: Traffic, fault_log: FaultLog, restarts: list[float]):
        self.scenario, self.traffic, self.fault_log = scenario, traffic, fault_log
        self.random = random.Random(traffic.mix.seed)
        # When a vLLM is killed, in seconds after the start. A restart takes half a minute on both cores.
        self.restarts = restarts
        self.restarting: list[asyncio.Task] = []
        self.reloads = 0
        self.attacks = Attacks(scenario.port, traffic.mix.seed, MODEL, scenario.max_in_flight)
        self.weights = {
            self.cut: 5, self.break_event: 4, self.half_close: 4, self.refuse: 3, self.delay: 3, self.pause: 4, self.long_pause: 1,
            self.burst: 2, self.reload: 3, self.attack: 6,
        }  # fmt: skip

    async def run(self, stop: asyncio.Event) -> None:
        """Injects faults until `stop` is set, and waits for restarts to complete."""
        began = time.monotonic()
        while not stop.is_set():
            if self.restarts and time.monotonic() - began > self.restarts[0]:
                self.restarts.pop(0)
                await self.restart()
            else:
                [inject] = self.random.choices(list(self.weights), weights=self.weights.values())
                await inject()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self.random.uniform(0.5, 4))
        await asyncio.gather(*self.restarting)

    def fault(self, name: str, server: Server | None = None):
        """Logs a fault for as long as the context lasts."""
        return self.fault_log.fault(name, server.name if server else "")

    def random_server(self) -> Server:
        """One of the two vLLMs."""
        return self.random.choice(self.scenario.servers)

    # On the connections between the gateway and vLLM.

    async def cut(self) -> None:
        server = self.random_server()
        with self.fault("cut", server):
            for connection in list(server.relay.connections):
                connection.reset()

    async def break_event(self) -> None:
        server = self.random_server()
        with self.fault("break", server):
            for connection in list(server.relay.connections):
                connection.cut_next_piece = True
            await asyncio.sleep(0.5)
            for connection in list(server.relay.connections):
                connection.cut_next_piece = False

    async def half_close(self) -> None:
        server = self.random_server()
        with self.fault("half-close", server):
            for connection in list(server.relay.connections):
                connection.half_close()

    async def refuse(self) -> None:
        server = self.random_server()
        with self.fault("refuse", server):
            server.relay.refuse()
            await asyncio.sleep(self.random.uniform(1, 5))
            await server.relay.listen()

    async def delay(self) -> None:
        server = self.random_server()
        with self.fault("delay", server):
            server.relay.delay = self.random.uniform(0.05, 0.3)
            await asyncio.sleep(self.random.uniform(2, 5))
            server.relay.delay = 0

    # In vLLM itself.

    async def pause(self) -> None:
        await self.stop_for("pause", SHORT_PAUSE_S)

    async def long_pause(self) -> None:
        await self.stop_for("long pause", LONG_PAUSE_S)

    async def stop_for(self, name: str, seconds: tuple[float, float]) -> None:
        server = self.random_server()
        if not server.up:
            return
        with self.fault(name, server):
            os.killpg(server.vllm.process.pid, signal.SIGSTOP)
            await asyncio.sleep(self.random.uniform(*seconds))
            os.killpg(server.vllm.process.pid, signal.SIGCONT)

    async def restart(self) -> None:
        """Restarts a vLLM by SIGKILL, as when memory runs out, and the next time by SIGTERM, which leaves stalled connections."""
        name = "kill" if len(self.restarting) % 2 == 0 else "term"
        up = [server for server in self.scenario.servers if server.up]
        if len(up) == len(self.scenario.servers):
            self.restarting.append(asyncio.create_task(self._restart(name, self.random.choice(up))))

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

    # By operators and clients.

    async def burst(self) -> None:
        """Sends more requests at once than `server.max_in_flight` allows."""
        with self.fault("burst"):
            requests = [self.traffic.mix.plain() for _ in range(self.scenario.max_in_flight + 16)]
            await asyncio.gather(*(self.traffic.send_once(request) for request in requests))

    async def attack(self) -> None:
        """Attacks the gateway in one way. No other client may notice."""
        attack = self.random.choice(self.attacks.kinds)
        with self.fault(attack.__name__.replace("_", " ")):
            await attack()

    async def reload(self) -> None:
        """Writes a changed configuration file, or first a truncated one. No client may notice."""
        if "thinkgate_config_reload_ok" not in await self.scenario.metrics():
            return
        self.reloads += 1
        gateway = self.scenario.gateway
        with self.fault("reload"):
            good = self.scenario.config(threshold=self.random.choice([0.4, 0.5, 0.6]))
            for text in self.random.choice([[good], [good], [json.dumps(good)[:200], good]]):
                self.scenario.write_config(text)
                if self.random.random() < 0.5:
                    gateway.process.send_signal(signal.SIGHUP)
                await asyncio.sleep(self.random.uniform(0.5, 2))
