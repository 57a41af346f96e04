"""One vLLM and one gateway for the whole session, with a hop between them that keeps what they say to each other.

    client -> gateway -> hop -> vllm

For Envoy there is a thinkgate with both doors open, and an Envoy with a door for each way to send it bodies:

    client -> envoy -> hop -> vllm, or one of three upstreams that echo what they get

A second vLLM, with a key, tools, and a name that has a slash and tells nothing, starts when a test first asks for it.
"""

import contextlib
import os
import pathlib
import re
import signal

import pytest

from echo import Echo
from envoy import MODES, Door, Envoy, bootstrap, cluster, grpc_cluster, route
from hop import Hop
from processes import Gateway, Processor, Vllm, make_model, thinkgate_binary, vllm_python

MODEL = "tiny-qwen3"
OTHER_MODEL = "team/assistant"
OTHER_KEY = "sk-of-the-other-server"

# A proxy in the environment of whoever runs the tests is no part of them; one test sets its own.
for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
    os.environ.pop(name, None)

_measured: list[str] = []


def pytest_sessionstart() -> None:
    # A run that is stopped from outside ends its servers too.
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated", returncode=3))
    for needed, command in ((vllm_python(), "scripts/real/setup"), (thinkgate_binary(), "cargo build")):
        if not needed.exists():
            pytest.exit(f"{needed} is missing: run {command} first", returncode=2)


def pytest_terminal_summary(terminalreporter) -> None:
    if _measured:
        terminalreporter.section("measured")
        for line in _measured:
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def measured():
    """Adds a line to the report at the end."""
    return _measured.append


@pytest.fixture(scope="session")
def work(tmp_path_factory) -> pathlib.Path:
    return tmp_path_factory.mktemp("real")


@pytest.fixture(scope="session")
def vllm(work):
    with Vllm(make_model(work / "Qwen3-0.6B-tiny"), MODEL, work / "vllm.log") as server:
        yield server.wait()


@pytest.fixture(scope="session")
def other_vllm(work):
    model = make_model(work / "Qwen3-0.6B-tools", "--tool")
    with Vllm(model, OTHER_MODEL, work / "other-vllm.log", flags=["--api-key", OTHER_KEY]) as server:
        yield server.wait()


@pytest.fixture(scope="session")
def session_hop(vllm):
    with Hop(vllm.port).listen() as hop:
        yield hop


@pytest.fixture
def hop(session_hop):
    """The hop behind `gateway`, with nothing on it yet."""
    session_hop.clear()
    return session_hop


@pytest.fixture(scope="session")
def gateway(session_hop, work):
    with Gateway(session_hop.url, work / "gateway.log") as running:
        yield running.wait()


@pytest.fixture(scope="session")
def session_envoy_hop(vllm):
    with Hop(vllm.port).listen() as hop:
        yield hop


@pytest.fixture
def envoy_hop(session_envoy_hop):
    """The hop behind Envoy and behind the HTTP door of `processor`, with nothing on it yet."""
    session_envoy_hop.clear()
    return session_envoy_hop


@pytest.fixture(scope="session")
def processor(session_envoy_hop, work):
    # Both doors decide the same, so none of them may fall back on a busy machine.
    config = {"discover": [{"url": session_envoy_hop.url}], "classifier": {"deadline_ms": 10000}}
    with Processor(work / "processor.log", config) as running:
        yield running.wait()


@pytest.fixture(scope="session")
def pools():
    """Upstreams that echo, by name."""
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(Echo(name)) for name in ("echo", "reasoning", "direct")}


@pytest.fixture(scope="session")
def envoy_doors(processor, session_envoy_hop, pools, work) -> dict[str, Door]:
    """By body mode. What else than `/v1` a path begins with chooses an upstream that echoes."""
    routes = [
        route("reasoning", "/by-mode/", x_thinkgate_mode="reasoning"),
        route("direct", "/by-mode/", x_thinkgate_mode="direct"),
        route("reasoning", "/by-model/", x_thinkgate_model="secret"),
        route("direct", "/by-model/", x_thinkgate_model=MODEL),
        route("vllm", "/v1/"),
        route("echo"),
    ]
    doors = {mode: Door(mode, routes) for mode in MODES}
    clusters = [cluster("vllm", session_envoy_hop.port), grpc_cluster("thinkgate", processor.grpc_port)]
    clusters += [cluster(name, pool.port) for name, pool in pools.items()]
    with Envoy(bootstrap(list(doors.values()), clusters), work).wait():
        yield doors


@pytest.fixture(params=MODES)
def door(request, envoy_doors) -> Door:
    """A door of Envoy, for each way to send bodies."""
    return envoy_doors[request.param]


@pytest.fixture
def log(tmp_path, request) -> pathlib.Path:
    """A file for the output of a gateway that one test starts for itself."""
    return tmp_path / (re.sub(r"\W+", "-", request.node.name) + ".log")
