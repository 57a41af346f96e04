"""Every kind of answer, byte for byte: the client gets what vLLM sent, and vLLM gets what the client sent."""

import json

import pytest

import kinds
from conftest import MODEL, OTHER_KEY, OTHER_MODEL
from hop import Hop
from processes import Gateway
from wire import CHAT, exchange, request_bytes, switch_in

# What concerns one connection only, and is said anew on the next one.
PER_CONNECTION = {"connection", "transfer-encoding", "keep-alive"}
OURS = {"x-request-id", "x-thinkgate-mode", "x-thinkgate-why", "x-thinkgate-score", "x-thinkgate-domain", "x-thinkgate-model"}
# The client has chosen already, so nothing may be put in.
CHOSEN = {"chat_no_thinking", "chat_no_thinking_stream", "chat_effort_none", "chat_effort_low", "chat_effort_high",
          "chat_thinking_budget", "err_effort_bogus", "tool_auto_no_thinking"}  # fmt: skip
JUDGED = "/v1/chat/completions", "/v1/responses", "/v1/messages"

RELAYED = [kind for kind in kinds.kinds(MODEL) if kind.refused is None]
REFUSED = [kind for kind in kinds.kinds(MODEL) if kind.refused is not None]


def end_to_end(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return sorted((name.lower(), value) for name, value in headers if name.lower() not in PER_CONNECTION)


def check_relayed(kind: kinds.Kind, port: int, hop) -> None:
    answer = exchange(port, kind.request("gateway"))
    [wire] = hop.exchanges(kind.path)
    assert answer.first_line == wire.response.first_line
    assert answer.body == wire.response.body
    theirs = end_to_end(wire.response.headers)
    assert [header for header in end_to_end(answer.headers) if header in theirs] == theirs
    added = {name for name, _ in end_to_end(answer.headers)} - {name for name, _ in theirs}
    assert added <= OURS
    assert "x-request-id" in added or answer.header("x-request-id")

    switch = switch_in(kind.body or b"", wire.request.body)
    if kind.name in CHOSEN or kind.path not in JUDGED:
        assert switch is None
    elif kind.path == CHAT:
        assert {"reasoning": True, "direct": False, "unchanged": None}[answer.header("x-thinkgate-mode")] is switch
        assert answer.header("x-thinkgate-why") and answer.header("x-thinkgate-model") == MODEL


@pytest.mark.parametrize("kind", RELAYED, ids=lambda kind: kind.name)
def test_answer_is_relayed(kind, gateway, hop):
    check_relayed(kind, gateway.port, hop)


@pytest.mark.parametrize("kind", REFUSED, ids=lambda kind: kind.name)
def test_own_answer_reads_like_one_of_openai(kind, gateway, hop):
    answer = exchange(gateway.port, kind.request("gateway"))
    assert answer.status == kind.refused
    assert answer.header("content-type") == "application/json"
    if answer.status == 200:
        assert [model["id"] for model in json.loads(answer.body)["data"]] == [MODEL]
    else:
        error = json.loads(answer.body)["error"]
        assert error["message"] and error["type"] == "invalid_request_error"
        assert not hop.exchanges(kind.path)


def test_tool_calls_and_keys(other_vllm, log, monkeypatch):
    monkeypatch.setenv("KEY_OF_THE_UPSTREAM", OTHER_KEY)
    with Hop(other_vllm.port).listen() as hop, Gateway(hop.url, log, ["--upstream-key", "env:KEY_OF_THE_UPSTREAM"]) as gateway:
        gateway.wait()
        for kind in kinds.tool_calls(OTHER_MODEL):
            hop.clear()
            answer = exchange(gateway.port, kind.request("gateway"))
            [wire] = hop.exchanges(kind.path)
            assert answer.status == 200 and b"get_weather" in answer.body, (kind.name, answer)
            assert answer.body == wire.response.body, kind.name
            switch_in(kind.body, wire.request.body)


UNUSUAL = {
    "numbers": '{"model":"%s","messages":[{"role":"user","content":"Hi"}],"max_tokens":4,"temperature":1.0,"top_p":1e0,"seed":12345678901234567,"top_k":-0,"presence_penalty":0.10}',
    "order": '{"max_tokens":4,"messages":[{"content":"Hi","role":"user"}],"zeta":1,"alpha":{"b":1,"a":2},"model":"%s"}',
    "whitespace": '\n\t {\r\n"model" :\t"%s" , "messages":[ {"role": "user" ,"content":"Hi"}] ,"max_tokens"  :4}\n\n',
    "escapes": '{"m\\u006fdel":"%s","messages":[{"role":"user","content":"\\u0048i \\/ \\ud83d\\ude00 \\"}]}"}],"max_tokens":4}',
    "kwargs": '{"model":"%s","messages":[{"role":"user","content":"Hi"}],"chat_template_kwargs":{"custom": [1.0, {}]},"max_tokens":4}',
    "empty kwargs": '{"model":"%s","messages":[{"role":"user","content":"Hi"}],"chat_template_kwargs": { },"max_tokens":4}',
    "null kwargs": '{"model":"%s","messages":[{"role":"user","content":"Hi"}],"chat_template_kwargs": null,"max_tokens":4}',
    "unicode": '{"model":"%s","messages":[{"role":"user","content":"Grüße, 你好, שלום 🦀"}],"max_tokens":4,"metadata":{"ключ":"é"}}',
    "deep": '{"model":"%s","messages":[{"role":"user","content":"Hi"}],"max_tokens":4,"x":' + "[" * 60 + "]" * 60 + "}",
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_json_arrives_as_it_was_written(name, gateway, hop):
    body = (UNUSUAL[name] % MODEL).encode()
    answer = exchange(gateway.port, request_bytes(body, headers=("Connection: close",)))
    wire = hop.exchange(CHAT)
    assert answer.status == 200, answer
    assert answer.body == wire.response.body
    assert switch_in(body, wire.request.body) is not None


def test_the_clients_headers_reach_vllm(gateway, hop):
    headers = ("Connection: close", "Authorization: Bearer sk-mine", "User-Agent: mine/1", "X-Request-Id: my-req-7", "X-Custom: a, b")
    answer = exchange(gateway.port, request_bytes(kinds.chat_body(MODEL), headers=headers))
    request = hop.exchange(CHAT).request
    assert request.header("authorization") == "Bearer sk-mine"
    assert request.header("user-agent") == "mine/1"
    assert request.header("x-custom") == "a, b"
    assert request.header("host") == hop.url.removeprefix("http://")
    assert answer.header("x-request-id") == "my-req-7"
