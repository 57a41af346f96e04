"""One limit for two gateways, counted in a real Redis: while it answers, while it is away, and when it is back."""

import contextlib
import json
import time

import pytest

from tests.harness.processes import LOOPBACK, Gateway

from .echo_server import EchoServer
from .models import MODEL
from .raw_http import exchange, request_bytes
from .redis_server import RedisServer, Tls

LIMIT = 6  # one every ten seconds
KEYS = {"alice": LIMIT, "bob": LIMIT, "carol": None}
PASSWORD = "pass-of-the-store"


@pytest.fixture
def replicas(tmp_path):
    """Starts two gateways that share a store at `url`, with further variables in their environment."""
    with contextlib.ExitStack() as stack:
        echo = stack.enter_context(EchoServer())

        def start(url: str, timeout_ms: int = 200, **env: str) -> list[Gateway]:
            keys = [
                {"name": name, "key": f"env:KEY_OF_{name.upper()}"} | ({"requests_per_minute": rate} if rate else {})
                for name, rate in KEYS.items()
            ]
            config = {
                "auth": {"keys": keys, "shared_limits": {"url": url, "timeout_ms": timeout_ms}},
                "models": {MODEL: {"endpoints": [{"url": f"http://{LOOPBACK}:{echo.port}"}]}},
            }
            file = tmp_path / "shared.yaml"
            file.write_text(json.dumps(config))
            env |= {f"KEY_OF_{name.upper()}": f"sk-{name}" for name in KEYS}
            names = ("one", "other")
            return [
                stack.enter_context(Gateway(None, tmp_path / f"{name}.log", ["--config", str(file)], env)).wait() for name in names
            ]

        yield start


def ask(gateway: Gateway, name: str) -> tuple[int, int]:
    """The status of an answer, and its retry-after."""
    head = (f"Authorization: Bearer sk-{name}", "Connection: close")
    body = json.dumps({"model": MODEL, "input": "x"}).encode()
    answer = exchange(gateway.port, request_bytes(body, path="/v1/embeddings", headers=head))
    return answer.status, int(answer.header("retry-after") or 0)


def passed(gateways: list[Gateway], name: str, times: int) -> int:
    """How many of `times` requests pass that go to the gateways in turn. All others are refused with a time to come back."""
    answers = [ask(gateways[turn % len(gateways)], name) for turn in range(times)]
    assert all(status == 200 or (status == 429 and 1 <= retry <= 60) for status, retry in answers), answers
    return sum(status == 200 for status, _ in answers)


def degraded(gateway: Gateway) -> list[str]:
    """What /ready says is degraded. It is 200 in any case: requests are served."""
    status, body = gateway.get("/ready")
    assert status == 200, body
    return json.loads(body)["degraded"]


def wait_until_shared(gateways: list[Gateway], shared: bool) -> None:
    """Waits until every gateway says that its limits are shared, or that they are not, in /ready and in its metrics."""
    deadline = time.monotonic() + 10
    for gateway in gateways:
        line = f"\nthinkgate_shared_limits_up {int(shared)}\n"
        while ("shared_limits" in degraded(gateway)) == shared or line not in gateway.get("/metrics")[1].decode():
            assert time.monotonic() < deadline, gateway.log_end()
            time.sleep(0.02)


def changes(gateway: Gateway) -> list[str]:
    """The levels of the log lines about the store, in order."""
    lines = [json.loads(line) for line in gateway.log.read_text().splitlines() if line.startswith("{")]
    return [line["level"] for line in lines if "auth.shared_limits" in line.get("message", "")]


def test_two_gateways_share_one_limit_and_each_keeps_it_while_the_store_is_away(replicas, tmp_path):
    redis = RedisServer(tmp_path).wait()
    with contextlib.ExitStack() as stack:
        stack.callback(lambda: redis.stop())
        gateways = replicas(f"redis://{redis.address}", timeout_ms=2000)
        wait_until_shared(gateways, True)
        assert passed(gateways, "alice", 2 * LIMIT) == LIMIT, "one limit for both"
        assert [ask(gateway, "carol")[0] for gateway in gateways * 9] == [200] * 18
        keys = redis.command("DBSIZE")
        assert keys in (":1", ":2"), f"a key without a limit is not counted, and what is counted has few keys: {keys}"

        redis.stop()
        wait_until_shared(gateways, False)
        assert passed(gateways, "alice", 2 * LIMIT) == 0, "no fresh burst when each limits for itself"
        assert passed(gateways, "bob", 4 * LIMIT) == 2 * LIMIT, "each limits for itself"

        redis = RedisServer(tmp_path, redis.port).wait()  # an empty one
        wait_until_shared(gateways, True)
        assert passed(gateways, "bob", 2 * LIMIT) == 0, "no fresh burst from a store that forgot"
        assert passed(gateways, "alice", 4) <= 2, "only what was earned in the meantime"
        assert [changes(gateway) for gateway in gateways] == [["INFO", "WARN", "INFO"]] * 2


def test_a_store_that_hangs_delays_one_request_and_is_used_again_when_it_answers(replicas, tmp_path, measured):
    with RedisServer(tmp_path) as redis:
        gateways = replicas(f"redis://{redis.wait().address}", timeout_ms=20)
        wait_until_shared(gateways, True)
        redis.freeze()
        times = []
        for _ in range(LIMIT):
            began = time.monotonic()
            assert ask(gateways[0], "alice")[0] == 200
            times.append(time.monotonic() - began)
        measured(f"a Redis that hangs delays the requests of a limited key by {1e3 * max(times):.0f} ms, later ones by none")
        assert max(times) < 1
        wait_until_shared(gateways, False)
        assert ask(gateways[0], "alice")[0] == 429
        redis.thaw()
        wait_until_shared(gateways, True)
        assert ask(gateways[0], "alice")[0] == 429
        assert "timeout_ms = 20 ms" in gateways[0].log.read_text()


def test_the_store_is_reached_with_tls_and_a_password_that_is_never_shown(replicas, tmp_path):
    tls = Tls(tmp_path)
    with RedisServer(tmp_path, password=PASSWORD, tls=tls) as redis:
        redis.wait()
        trust = {"SSL_CERT_FILE": str(tls.ca)}
        whole = {"LIMITS_URL": f"rediss://:{PASSWORD}@localhost:{redis.port}"}
        for url in ("env:LIMITS_URL", f"rediss://default:env:LIMITS_PASSWORD@localhost:{redis.port}"):
            redis.command("FLUSHALL")
            gateways = replicas(url, LIMITS_PASSWORD=PASSWORD, **trust, **whole)
            wait_until_shared(gateways, True)
            assert passed(gateways, "alice", 2 * LIMIT) == LIMIT
            for gateway in gateways:
                assert PASSWORD not in gateway.log.read_text()
                gateway.stop()


@pytest.mark.parametrize(
    ("password", "trusted", "cause"),
    [("wrong", True, "Password authentication failed"), (PASSWORD, False, "invalid peer certificate: UnknownIssuer")],
)
def test_a_store_that_cannot_be_used_is_named_with_its_cause(replicas, tmp_path, password, trusted, cause):
    tls = Tls(tmp_path)
    with RedisServer(tmp_path, password=PASSWORD, tls=tls) as redis:
        redis.wait()
        trust = {"SSL_CERT_FILE": str(tls.ca)} if trusted else {}
        gateways = replicas(f"rediss://:env:LIMITS_PASSWORD@localhost:{redis.port}", LIMITS_PASSWORD=password, **trust)
        wait_until_shared(gateways, False)
        assert passed(gateways, "alice", 4 * LIMIT) == 2 * LIMIT, "each limits for itself"
        for gateway in gateways:
            log = gateway.log.read_text()
            assert cause in log and f"rediss://localhost:{redis.port}" in log, gateway.log_end()
            assert changes(gateway) == ["WARN"] and password not in log
