"""An Envoy between the gateway and vLLM, with faults of its own, and what the client of the gateway sees of them."""

import contextlib
import time

import pytest

from conftest import MODEL
from envoy import TYPES, Envoy, address, bootstrap, cluster, route
from processes import free_port
from trouble import Stream, code, gateway_before, last_error
from wire import chat


class Front:
    """A listener of Envoy without thinkgate behind it: the filters named here, and one route to vLLM."""

    def __init__(self, filters: list[dict] = (), **manager):
        self.port, self.filters, self.manager = free_port(), filters, manager

    def listener(self) -> dict:
        router = {"name": "envoy.filters.http.router", "typed_config": {"@type": TYPES + "filters.http.router.v3.Router"}}
        manager = {
            "@type": TYPES + "filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "front",
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route("vllm")]}]},
            "http_filters": [*self.filters, router],
        }
        filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager | self.manager}]
        return {"name": f"front-{self.port}", "address": address(self.port), "filter_chains": [{"filters": filters}]}


def fault(**fields) -> dict:
    settings = {"@type": TYPES + "filters.http.fault.v3.HTTPFault"} | fields
    return {"name": "envoy.filters.http.fault", "typed_config": settings}


ALWAYS = {"numerator": 100, "denominator": "HUNDRED"}
ONE_AT_A_TIME = {"priority": "DEFAULT", "max_requests": 1, "max_pending_requests": 1}


@pytest.fixture
def before_vllm(vllm, tmp_path, log):
    """A gateway before an Envoy before vLLM, or before another port; with `also`, before vLLM itself too."""
    with contextlib.ExitStack() as stack:

        def start(front: Front, target: int = 0, also: bool = False, **settings):
            config = bootstrap([front], [cluster("vllm", target or vllm.port, **settings)])
            stack.enter_context(Envoy(config, tmp_path)).wait()
            urls = [f"http://127.0.0.1:{front.port}", *([vllm.url] if also else [])]
            return stack.enter_context(gateway_before(log, *urls))

        yield start


def statuses(gateway, times: int = 12) -> list[int]:
    return [chat(gateway.port, MODEL, "Hello", max_tokens=3).status for _ in range(times)]


def test_an_abort_is_relayed_when_there_is_no_other_server(before_vllm):
    aborts = [fault(abort={"http_status": 503, "percentage": ALWAYS})]
    answer = chat(before_vllm(Front(aborts)).port, MODEL, "Hello")
    assert answer.status == 503 and answer.body == b"fault filter abort" and answer.header("retry-after")


def test_an_abort_is_not_seen_when_there_is_another_server(before_vllm):
    aborts = [fault(abort={"http_status": 503, "percentage": ALWAYS})]
    assert statuses(before_vllm(Front(aborts), also=True)) == [200] * 12


def test_an_envoy_that_reaches_nobody_is_not_seen_when_there_is_another_server(before_vllm):
    assert statuses(before_vllm(Front(), target=free_port(), also=True)) == [200] * 12


def stream_in_the_only_place(gateway) -> Stream:
    """The gateway's own questions (its health, its models, its template) have that place now and then."""
    for _ in range(20):
        try:
            return Stream(gateway)
        except AssertionError as refused:
            if "x-envoy-overloaded" not in str(refused):
                raise
            time.sleep(0.2)
    raise TimeoutError("the only place is never free")


def test_an_overloaded_envoy_gives_its_503(before_vllm):
    """A circuit breaker of one request at a time, which a stream takes."""
    gateway = before_vllm(Front(), circuit_breakers={"thresholds": [ONE_AT_A_TIME]})
    stream = stream_in_the_only_place(gateway)
    answer = chat(gateway.port, MODEL, "Hello")
    assert answer.status == 503 and b"overflow" in answer.body
    stream.connection.close()


def test_a_stream_that_lasts_too_long_for_envoy_ends_with_our_error(before_vllm):
    """A limit on a whole answer, as many an Envoy has: it resets, and only the framing says that something is missing."""
    gateway = before_vllm(Front(common_http_protocol_options={"max_stream_duration": "1s"}))
    assert last_error(Stream(gateway).rest())["code"] == "upstream_reset"


def test_a_plain_answer_that_takes_too_long_for_envoy(before_vllm):
    gateway = before_vllm(Front(common_http_protocol_options={"max_stream_duration": "1s"}))
    answer = chat(gateway.port, MODEL, "Hello", max_tokens=1500, ignore_eos=True)
    assert answer.status in (408, 502, 504), answer
    if answer.header("content-type") == "application/json":
        assert code(answer) == "upstream_reset"


def test_a_slow_envoy_is_waited_for(before_vllm):
    """Half a second before the request goes on, and a trickle of an answer, are no failures."""
    slow = [fault(delay={"fixed_delay": "0.5s", "percentage": ALWAYS}, response_rate_limit={"fixed_limit": {"limit_kbps": 4}, "percentage": ALWAYS})]
    gateway = before_vllm(Front(slow))
    answer = chat(gateway.port, MODEL, "Hello", max_tokens=40, stream=True)
    assert answer.status == 200 and answer.body.endswith(b"data: [DONE]\n\n")
    assert len([line for line in answer.body.splitlines() if line.startswith(b"data: ")]) > 10
