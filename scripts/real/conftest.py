"""One vLLM and one gateway for the whole session, with a hop between them that keeps what they say to each other.

    client -> gateway -> hop -> vllm

A second vLLM, with a key, tools, and a name that has a slash and tells nothing, starts when a test first asks for it.
"""

import os
import pathlib
import re
import signal

import pytest

from hop import Hop
from processes import Gateway, Vllm, make_model, thinkgate_binary, vllm_python

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


@pytest.fixture
def log(tmp_path, request) -> pathlib.Path:
    """A file for the output of a gateway that one test starts for itself."""
    return tmp_path / (re.sub(r"\W+", "-", request.node.name) + ".log")
