"""An Envoy between the gateway and vLLM injects faults: what the gateway's client sees."""

import contextlib
import time

import pytest

from tests.harness.envoy import TYPES, Envoy, bootstrap, cluster, route, socket_address
from tests.harness.processes import free_port

from .fault_injection import Stream, error_code, final_error, gateway_with_short_limits
from .models import MODEL
from .raw_http import chat


class PlainListener:
    """An Envoy listener without ext_proc: these filters and one route to vLLM."""

    def __init__(self, filters: list[dict] = (), **manager):
        self.port, self.filters, self.manager = free_port(), filters, manager

    def config(self) -> dict:
        """The listener's part of the bootstrap."""
        router = {"name": "envoy.filters.http.router", "typed_config": {"@type": TYPES + "filters.http.router.v3.Router"}}
        manager = {
            "@type": TYPES + "filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "listener",
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route("vllm")]}]},
            "http_filters": [*self.filters, router],
        }
        filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager | self.manager}]
        return {"name": f"listener-{self.port}", "address": socket_address(self.port), "filter_chains": [{"filters": filters}]}


def fault(**fields) -> dict:
    """Envoy's fault filter with these settings."""
    settings = {"@type": TYPES + "filters.http.fault.v3.HTTPFault"} | fields
    return {"name": "envoy.filters.http.fault", "typed_config": settings}


ALWAYS = {"numerator": 100, "denominator": "HUNDRED"}
ONE_AT_A_TIME = {"priority": "DEFAULT", "max_requests": 1, "max_pending_requests": 1}


@pytest.fixture
def before_vllm(vllm, tmp_path, log):
    """Starts a gateway whose upstream is an Envoy in front of vLLM, or of port `target`. `also` adds vLLM itself as an upstream."""
    with contextlib.ExitStack() as stack:

        def start(listener: PlainListener, target: int = 0, also: bool = False, **settings):
            config = bootstrap([listener], [cluster("vllm", target or vllm.port, **settings)])
            stack.enter_context(Envoy(config, tmp_path)).wait()
            urls = [f"http://127.0.0.1:{listener.port}", *([vllm.url] if also else [])]
            return stack.enter_context(gateway_with_short_limits(log, *urls))

        yield start


def statuses(gateway, times: int = 12) -> list[int]:
    return [chat(gateway.port, MODEL, "Hello", max_tokens=3).status for _ in range(times)]


def test_an_abort_is_relayed_when_there_is_no_other_server(before_vllm):
    aborts = [fault(abort={"http_status": 503, "percentage": ALWAYS})]
    answer = chat(before_vllm(PlainListener(aborts)).port, MODEL, "Hello")
    assert answer.status == 503 and answer.body == b"fault filter abort" and answer.header("retry-after")


def test_an_abort_is_not_noticed_when_there_is_another_server(before_vllm):
    aborts = [fault(abort={"http_status": 503, "percentage": ALWAYS})]
    assert statuses(before_vllm(PlainListener(aborts), also=True)) == [200] * 12


def test_an_envoy_without_upstream_is_not_noticed_when_there_is_another_server(before_vllm):
    assert statuses(before_vllm(PlainListener(), target=free_port(), also=True)) == [200] * 12


def stream_in_the_only_place(gateway) -> Stream:
    """A stream that takes the only place. It retries, because the gateway's own requests (health, models) take it at times."""
    for _ in range(20):
        try:
            return Stream(gateway)
        except AssertionError as refused:
            if "x-envoy-overloaded" not in str(refused):
                raise
            time.sleep(0.2)
    raise TimeoutError("the only place is never free")


def test_an_overloaded_envoy_gives_its_503(before_vllm):
    """Envoy's circuit breaker allows one request at a time, and a stream is in progress."""
    gateway = before_vllm(PlainListener(), circuit_breakers={"thresholds": [ONE_AT_A_TIME]})
    stream = stream_in_the_only_place(gateway)
    answer = chat(gateway.port, MODEL, "Hello")
    assert answer.status == 503 and b"overflow" in answer.body
    stream.connection.close()


def test_a_stream_that_lasts_too_long_for_envoy_ends_with_our_error(before_vllm):
    """Envoy resets a response that exceeds `max_stream_duration`. Only its chunk framing shows that it is incomplete."""
    gateway = before_vllm(PlainListener(common_http_protocol_options={"max_stream_duration": "1s"}))
    assert final_error(Stream(gateway).read_to_end())["code"] == "upstream_reset"


def test_a_plain_answer_that_takes_too_long_for_envoy(before_vllm):
    gateway = before_vllm(PlainListener(common_http_protocol_options={"max_stream_duration": "1s"}))
    answer = chat(gateway.port, MODEL, "Hello", max_tokens=1500, ignore_eos=True)
    assert answer.status in (408, 502, 504), answer
    if answer.header("content-type") == "application/json":
        assert error_code(answer) == "upstream_reset"


def test_a_slow_envoy_is_waited_for(before_vllm):
    """A delay of half a second and a response of 4 KiB a second are no failures."""
    slow = [
        fault(
            delay={"fixed_delay": "0.5s", "percentage": ALWAYS},
            response_rate_limit={"fixed_limit": {"limit_kbps": 4}, "percentage": ALWAYS},
        )
    ]
    gateway = before_vllm(PlainListener(slow))
    answer = chat(gateway.port, MODEL, "Hello", max_tokens=40, stream=True)
    assert answer.status == 200 and answer.body.endswith(b"data: [DONE]\n\n")
    assert len([line for line in answer.body.splitlines() if line.startswith(b"data: ")]) > 10
