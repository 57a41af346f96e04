"""All who take part: two vLLMs of one model, a relay before each of them, and the gateway before both."""

import asyncio
import contextlib
import json
import pathlib
import re

from asks import ALIAS, KEY, MAX_BODY
from client import Connection, Manners
from processes import LOOPBACK, Child, Vllm, free_port, make_model, thinkgate_binary
from relay import Relay

MODEL = "tiny-qwen3"


class Server:
    """One vLLM and the relay before it. It may be killed and come back, at another port behind the same relay."""

    def __init__(self, name: str, model: pathlib.Path, folder: pathlib.Path):
        self.name, self.model, self.folder = name, model, folder
        self.vllm: Vllm | None = None
        self.relay = Relay(0)
        self.starts, self.up = 0, False

    async def start(self) -> None:
        self.starts += 1
        vllm = Vllm(self.model, MODEL, self.folder / f"vllm-{self.name}-{self.starts}.log")
        self.vllm = vllm
        await asyncio.to_thread(vllm.wait)
        self.relay.target, self.up = vllm.port, True


class Gateway(Child):
    """`thinkgate serve` with a config file, and what can be seen of it from outside."""

    def __init__(self, config: pathlib.Path, port: int, log: pathlib.Path):
        super().__init__([thinkgate_binary(), "serve", "--config", config], port, log, env={"SOAK_KEY": KEY})

    def status(self, field: str) -> int:
        """A number out of /proc/PID/status: VmRSS in kB, Threads."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{field}:\s+(\d+)", text, re.MULTILINE)[1])

    def descriptors(self) -> list[str]:
        """What its file descriptors are."""
        names = []
        for link in pathlib.Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                names.append(str(link.readlink()))
        return names

    def cpu_seconds(self) -> float:
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100


class Cast:
    """The whole scene. Everything that was started ends with it."""

    max_in_flight = 48

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.model = make_model(folder / "Qwen3-0.6B-tiny")
        self.servers = [Server(name, self.model, folder) for name in "ab"]
        self.file, self.gateway = folder / "thinkgate.yaml", None

    def config(self, threshold: float = 0.5) -> dict:
        return {
            "listen": f"{LOOPBACK}:{self.port}",
            "server": {"max_in_flight": self.max_in_flight, "max_body_bytes": MAX_BODY},
            "auth": {"keys": [{"name": "soak", "key": "env:SOAK_KEY"}]},
            # Two shared cores: what a busy machine needs, and not much more, as it is the faults that are to be found out.
            "upstream": {"headers_ms": 25000, "first_chunk_ms": 20000, "idle_ms": 6000, "open_ms": 2000, "health_ms": 1000},
            # Every prompt is a new one: a cache of the usual size would be filling all the time.
            "classifier": {"cache": 1024},
            "routing": {"threshold": threshold},
            "models": {MODEL: {"endpoints": [{"url": server.relay.url} for server in self.servers]}},
            "aliases": {ALIAS: dict.fromkeys(("reasoning", "direct", "unchanged"), MODEL)},
        }

    def write_config(self, config: dict | str) -> None:
        """As a careful editor does it: all at once."""
        new = self.file.with_suffix(".new")
        new.write_text(config if isinstance(config, str) else json.dumps(config, indent=1))
        new.replace(self.file)

    async def start(self) -> None:
        await asyncio.gather(*(server.start() for server in self.servers))
        for server in self.servers:
            await server.relay.listen()
        self.port = free_port()
        self.write_config(self.config())
        self.gateway = Gateway(self.file, self.port, self.folder / "thinkgate.log")
        await asyncio.to_thread(self.gateway.wait_for, "/ready", 200, 60)

    def stop(self) -> None:
        for child in (self.gateway, *(server.vllm for server in self.servers)):
            if child:
                child.stop()

    async def metrics(self) -> str:
        """The gateway's own, as text."""
        connection = await Connection.open(self.port)
        heard = await connection.exchange("GET", "/metrics", [], b"", Manners())
        connection.close()
        return heard.body.decode()

    async def metric(self, name: str) -> float:
        """The sum of one over all its series."""
        lines = [line for line in (await self.metrics()).splitlines() if re.match(rf"{name}[{{ ]", line)]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)
