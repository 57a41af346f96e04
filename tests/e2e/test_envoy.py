"""With Envoy and ext_proc, vLLM and the client receive the same as through thinkgate's HTTP server."""

import json

import pytest

from tests.harness import prompts
from tests.harness.envoy import MODES, Envoy, ExtProcListener, bootstrap, cluster, grpc_cluster

from . import request_kinds
from .echo_server import echoed
from .http_messages import Message
from .models import EASY, HARD, MODEL
from .raw_http import CHAT, added_switch, chat, exchange, has_reasoning, request_bytes, send_slowly

DECISION = ("x-thinkgate-mode", "x-thinkgate-why", "x-thinkgate-score", "x-thinkgate-domain", "x-thinkgate-model")
CLOSE = ("Connection: close",)
ECHO = "/echo" + CHAT
# Headers that Envoy adds for an upstream, and those that thinkgate adds for Envoy's routes.
ADDED = {"x-forwarded-proto", "x-request-id", "x-envoy-expected-rq-timeout-ms", "x-thinkgate-mode", "x-thinkgate-model"}
FRAMING = {"content-length", "transfer-encoding"}
ANSWERED = [kind for kind in request_kinds.chat(MODEL) if "stream" not in kind.name]
BODIES = {kind.name: kind.body for kind in ANSWERED} | {
    name: (text % MODEL).encode() for name, text in request_kinds.UNUSUAL.items()
}
CASES = [
    (prompts.THINK[1], "reasoning", {}),
    (prompts.DIRECT[1], "direct", {}),
    (EASY, "reasoning", {"x-thinkgate-mode": "reasoning"}),
    (HARD, "unchanged", {"x-thinkgate-mode": "unchanged"}),
]


def decision(answer: Message) -> dict[str, str | None]:
    """The decision headers of a response."""
    return {name: answer.header(name) for name in DECISION}


@pytest.mark.parametrize(("text", "mode", "headers"), CASES, ids=[f"{why or 'judged'}-{mode}" for _, mode, why in CASES])
def test_the_model_reasons_exactly_when_the_answer_says_so(listener, text, mode, headers):
    headers = tuple(f"{name}: {value}" for name, value in headers.items())
    answer = chat(listener.port, MODEL, text, headers, max_tokens=1024)
    assert answer.header("x-thinkgate-mode") == mode
    # Qwen3 thinks by default.
    assert has_reasoning(answer) is (mode != "direct")
    assert b"made locally today" in answer.body

    stream = chat(listener.port, MODEL, text, headers, max_tokens=1024, stream=True)
    assert decision(stream) == decision(answer)
    assert (b'"reasoning":" the' in stream.body) is (mode != "direct")
    assert stream.body.endswith(b"data: [DONE]\n\n")
    assert stream.header("content-type").startswith("text/event-stream")


def test_vllm_gets_the_bytes_that_the_http_server_sends(listener, processor, envoy_proxy):
    for name, body in BODIES.items():
        envoy_proxy.clear()
        request = request_bytes(body, headers=CLOSE)
        here, there = exchange(processor.port, request), exchange(listener.port, request)
        assert (here.status, decision(here)) == (there.status, decision(there)), name
        sent = [exchanged.request for exchanged in envoy_proxy.exchanges(CHAT)]
        one, other = sorted(sent, key=lambda request: request.header("x-envoy-expected-rq-timeout-ms") is not None)
        assert one.body == other.body, name
        added_switch(body, other.body)
        if listener.mode == "BUFFERED":
            assert other.header("content-length") == str(len(other.body)), name
            assert other.header("transfer-encoding") is None, name
        else:
            # Envoy forwards such a body while it arrives, so it does not know the length.
            assert other.header("transfer-encoding") == "chunked", name
            assert other.header("content-length") is None, name


def test_vllm_gets_the_headers_of_the_client(listener):
    own = ("Authorization: Bearer sk-mine", "User-Agent: mine/1", "X-Request-Id: my-req-7", "X-Custom: a, b")
    answer = exchange(listener.port, request_bytes(request_kinds.chat_body(MODEL), ECHO, (*CLOSE, *own)))
    assert answer.header("x-request-id") == "my-req-7"
    got = {name.lower(): value for name, value in echoed(answer).headers}
    for header in own:
        name, _, value = header.lower().partition(": ")
        assert got.pop(name).lower() == value
    assert got.pop("host") == "gateway" and got.pop("content-type") == "application/json"
    assert got.keys() - FRAMING <= ADDED


def test_decision_headers_of_an_upstream_are_removed(listener):
    """The upstream sends forged decision headers. The mode is the client's, so no score may arrive."""
    answer = exchange(listener.port, request_bytes(request_kinds.chat_body(MODEL), ECHO, (*CLOSE, "x-thinkgate-mode: direct")))
    assert answer.header("x-thinkgate-mode") == "direct"
    assert [name for name, value in answer.headers if value == "forged"] == []


def test_other_routes_are_not_decided(listener):
    for request in (
        b"GET /v1/models HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n",
        request_bytes(json.dumps({"model": MODEL, "prompt": "Hi", "max_tokens": 2}).encode(), "/v1/completions", CLOSE),
    ):
        answer = exchange(listener.port, request)
        assert answer.status == 200 and MODEL.encode() in answer.body
        assert answer.header("x-thinkgate-why") is None
    body = b"\x00not json at all"
    assert echoed(exchange(listener.port, request_bytes(body, "/echo/v1/anything", CLOSE))).body == body
    for path in ("/echo/anything", "/echo/tokenize", "/invocations", "/V1/chat/completions", "/v1//chat/completions"):
        refused = exchange(listener.port, request_bytes(body, path, CLOSE))
        assert refused.status == 404 and CHAT in json.loads(refused.body)["error"]["message"], path


def test_a_prompt_of_5_mb_arrives_whole(listener):
    body = request_kinds.chat_body(MODEL, "A long story. " * 375_000)
    answer = exchange(listener.port, request_bytes(body, ECHO, CLOSE))
    assert answer.header("x-thinkgate-mode") in ("reasoning", "direct")
    assert added_switch(body, echoed(answer).body) is (answer.header("x-thinkgate-mode") == "reasoning")


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_slow_body_arrives_whole(listener, framing):
    """The body takes longer than any limit on one message. With chunks, its end comes in a message of its own."""
    body = request_kinds.chat_body(MODEL, HARD)
    answer = send_slowly(listener.port, ECHO, body, framing)
    assert answer.header("x-thinkgate-mode") == "reasoning"
    assert added_switch(body, echoed(answer).body) is True


def test_a_body_that_ends_with_trailers_arrives_whole_or_is_refused(listener):
    body = request_kinds.chat_body(MODEL, HARD)
    answer = send_slowly(listener.port, ECHO, body, "trailers", pause=0.01)
    if listener.mode == "STREAMED":
        # An ext_proc response to trailers cannot carry a body.
        assert answer.status == 400 and "trailers" in json.loads(answer.body)["error"]["message"]
    else:
        assert answer.header("x-thinkgate-mode") == "reasoning"
        assert added_switch(body, echoed(answer).body) is True


def test_a_body_that_does_not_fit_into_envoys_buffer(processor, pools, tmp_path):
    whole, partial = ExtProcListener("BUFFERED", buffer=32768), ExtProcListener("BUFFERED_PARTIAL", buffer=32768)
    clusters = [cluster("upstream", pools["echo"].port), grpc_cluster("thinkgate", processor.grpc_port)]
    small, large = (request_kinds.chat_body(MODEL, HARD + " And so on." * times) for times in (1, 20_000))
    with Envoy(bootstrap([whole, partial], clusters), tmp_path).wait():
        for listener in (whole, partial):
            assert exchange(listener.port, request_bytes(small, headers=CLOSE)).header("x-thinkgate-mode") == "reasoning"
        # Envoy answers as soon as its buffer is full. Sending the rest would race with the end of the connection.
        assert exchange(whole.port, request_bytes(large, headers=CLOSE)[:48_000]).status == 413
        undecided = exchange(partial.port, request_bytes(large, headers=CLOSE))
        assert echoed(undecided).body == large and undecided.header("x-thinkgate-mode") is None


@pytest.mark.parametrize("response_mode", MODES)
def test_a_response_body_that_envoy_sends_to_thinkgate_arrives_whole(processor, envoy_proxy, tmp_path, response_mode):
    """thinkgate does not use response bodies, but the defaults of some gateways send them."""
    listener = ExtProcListener("FULL_DUPLEX_STREAMED", response_mode=response_mode)
    clusters = [cluster("upstream", envoy_proxy.port), grpc_cluster("thinkgate", processor.grpc_port)]
    with Envoy(bootstrap([listener], clusters), tmp_path).wait():
        for stream in (False, True):
            envoy_proxy.clear()
            answer = chat(listener.port, MODEL, HARD, max_tokens=1024, ignore_eos=True, stream=stream)
            assert (answer.header("x-thinkgate-mode"), answer.header("x-thinkgate-why")) == ("reasoning", "classifier")
            assert answer.body == envoy_proxy.exchange(CHAT).response.body
            assert len(answer.body) > 1000 and answer.body.endswith(b"data: [DONE]\n\n" if stream else b"}")
