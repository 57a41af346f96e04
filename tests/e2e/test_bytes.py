"""Byte for byte, the client receives what vLLM sent, and vLLM receives what the client sent, for every kind of request."""

import json

import pytest

from tests.harness.processes import Gateway

from . import request_kinds
from .models import MODEL, OTHER_KEY, OTHER_MODEL
from .raw_http import CHAT, added_switch, exchange, request_bytes
from .recording_proxy import RecordingProxy

# Hop-by-hop headers.
PER_CONNECTION = {"connection", "transfer-encoding", "keep-alive"}
OURS = {"x-request-id", "x-thinkgate-mode", "x-thinkgate-why", "x-thinkgate-score", "x-thinkgate-domain", "x-thinkgate-model"}
# The client has chosen the mode, so thinkgate may not insert a switch.
CHOSEN = {"chat_no_thinking", "chat_no_thinking_stream", "chat_effort_none", "chat_effort_low", "chat_effort_high",
          "chat_thinking_budget", "err_effort_bogus", "tool_auto_no_thinking"}  # fmt: skip
JUDGED = "/v1/chat/completions", "/v1/responses", "/v1/messages"

RELAYED = [kind for kind in request_kinds.all_kinds(MODEL) if kind.refused is None]
REFUSED = [kind for kind in request_kinds.all_kinds(MODEL) if kind.refused is not None]


def end_to_end(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return sorted((name.lower(), value) for name, value in headers if name.lower() not in PER_CONNECTION)


def check_relayed(kind: request_kinds.RequestKind, port: int, proxy) -> None:
    answer = exchange(port, kind.request("gateway"))
    [wire] = proxy.exchanges(kind.path)
    assert answer.first_line == wire.response.first_line
    assert answer.body == wire.response.body
    theirs = end_to_end(wire.response.headers)
    assert [header for header in end_to_end(answer.headers) if header in theirs] == theirs
    added = {name for name, _ in end_to_end(answer.headers)} - {name for name, _ in theirs}
    assert added <= OURS
    assert "x-request-id" in added or answer.header("x-request-id")

    switch = added_switch(kind.body or b"", wire.request.body)
    if kind.name in CHOSEN or kind.path not in JUDGED:
        assert switch is None
    elif kind.path == CHAT:
        assert {"reasoning": True, "direct": False, "unchanged": None}[answer.header("x-thinkgate-mode")] is switch
        assert answer.header("x-thinkgate-why") and answer.header("x-thinkgate-model") == MODEL


@pytest.mark.parametrize("kind", RELAYED, ids=lambda kind: kind.name)
def test_answer_is_relayed(kind, gateway, proxy):
    check_relayed(kind, gateway.port, proxy)


@pytest.mark.parametrize("kind", REFUSED, ids=lambda kind: kind.name)
def test_thinkgates_own_answer_has_openais_format(kind, gateway, proxy):
    answer = exchange(gateway.port, kind.request("gateway"))
    assert answer.status == kind.refused
    assert answer.header("content-type") == "application/json"
    if answer.status == 200:
        assert [model["id"] for model in json.loads(answer.body)["data"]] == [MODEL]
    else:
        error = json.loads(answer.body)["error"]
        assert error["message"] and error["type"] == "invalid_request_error"
        assert not proxy.exchanges(kind.path)


def test_tool_calls_and_keys(other_vllm, log, monkeypatch):
    monkeypatch.setenv("KEY_OF_THE_UPSTREAM", OTHER_KEY)
    with (
        RecordingProxy(other_vllm.port).listen() as proxy,
        Gateway(proxy.url, log, ["--upstream-key", "env:KEY_OF_THE_UPSTREAM"]) as gateway,
    ):
        gateway.wait()
        for kind in request_kinds.tool_calls(OTHER_MODEL):
            proxy.clear()
            answer = exchange(gateway.port, kind.request("gateway"))
            [wire] = proxy.exchanges(kind.path)
            assert answer.status == 200 and b"get_weather" in answer.body, (kind.name, answer)
            assert answer.body == wire.response.body, kind.name
            added_switch(kind.body, wire.request.body)


@pytest.mark.parametrize("name", request_kinds.UNUSUAL)
def test_unusual_json_arrives_as_it_was_written(name, gateway, proxy):
    body = (request_kinds.UNUSUAL[name] % MODEL).encode()
    answer = exchange(gateway.port, request_bytes(body, headers=("Connection: close",)))
    wire = proxy.exchange(CHAT)
    assert answer.status == 200, answer
    assert answer.body == wire.response.body
    assert added_switch(body, wire.request.body) is not None


def test_the_clients_headers_reach_vllm(gateway, proxy):
    headers = (
        "Connection: close",
        "Authorization: Bearer sk-mine",
        "User-Agent: mine/1",
        "X-Request-Id: my-req-7",
        "X-Custom: a, b",
    )
    answer = exchange(gateway.port, request_bytes(request_kinds.chat_body(MODEL), headers=headers))
    request = proxy.exchange(CHAT).request
    assert request.header("authorization") == "Bearer sk-mine"
    assert request.header("user-agent") == "mine/1"
    assert request.header("x-custom") == "a, b"
    assert request.header("host") == proxy.url.removeprefix("http://")
    assert answer.header("x-request-id") == "my-req-7"
