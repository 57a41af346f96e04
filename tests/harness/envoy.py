"""Runs a real Envoy as a child process, with thinkgate as its external processor.

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

from .processes import LOOPBACK, ServerProcess, free_port

TYPES = "type.googleapis.com/envoy.extensions."
# Envoy's defaults, 15 s for a route and 1 MiB for a body, are too small for answers of a model.
ROUTE_TIMEOUT = "300s"
BUFFER = 64 << 20
MODES = ("BUFFERED", "STREAMED", "FULL_DUPLEX_STREAMED")


def installed_program(name: str) -> str:
    """The path of a program that is installed in the environment of this Python."""
    return str(pathlib.Path(sys.executable).parent / name)


def socket_address(port: int) -> dict:
    """The address of a port on this machine, as Envoy writes it."""
    return {"socket_address": {"address": LOOPBACK, "port_value": port}}


def cluster(name: str, port: int, **fields) -> dict:
    """An upstream cluster with one endpoint, on this machine."""
    endpoint = {"lb_endpoints": [{"endpoint": {"address": socket_address(port)}}]}
    assignment = {"cluster_name": name, "endpoints": [endpoint]}
    return {"name": name, "type": "STATIC", "connect_timeout": "2s", "load_assignment": assignment} | fields


def grpc_cluster(name: str, port: int, **fields) -> dict:
    """An upstream cluster that speaks gRPC, such as thinkgate."""
    kind = "upstreams.http.v3.HttpProtocolOptions"
    options = {"@type": TYPES + kind, "explicit_http_config": {"http2_protocol_options": {}}}
    return cluster(name, port, typed_extension_protocol_options={f"envoy.extensions.{kind}": options}, **fields)


def route(to: str, prefix: str = "/", **headers: str) -> dict:
    """A route to cluster `to` for requests that have these headers. `_` in a header name stands for `-`."""
    wanted = [{"name": name.replace("_", "-"), "string_match": {"exact": value}} for name, value in headers.items()]
    return {"match": {"prefix": prefix, "headers": wanted}, "route": {"cluster": to, "timeout": ROUTE_TIMEOUT}}


@dataclasses.dataclass
class ExtProcListener:
    """An Envoy listener that sends every request to thinkgate, its external processor."""

    mode: str = "BUFFERED"
    routes: list[dict] = dataclasses.field(default_factory=lambda: [route("upstream")])
    processor: str = "thinkgate"
    # Further settings of the ext_proc filter, such as failure_mode_allow. None removes a setting.
    options: dict = dataclasses.field(default_factory=dict)
    # Bytes. Envoy answers 413 to a body that does not fit.
    buffer: int = BUFFER
    # thinkgate does not ask for response bodies, but an operator's configuration may send them.
    response_mode: str = "NONE"
    port: int = dataclasses.field(default_factory=free_port)

    def processing_mode(self) -> dict:
        """The filter's `processing_mode`."""
        # A streamed body may end with trailers. Without them thinkgate would not learn that the body has ended.
        modes = {"request": self.mode, "response": self.response_mode}
        trailers = {f"{direction}_trailer_mode": "SEND" for direction, mode in modes.items() if mode.endswith("STREAMED")}
        headers = {f"{direction}_header_mode": "SEND" for direction in modes}
        return headers | {f"{direction}_body_mode": mode for direction, mode in modes.items()} | trailers

    def filter(self) -> dict:
        """The ext_proc filter."""
        settings = {
            "@type": TYPES + "filters.http.ext_proc.v3.ExternalProcessor",
            "grpc_service": {"envoy_grpc": {"cluster_name": self.processor}},
            "processing_mode": self.processing_mode(),
            # Envoy's default of 200 ms would make a busy machine look like a failure of thinkgate.
            "message_timeout": "30s",
        }
        settings = {name: value for name, value in (settings | self.options).items() if value is not None}
        return {"name": "envoy.filters.http.ext_proc", "typed_config": settings}

    def config(self) -> dict:
        """The listener's part of the bootstrap."""
        router = {"@type": TYPES + "filters.http.router.v3.Router"}
        manager = {
            "@type": TYPES + "filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "listener",
            "http_protocol_options": {"enable_trailers": True},
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": self.routes}]},
            "http_filters": [self.filter(), {"name": "envoy.filters.http.router", "typed_config": router}],
        }
        filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
        return {
            "name": f"listener-{self.port}",
            "address": socket_address(self.port),
            "per_connection_buffer_limit_bytes": self.buffer,
            "filter_chains": [{"filters": filters}],
        }


def bootstrap(listeners: list, clusters: list[dict]) -> dict:
    """A static Envoy configuration. A listener is anything whose `config()` gives its part."""
    return {"static_resources": {"listeners": [listener.config() for listener in listeners], "clusters": clusters}}


class Envoy(ServerProcess):
    """An Envoy process. `port` is that of its admin interface."""

    def __init__(self, config: dict, folder: pathlib.Path, name: str = "envoy", workers: int = 1):
        port = free_port()
        self.config = folder / f"{name}.json"
        self.config.write_text(json.dumps(config | {"admin": {"address": socket_address(port)}}, indent=1))
        # Without hot restarts it shares no memory with other Envoys that run at the same time.
        command = [
            installed_program("envoy"),
            "-c",
            self.config,
            "--concurrency",
            workers,
            "--disable-hot-restart",
            "-l",
            "warning",
        ]
        super().__init__(command, port, folder / f"{name}.log")

    def wait(self) -> "Envoy":
        """Waits until Envoy is ready."""
        self.wait_for("/ready", 200, 30)
        return self

    def stat(self, name: str) -> int:
        """The sum of all counters and gauges whose names end with `name`. Fails when there is none."""
        _, body = self.get("/stats")
        lines = [line.split(": ") for line in body.decode().splitlines()]
        values = [int(value) for key, value in lines if key.endswith(name) and value.isdigit()]
        assert values, f"Envoy counts no {name}"
        return sum(values)


def validate(config: dict, folder: pathlib.Path) -> None:
    """Fails with Envoy's error message when Envoy does not accept `config`."""
    path = folder / "validated.json"
    path.write_text(json.dumps(config))
    checked = subprocess.run(
        [installed_program("envoy"), "--mode", "validate", "-c", path], capture_output=True, text=True, timeout=60
    )
    assert checked.returncode == 0, checked.stderr[-2000:]
