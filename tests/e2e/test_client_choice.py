"""A choice in the request body stands, in every form that vLLM knows. The request header wins over the body."""

import pytest

from .models import EASY, HARD, MODEL
from .raw_http import CHAT, added_switch, chat, exchange, has_reasoning, request_bytes
from .request_kinds import chat_body


@pytest.mark.parametrize(
    ("text", "fields", "thinks"),
    [
        (HARD, {"chat_template_kwargs": {"enable_thinking": False}}, False),
        (EASY, {"chat_template_kwargs": {"enable_thinking": True}}, True),
        (HARD, {"reasoning_effort": "none"}, False),
        (EASY, {"reasoning_effort": "low"}, True),
        (EASY, {"thinking_token_budget": 4}, True),
    ],
)
def test_a_choice_in_the_body_stands(gateway, proxy, text, fields, thinks):
    body = chat_body(MODEL, text, **fields)
    answer = exchange(gateway.port, request_bytes(body, headers=("Connection: close",)))
    assert has_reasoning(answer) is thinks
    assert answer.header("x-thinkgate-why") == "client"
    assert answer.header("x-thinkgate-mode") == "unchanged"
    assert proxy.exchange(CHAT).request.body == body


@pytest.mark.parametrize("text", [HARD + " /no_think", EASY + " /think"])
def test_a_soft_switch_in_the_last_turn_is_a_choice(gateway, proxy, text):
    body = chat_body(MODEL, text)
    answer = exchange(gateway.port, request_bytes(body, headers=("Connection: close",)))
    assert answer.header("x-thinkgate-why") == "client"
    assert proxy.exchange(CHAT).request.body == body


@pytest.mark.parametrize(("mode", "thinks"), [("reasoning", True), ("direct", False)])
@pytest.mark.parametrize("text", [HARD, EASY], ids=["hard", "easy"])
def test_the_header_decides(gateway, proxy, text, mode, thinks):
    body = chat_body(MODEL, text)
    answer = exchange(gateway.port, request_bytes(body, headers=("Connection: close", f"x-thinkgate-mode: {mode}")))
    assert has_reasoning(answer) is thinks
    assert (answer.header("x-thinkgate-mode"), answer.header("x-thinkgate-why")) == (mode, "header")
    assert added_switch(body, proxy.exchange(CHAT).request.body) is thinks


def test_the_header_wins_over_the_body(gateway, proxy):
    body = chat_body(MODEL, HARD, chat_template_kwargs={"enable_thinking": True, "other": 1.0})
    answer = exchange(gateway.port, request_bytes(body, headers=("Connection: close", "x-thinkgate-mode: direct")))
    assert not has_reasoning(answer)
    assert proxy.exchange(CHAT).request.body == body.replace(b'"enable_thinking": true', b'"enable_thinking": false')


def test_in_unchanged_mode_the_bytes_are_unchanged(gateway, proxy):
    body = chat_body(MODEL, EASY)
    answer = exchange(gateway.port, request_bytes(body, headers=("Connection: close", "x-thinkgate-mode: unchanged")))
    assert has_reasoning(answer), "Qwen3 thinks by default"
    assert answer.header("x-thinkgate-mode") == "unchanged"
    assert proxy.exchange(CHAT).request.body == body


def test_an_unknown_mode_in_the_header_is_refused(gateway, proxy):
    answer = chat(gateway.port, MODEL, EASY, headers=("x-thinkgate-mode: maybe",))
    assert answer.status == 400 and b"auto" in answer.body
    assert not proxy.exchanges(CHAT)
