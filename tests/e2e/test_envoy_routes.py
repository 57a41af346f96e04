"""Envoy routes by thinkgate's decision, which a client cannot forge."""

import json

import pytest

from tests.harness import prompts
from tests.harness.envoy import MODES, Envoy, ExtProcListener, bootstrap, cluster, grpc_cluster
from tests.harness.processes import Processor

from .echo_server import echoed
from .models import MODEL
from .raw_http import CHAT, exchange, request_bytes
from .request_kinds import chat_body

HARD, EASY = prompts.THINK[1], prompts.DIRECT[1]
BY_MODE, BY_MODEL = "/by-mode" + CHAT, "/by-model" + CHAT
CHOOSING = ["BUFFERED", "FULL_DUPLEX_STREAMED"]
CLIENT_KEY, UPSTREAM_KEY = "sk-of-alice", "sk-of-the-upstream"
LIMIT = 100_000
ENDINGS = [b"", b'{"model": "m", "messages": [', b"[]", b'{"model":"%s"}' % MODEL.encode()]
TWICE = b'{"model":"%s","model":"other","messages":[{"role":"user","content":"Hi"}]}' % MODEL.encode()


def ask(port: int, path: str, text: str = HARD, *headers: str):
    """Sends a chat request to `path`."""
    return exchange(port, request_bytes(chat_body(MODEL, text), path, ("Connection: close", *headers)))


@pytest.mark.parametrize("mode", CHOOSING)
@pytest.mark.parametrize(("text", "pool"), [(HARD, "reasoning"), (EASY, "direct")], ids=["hard", "easy"])
def test_the_decision_chooses_the_cluster(envoy_listeners, mode, text, pool):
    answer = ask(envoy_listeners[mode].port, BY_MODE, text)
    assert (answer.header("x-thinkgate-mode"), answer.header("x-thinkgate-why")) == (pool, "classifier")
    assert answer.header("x-upstream") == pool
    assert echoed(answer).header("x-thinkgate-mode") == pool


@pytest.mark.parametrize("mode", CHOOSING)
@pytest.mark.parametrize(("requested", "pool"), [("reasoning", "reasoning"), ("direct", "direct"), ("unchanged", "echo")])
def test_the_requested_mode_chooses_the_cluster(envoy_listeners, mode, requested, pool):
    assert ask(envoy_listeners[mode].port, BY_MODE, EASY, f"x-thinkgate-mode: {requested}").header("x-upstream") == pool


@pytest.mark.parametrize("mode", CHOOSING)
def test_the_model_chooses_the_cluster(envoy_listeners, mode):
    answer = ask(envoy_listeners[mode].port, BY_MODEL)
    assert answer.header("x-upstream") == "direct"
    assert echoed(answer).header("x-thinkgate-model") == MODEL


def test_a_client_cannot_forge_the_model(listener):
    """The model `secret` has its own cluster. In STREAMED mode the model is not known in time, so the last route applies."""
    answer = ask(listener.port, BY_MODEL, HARD, "x-thinkgate-model: secret", "x-thinkgate-why: because", "X-Thinkgate-Pool: mine")
    assert answer.header("x-upstream") == ("echo" if listener.mode == "STREAMED" else "direct")
    sent = {name.lower(): value for name, value in echoed(answer).headers if name.lower().startswith("x-thinkgate-")}
    assert sent.keys() <= {"x-thinkgate-mode", "x-thinkgate-model"}
    assert sent.get("x-thinkgate-model") in (MODEL, None)


def test_in_streamed_mode_the_route_is_chosen_before_the_decision(envoy_listeners):
    """There the client's header does not choose a route either: all requests take the last one."""
    port = envoy_listeners["STREAMED"].port
    assert ask(port, BY_MODE, HARD).header("x-upstream") == "echo"
    assert ask(port, BY_MODE, HARD, "x-thinkgate-mode: reasoning").header("x-upstream") == "echo"


@pytest.mark.parametrize("mode", MODES)
def test_a_request_that_is_not_decided_cannot_forge_the_model_either(envoy_listeners, mode):
    head = "GET /by-model/v1/models HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\nx-thinkgate-model: secret\r\n\r\n"
    answer = exchange(envoy_listeners[mode].port, head.encode())
    assert answer.header("x-upstream") == "echo"
    assert echoed(answer).header("x-thinkgate-model") is None


@pytest.fixture(scope="module")
def guarded(work):
    """A thinkgate with client keys, a body limit, and models without endpoints: only Envoy knows where they are."""
    config = {
        "auth": {"keys": [{"name": "alice", "key": "env:CLIENT_KEY"}]},
        "server": {"max_body_bytes": LIMIT},
        "models": {MODEL: {"family": "qwen3", "api_key": "env:UPSTREAM_KEY"}, "keyless": {"family": "qwen3"}},
    }
    env = {"CLIENT_KEY": CLIENT_KEY, "UPSTREAM_KEY": UPSTREAM_KEY}
    with Processor(work / "guarded.log", config, env=env) as running:
        yield running.wait()


@pytest.fixture(scope="module")
def guarded_listeners(guarded, pools, work):
    """Envoy's listeners by body mode, with `guarded` as their processor."""
    listeners = {mode: ExtProcListener(mode) for mode in MODES}
    clusters = [cluster("upstream", pools["echo"].port), grpc_cluster("thinkgate", guarded.grpc_port)]
    with Envoy(bootstrap(list(listeners.values()), clusters), work, "guarded-envoy").wait():
        yield listeners


KEY = f"Authorization: Bearer {CLIENT_KEY}"
REFUSED = {
    "no key": (401, chat_body(MODEL), ()),
    "wrong key": (401, chat_body(MODEL), ("Authorization: Bearer sk-guessed",)),
    "empty": (400, ENDINGS[0], (KEY,)),
    "cut short": (400, ENDINGS[1], (KEY,)),
    "no object": (400, ENDINGS[2], (KEY,)),
    "no messages": (400, ENDINGS[3], (KEY,)),
    "a field twice": (400, TWICE, (KEY,)),
    "unknown mode in the header": (400, chat_body(MODEL), (KEY, "x-thinkgate-mode: maybe")),
    "unknown model": (404, chat_body("no-such-model"), (KEY,)),
    "too large": (413, chat_body(MODEL, "x" * LIMIT), (KEY,)),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", REFUSED)
def test_an_error_is_the_same_as_from_the_http_server(guarded, guarded_listeners, mode, case):
    status, body, headers = REFUSED[case]
    request = request_bytes(body, headers=("Connection: close", *headers))
    here, there = exchange(guarded.port, request), exchange(guarded_listeners[mode].port, request)
    assert here.status == there.status == status
    assert here.body == there.body and json.loads(there.body)["error"]["type"] == "invalid_request_error"
    assert here.header("content-type") == there.header("content-type") == "application/json"
    assert there.header("x-upstream") is None


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("model", "key"), [(MODEL, f"Bearer {UPSTREAM_KEY}"), ("keyless", None)], ids=["replaced", "removed"])
def test_the_clients_key_never_reaches_the_upstream(guarded_listeners, mode, model, key):
    request = request_bytes(chat_body(model), headers=("Connection: close", KEY))
    sent = echoed(exchange(guarded_listeners[mode].port, request)).header("authorization")
    # In STREAMED mode Envoy sends the headers before the model is known.
    assert sent == (None if mode == "STREAMED" else key)


@pytest.mark.parametrize("mode", MODES)
def test_keys_guard_other_routes_too(guarded_listeners, mode):
    def get(*headers: str):
        head = "\r\n".join(["GET /v1/models HTTP/1.1", "Host: gateway", "Connection: close", *headers])
        return exchange(guarded_listeners[mode].port, head.encode() + b"\r\n\r\n")

    assert get().status == 401
    assert echoed(get(KEY)).header("authorization") is None


def test_without_endpoints_the_http_server_answers_503(guarded):
    answer = exchange(guarded.port, request_bytes(chat_body(MODEL), headers=("Connection: close", KEY)))
    assert answer.status == 503 and json.loads(answer.body)["error"]["code"] == "no_endpoint"


def test_without_configured_models_every_name_is_accepted_and_its_family_recognised(pools, log, tmp_path):
    listener = ExtProcListener()
    with Processor(log) as open_to_all:
        clusters = [cluster("upstream", pools["echo"].port), grpc_cluster("thinkgate", open_to_all.wait().grpc_port)]
        with Envoy(bootstrap([listener], clusters), tmp_path).wait():
            answers = {name: exchange(listener.port, request_bytes(chat_body(name), headers=("Connection: close",)))
                       for name in ("Qwen/Qwen3-8B", "deepseek-ai/DeepSeek-V3.1", "my-own")}  # fmt: skip
    sent = {name: json.loads(echoed(answer).body).get("chat_template_kwargs", {}) for name, answer in answers.items()}
    assert [list(kwargs) for kwargs in sent.values()] == [["enable_thinking"], ["thinking"], []]
    assert [answer.header("x-thinkgate-model") for answer in answers.values()] == list(answers)
    assert answers["my-own"].header("x-thinkgate-why") == "unknown"
