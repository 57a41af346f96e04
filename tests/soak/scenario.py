"""The servers of a soak run: two vLLMs of one model, a relay in front of each of them, and the gateway in front of both."""

import asyncio
import contextlib
import json
import pathlib
import re

from tests.harness.processes import LOOPBACK, ServerProcess, Vllm, free_port, make_model, thinkgate_binary

from .attacks import ATTACKER_IN_FLIGHT, ATTACKER_KEY
from .client import ClientBehaviour, Connection
from .relay import Relay
from .request_mix import ALIAS, KEY, MAX_BODY

MODEL = "tiny-qwen3"


class Server:
    """A vLLM and the relay in front of it. A restarted vLLM has another port, behind the same relay."""

    def __init__(self, name: str, model: pathlib.Path, folder: pathlib.Path):
        self.name, self.model, self.folder = name, model, folder
        self.vllm: Vllm | None = None
        self.relay = Relay(0)
        self.starts, self.up = 0, False

    async def start(self) -> None:
        """Starts vLLM, and waits until it serves requests."""
        self.starts += 1
        vllm = Vllm(self.model, MODEL, self.folder / f"vllm-{self.name}-{self.starts}.log")
        self.vllm = vllm
        await asyncio.to_thread(vllm.wait)
        self.relay.target, self.up = vllm.port, True


class ObservedGateway(ServerProcess):
    """`thinkgate serve` with a configuration file, and its process's resources as /proc shows them."""

    def __init__(self, config: pathlib.Path, port: int, log: pathlib.Path):
        super().__init__(
            [thinkgate_binary(), "serve", "--config", config], port, log, env={"SOAK_KEY": KEY, "ATTACKER_KEY": ATTACKER_KEY}
        )

    def status(self, field: str) -> int:
        """A number in /proc/PID/status, such as VmRSS (in kB) or Threads."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{field}:\s+(\d+)", text, re.MULTILINE)[1])

    def descriptors(self) -> list[str]:
        """What each file descriptor refers to."""
        names = []
        for link in pathlib.Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                names.append(str(link.readlink()))
        return names

    def cpu_seconds(self) -> float:
        """The processor time that it has used."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100


class Scenario:
    """Starts and stops all servers, and writes the gateway's configuration."""

    max_in_flight = 48

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.model = make_model(folder / "Qwen3-0.6B-tiny")
        self.servers = [Server(name, self.model, folder) for name in "ab"]
        self.file, self.gateway = folder / "thinkgate.yaml", None

    def config(self, threshold: float = 0.5) -> dict:
        """The gateway's configuration."""
        return {
            "listen": f"{LOOPBACK}:{self.port}",
            "server": {"max_in_flight": self.max_in_flight, "max_body_bytes": MAX_BODY},
            "auth": {
                "keys": [
                    {"name": "soak", "key": "env:SOAK_KEY"},
                    {"name": "attacker", "key": "env:ATTACKER_KEY", "max_in_flight": ATTACKER_IN_FLIGHT},
                ]
            },
            # Timeouts that suffice for two busy cores, and little more, so that faults take effect.
            "upstream": {"headers_ms": 25000, "first_chunk_ms": 20000, "idle_ms": 6000, "open_ms": 2000, "health_ms": 1000},
            # Every prompt is new. A cache of the default size would grow during the whole run.
            "classifier": {"cache": 1024},
            "routing": {"threshold": threshold},
            "models": {MODEL: {"endpoints": [{"url": server.relay.url} for server in self.servers]}},
            "aliases": {ALIAS: dict.fromkeys(("reasoning", "direct", "unchanged"), MODEL)},
        }

    def write_config(self, config: dict | str) -> None:
        """Replaces the configuration file atomically."""
        new = self.file.with_suffix(".new")
        new.write_text(config if isinstance(config, str) else json.dumps(config, indent=1))
        new.replace(self.file)

    async def start(self) -> None:
        """Starts all servers."""
        await asyncio.gather(*(server.start() for server in self.servers))
        for server in self.servers:
            await server.relay.listen()
        self.port = free_port()
        self.write_config(self.config())
        self.gateway = ObservedGateway(self.file, self.port, self.folder / "thinkgate.log")
        await asyncio.to_thread(self.gateway.wait_for, "/ready", 200, 60)

    def stop(self) -> None:
        """Stops all servers."""
        for child in (self.gateway, *(server.vllm for server in self.servers)):
            if child:
                child.stop()

    async def metrics(self) -> str:
        """The text of the gateway's `/metrics`."""
        connection = await Connection.open(self.port)
        response = await connection.exchange("GET", "/metrics", [], b"", ClientBehaviour())
        connection.close()
        return response.body.decode()

    async def metric(self, name: str) -> float:
        """The sum of a metric over all its series."""
        lines = [line for line in (await self.metrics()).splitlines() if re.match(rf"{name}[{{ ]", line)]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)
