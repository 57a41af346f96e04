"""Envoy asks thinkgate, and forwards by itself: what vLLM gets and the client sees is what the HTTP door gives."""

import contextlib
import json
import time

import pytest

import kinds
import prompts
from conftest import MODEL
from echo import echoed
from envoy import MODES, Door, Envoy, bootstrap, cluster, grpc_cluster
from hop import Message, messages
from test_bytes import UNUSUAL
from test_client_choice import EASY, HARD
from wire import CHAT, chat, connect, exchange, request_bytes, switch_in, thought

DECISION = ("x-thinkgate-mode", "x-thinkgate-why", "x-thinkgate-score", "x-thinkgate-domain", "x-thinkgate-model")
CLOSE = ("Connection: close",)
ECHO = "/echo" + CHAT
# What Envoy says to an upstream in its own name, and what thinkgate says to Envoy's routes.
ADDED = {"x-forwarded-proto", "x-request-id", "x-envoy-expected-rq-timeout-ms", "x-thinkgate-mode", "x-thinkgate-model"}
FRAMING = {"content-length", "transfer-encoding"}
ANSWERED = [kind for kind in kinds.chat(MODEL) if "stream" not in kind.name]
BODIES = {kind.name: kind.body for kind in ANSWERED} | {name: (text % MODEL).encode() for name, text in UNUSUAL.items()}
CASES = [
    (prompts.THINK[1], "reasoning", {}),
    (prompts.DIRECT[1], "direct", {}),
    (EASY, "reasoning", {"x-thinkgate-mode": "reasoning"}),
    (HARD, "unchanged", {"x-thinkgate-mode": "unchanged"}),
]


def decision(answer: Message) -> dict[str, str | None]:
    return {name: answer.header(name) for name in DECISION}


@pytest.mark.parametrize(("text", "mode", "headers"), CASES, ids=[f"{why or 'judged'}-{mode}" for _, mode, why in CASES])
def test_the_model_reasons_exactly_when_the_answer_says_so(door, text, mode, headers):
    headers = tuple(f"{name}: {value}" for name, value in headers.items())
    answer = chat(door.port, MODEL, text, headers, max_tokens=1024)
    assert answer.header("x-thinkgate-mode") == mode
    # A Qwen3 that is told nothing thinks.
    assert thought(answer) is (mode != "direct")
    assert b"made locally today" in answer.body

    stream = chat(door.port, MODEL, text, headers, max_tokens=1024, stream=True)
    assert decision(stream) == decision(answer)
    assert (b'"reasoning":" the' in stream.body) is (mode != "direct")
    assert stream.body.endswith(b"data: [DONE]\n\n")
    assert stream.header("content-type").startswith("text/event-stream")


def test_vllm_gets_the_bytes_that_the_http_door_sends(door, processor, envoy_hop):
    for name, body in BODIES.items():
        envoy_hop.clear()
        request = request_bytes(body, headers=CLOSE)
        here, there = exchange(processor.port, request), exchange(door.port, request)
        assert (here.status, decision(here)) == (there.status, decision(there)), name
        sent = [exchanged.request for exchanged in envoy_hop.exchanges(CHAT)]
        one, other = sorted(sent, key=lambda request: request.header("x-envoy-expected-rq-timeout-ms") is not None)
        assert one.body == other.body, name
        switch_in(body, other.body)
        if door.mode == "BUFFERED":
            assert other.header("content-length") == str(len(other.body)), name
            assert other.header("transfer-encoding") is None, name
        else:
            # Envoy sends such a body as it comes, and cannot know its length.
            assert other.header("transfer-encoding") == "chunked", name
            assert other.header("content-length") is None, name


def test_vllm_gets_the_headers_of_the_client(door):
    own = ("Authorization: Bearer sk-mine", "User-Agent: mine/1", "X-Request-Id: my-req-7", "X-Custom: a, b")
    answer = exchange(door.port, request_bytes(kinds.chat_body(MODEL), ECHO, (*CLOSE, *own)))
    assert answer.header("x-request-id") == "my-req-7"
    got = {name.lower(): value for name, value in echoed(answer).headers}
    for header in own:
        name, _, value = header.lower().partition(": ")
        assert got.pop(name).lower() == value
    assert got.pop("host") == "gateway" and got.pop("content-type") == "application/json"
    assert got.keys() - FRAMING <= ADDED


def test_what_an_upstream_says_of_a_decision_is_not_believed(door):
    """This upstream says that it decided by itself; the mode is the client's, so there is no score."""
    answer = exchange(door.port, request_bytes(kinds.chat_body(MODEL), ECHO, (*CLOSE, "x-thinkgate-mode: direct")))
    assert answer.header("x-thinkgate-mode") == "direct"
    assert [name for name, value in answer.headers if value == "forged"] == []


def test_other_routes_are_not_judged(door):
    for request in (
        b"GET /v1/models HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n",
        request_bytes(json.dumps({"model": MODEL, "prompt": "Hi", "max_tokens": 2}).encode(), "/v1/completions", CLOSE),
    ):
        answer = exchange(door.port, request)
        assert answer.status == 200 and MODEL.encode() in answer.body
        assert answer.header("x-thinkgate-why") is None
    body = b"\x00not json at all"
    assert echoed(exchange(door.port, request_bytes(body, "/echo/anything", CLOSE))).body == body


def test_a_prompt_of_5_mb_arrives_whole(door):
    body = kinds.chat_body(MODEL, "A long story. " * 375_000)
    answer = exchange(door.port, request_bytes(body, ECHO, CLOSE))
    assert answer.header("x-thinkgate-mode") in ("reasoning", "direct")
    assert switch_in(body, echoed(answer).body) is (answer.header("x-thinkgate-mode") == "reasoning")


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_slow_body_arrives_whole(door, framing):
    """Longer than any limit on one message; with chunks the end comes alone."""
    body = kinds.chat_body(MODEL, HARD)
    answer = send_slowly(door.port, body, framing)
    assert answer.header("x-thinkgate-mode") == "reasoning"
    assert switch_in(body, echoed(answer).body) is True


def test_a_body_that_ends_with_trailers_arrives_whole_or_is_refused(door):
    body = kinds.chat_body(MODEL, HARD)
    answer = send_slowly(door.port, body, "trailers", pause=0.01)
    if door.mode == "STREAMED":
        # An answer to trailers cannot carry a body.
        assert answer.status == 400 and "trailers" in json.loads(answer.body)["error"]["message"]
    else:
        assert answer.header("x-thinkgate-mode") == "reasoning"
        assert switch_in(body, echoed(answer).body) is True


def test_what_does_not_fit_into_envoys_buffer(processor, pools, tmp_path):
    whole, partial = Door("BUFFERED", buffer=32768), Door("BUFFERED_PARTIAL", buffer=32768)
    clusters = [cluster("upstream", pools["echo"].port), grpc_cluster("thinkgate", processor.grpc_port)]
    small, large = (kinds.chat_body(MODEL, HARD + " And so on." * times) for times in (1, 20_000))
    with Envoy(bootstrap([whole, partial], clusters), tmp_path).wait():
        for door in (whole, partial):
            assert exchange(door.port, request_bytes(small, headers=CLOSE)).header("x-thinkgate-mode") == "reasoning"
        # Envoy says so itself, before thinkgate could, and as soon as its buffer is full. Sending on would be a race with the
        # connection's end.
        assert exchange(whole.port, request_bytes(large, headers=CLOSE)[:48_000]).status == 413
        unjudged = exchange(partial.port, request_bytes(large, headers=CLOSE))
        assert echoed(unjudged).body == large and unjudged.header("x-thinkgate-mode") is None


@pytest.mark.parametrize("response_mode", MODES)
def test_an_answer_that_is_sent_to_thinkgate_too_comes_through_whole(processor, envoy_hop, tmp_path, response_mode):
    """It has no use for its body. The defaults of some gateways send it all the same."""
    door = Door("FULL_DUPLEX_STREAMED", response_mode=response_mode)
    clusters = [cluster("upstream", envoy_hop.port), grpc_cluster("thinkgate", processor.grpc_port)]
    with Envoy(bootstrap([door], clusters), tmp_path).wait():
        for stream in (False, True):
            envoy_hop.clear()
            answer = chat(door.port, MODEL, HARD, max_tokens=1024, ignore_eos=True, stream=stream)
            assert (answer.header("x-thinkgate-mode"), answer.header("x-thinkgate-why")) == ("reasoning", "classifier")
            assert answer.body == envoy_hop.exchange(CHAT).response.body
            assert len(answer.body) > 1000 and answer.body.endswith(b"data: [DONE]\n\n" if stream else b"}")


def send_slowly(port: int, body: bytes, framing: str, pause: float = 0.3) -> Message:
    """Sends the body in four pieces, with a pause before each."""
    chunked = framing != "length"
    lines = [f"POST {ECHO} HTTP/1.1", "Host: gateway", "Content-Type: application/json", *CLOSE]
    lines += ["Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"]
    lines += ["Trailer: x-end"] if framing == "trailers" else []
    step = len(body) // 4 + 1
    with contextlib.closing(connect(port)) as connection:
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
        for at in range(0, len(body), step):
            time.sleep(pause)
            piece = body[at : at + step]
            connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            connection.sendall(b"0\r\nx-end: here\r\n\r\n" if framing == "trailers" else b"0\r\n\r\n")
        [answer] = messages(b"".join(iter(lambda: connection.recv(65536), b"")))
    return answer
