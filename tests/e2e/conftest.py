"""Fixtures: one vLLM and one gateway for the whole session, with a recording proxy between them.

    client -> gateway -> proxy -> vllm

For Envoy there are a thinkgate that serves HTTP and ext_proc, and an Envoy with a listener for each body mode:

    client -> envoy -> proxy -> vllm, or one of three upstreams that echo requests

A second vLLM starts when a test first uses it. It has an API key, tools, and a model name with a slash that does not show the
family.
"""

import contextlib
import os
import pathlib
import re
import signal

import pytest

from tests.harness.envoy import MODES, Envoy, ExtProcListener, bootstrap, cluster, grpc_cluster, route
from tests.harness.processes import Gateway, Processor, Vllm, make_model, thinkgate_binary, vllm_python

from .echo_server import EchoServer
from .models import MODEL, OTHER_KEY, OTHER_MODEL
from .recording_proxy import RecordingProxy

# The tests ignore the proxy settings of this machine. One test sets its own.
for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
    os.environ.pop(name, None)

_measured: list[str] = []


def pytest_sessionstart() -> None:
    # SIGTERM ends the run in an orderly way, so that its servers end too.
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated", returncode=3))
    for needed, command in ((vllm_python(), "tests/e2e/setup"), (thinkgate_binary(), "cargo build")):
        if not needed.exists():
            pytest.exit(f"{needed} is missing: run {command} first", returncode=2)


def pytest_terminal_summary(terminalreporter) -> None:
    if _measured:
        terminalreporter.section("measured")
        for line in _measured:
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def measured():
    """A function that adds a line to the report at the end of the run."""
    return _measured.append


@pytest.fixture(scope="session")
def work(tmp_path_factory) -> pathlib.Path:
    """A folder for logs and models of the session."""
    return tmp_path_factory.mktemp("e2e")


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
def session_proxy(vllm):
    with RecordingProxy(vllm.port).listen() as proxy:
        yield proxy


@pytest.fixture
def proxy(session_proxy):
    """The proxy between `gateway` and vLLM, without earlier recordings."""
    session_proxy.clear()
    return session_proxy


@pytest.fixture(scope="session")
def gateway(session_proxy, work):
    with Gateway(session_proxy.url, work / "gateway.log") as running:
        yield running.wait()


@pytest.fixture(scope="session")
def session_envoy_proxy(vllm):
    with RecordingProxy(vllm.port).listen() as proxy:
        yield proxy


@pytest.fixture
def envoy_proxy(session_envoy_proxy):
    """The proxy between vLLM and Envoy, and between vLLM and the HTTP server of `processor`, without earlier recordings."""
    session_envoy_proxy.clear()
    return session_envoy_proxy


@pytest.fixture(scope="session")
def processor(session_envoy_proxy, work):
    # A long deadline: tests compare the decisions of HTTP and ext_proc, so neither may fall back on a busy machine.
    config = {"discover": [{"url": session_envoy_proxy.url}], "classifier": {"deadline_ms": 10000}}
    with Processor(work / "processor.log", config) as running:
        yield running.wait()


@pytest.fixture(scope="session")
def pools():
    """Upstreams that echo requests, by name."""
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(EchoServer(name)) for name in ("echo", "reasoning", "direct")}


@pytest.fixture(scope="session")
def envoy_listeners(processor, session_envoy_proxy, pools, work) -> dict[str, ExtProcListener]:
    """Envoy's listeners by body mode. Paths under `/v1/` go to vLLM, all others to an upstream that echoes."""
    routes = [
        route("reasoning", "/by-mode/", x_thinkgate_mode="reasoning"),
        route("direct", "/by-mode/", x_thinkgate_mode="direct"),
        route("reasoning", "/by-model/", x_thinkgate_model="secret"),
        route("direct", "/by-model/", x_thinkgate_model=MODEL),
        route("vllm", "/v1/"),
        route("echo"),
    ]
    listeners = {mode: ExtProcListener(mode, routes) for mode in MODES}
    clusters = [cluster("vllm", session_envoy_proxy.port), grpc_cluster("thinkgate", processor.grpc_port)]
    clusters += [cluster(name, pool.port) for name, pool in pools.items()]
    with Envoy(bootstrap(list(listeners.values()), clusters), work).wait():
        yield listeners


@pytest.fixture(params=MODES)
def listener(request, envoy_listeners) -> ExtProcListener:
    """An Envoy listener; the test runs once for each body mode."""
    return envoy_listeners[request.param]


@pytest.fixture
def log(tmp_path, request) -> pathlib.Path:
    """A log file for a gateway that a test starts for itself."""
    return tmp_path / (re.sub(r"\W+", "-", request.node.name) + ".log")
