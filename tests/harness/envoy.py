"""A real Envoy as a child process, with thinkgate as its external processor: the bootstrap is written from parameters.

    client -> Envoy -> upstream
               |  ^
               v  |  gRPC
             thinkgate
"""

import dataclasses
import json
import pathlib
import subprocess
import sys

from processes import LOOPBACK, Child, free_port

TYPES = "type.googleapis.com/envoy.extensions."
# A model answers when it is done; Envoy's own limits, 15 s for a route and 1 MiB for a body, are for other things.
ROUTE_TIMEOUT = "300s"
BUFFER = 64 << 20
MODES = ("BUFFERED", "STREAMED", "FULL_DUPLEX_STREAMED")


def tool(name: str) -> str:
    """A program that scripts/real/setup installed beside this Python."""
    return str(pathlib.Path(sys.executable).parent / name)


def address(port: int) -> dict:
    return {"socket_address": {"address": LOOPBACK, "port_value": port}}


def cluster(name: str, port: int, **fields) -> dict:
    """One upstream on this machine."""
    endpoint = {"lb_endpoints": [{"endpoint": {"address": address(port)}}]}
    assignment = {"cluster_name": name, "endpoints": [endpoint]}
    return {"name": name, "type": "STATIC", "connect_timeout": "2s", "load_assignment": assignment} | fields


def grpc_cluster(name: str, port: int, **fields) -> dict:
    """One that speaks gRPC, such as thinkgate."""
    kind = "upstreams.http.v3.HttpProtocolOptions"
    options = {"@type": TYPES + kind, "explicit_http_config": {"http2_protocol_options": {}}}
    return cluster(name, port, typed_extension_protocol_options={f"envoy.extensions.{kind}": options}, **fields)


def route(to: str, prefix: str = "/", **headers: str) -> dict:
    """Requests go to cluster `to` when their headers are these; `_` in a name stands for `-`."""
    wanted = [{"name": name.replace("_", "-"), "string_match": {"exact": value}} for name, value in headers.items()]
    return {"match": {"prefix": prefix, "headers": wanted}, "route": {"cluster": to, "timeout": ROUTE_TIMEOUT}}


@dataclasses.dataclass
class Door:
    """A listener of Envoy that asks thinkgate about every request."""

    mode: str = "BUFFERED"
    routes: list[dict] = dataclasses.field(default_factory=lambda: [route("upstream")])
    processor: str = "thinkgate"
    # More of the filter's settings, such as failure_mode_allow.
    options: dict = dataclasses.field(default_factory=dict)
    # Envoy's default is 1 MiB; what does not fit gets 413 from Envoy itself.
    buffer: int = BUFFER
    # Answers' bodies are not asked for; other settings than ours may send them all the same.
    response_mode: str = "NONE"
    port: int = dataclasses.field(default_factory=free_port)

    def processing(self) -> dict:
        # A body in pieces may end with trailers, and without them nobody would say that it has ended.
        modes = {"request": self.mode, "response": self.response_mode}
        trailers = {f"{way}_trailer_mode": "SEND" for way, mode in modes.items() if mode.endswith("STREAMED")}
        headers = {f"{way}_header_mode": "SEND" for way in modes}
        return headers | {f"{way}_body_mode": mode for way, mode in modes.items()} | trailers

    def filter(self) -> dict:
        settings = {
            "@type": TYPES + "filters.http.ext_proc.v3.ExternalProcessor",
            "grpc_service": {"envoy_grpc": {"cluster_name": self.processor}},
            "processing_mode": self.processing(),
            # A busy machine is no failure of thinkgate; one test leaves this out.
            "message_timeout": "30s",
        }
        settings = {name: value for name, value in (settings | self.options).items() if value is not None}
        return {"name": "envoy.filters.http.ext_proc", "typed_config": settings}

    def listener(self) -> dict:
        router = {"@type": TYPES + "filters.http.router.v3.Router"}
        manager = {
            "@type": TYPES + "filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "door",
            "http_protocol_options": {"enable_trailers": True},
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": self.routes}]},
            "http_filters": [self.filter(), {"name": "envoy.filters.http.router", "typed_config": router}],
        }
        filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
        return {
            "name": f"door-{self.port}",
            "address": address(self.port),
            "per_connection_buffer_limit_bytes": self.buffer,
            "filter_chains": [{"filters": filters}],
        }


def bootstrap(doors: list[Door], clusters: list[dict]) -> dict:
    return {"static_resources": {"listeners": [door.listener() for door in doors], "clusters": clusters}}


class Envoy(Child):
    """Envoy, and an admin interface on a port of its own."""

    def __init__(self, config: dict, folder: pathlib.Path, name: str = "envoy", workers: int = 1):
        port = free_port()
        self.config = folder / f"{name}.json"
        self.config.write_text(json.dumps(config | {"admin": {"address": address(port)}}, indent=1))
        # Without hot restarts it shares no memory with the other ones that run at the same time.
        command = [tool("envoy"), "-c", self.config, "--concurrency", workers, "--disable-hot-restart", "-l", "warning"]
        super().__init__(command, port, folder / f"{name}.log")

    def wait(self) -> "Envoy":
        self.wait_for("/ready", 200, 30)
        return self

    def stat(self, name: str) -> int:
        """The sum of all counters and gauges whose names end like this; there has to be one."""
        _, body = self.get("/stats")
        lines = [line.split(": ") for line in body.decode().splitlines()]
        values = [int(value) for key, value in lines if key.endswith(name) and value.isdigit()]
        assert values, f"Envoy counts no {name}"
        return sum(values)


def validate(config: dict, folder: pathlib.Path) -> None:
    """Fails with Envoy's own words when it does not take `config`."""
    path = folder / "validated.json"
    path.write_text(json.dumps(config))
    checked = subprocess.run([tool("envoy"), "--mode", "validate", "-c", path], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stderr[-2000:]
