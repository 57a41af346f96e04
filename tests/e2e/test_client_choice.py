"""What the client chose wins, in the forms that vLLM knows; the header of a request wins over its body."""

import pytest

from conftest import MODEL
from kinds import chat_body
from wire import CHAT, chat, exchange, request_bytes, switch_in, thought

HARD = "Prove that there are infinitely many primes, and then that there are infinitely many of the form 4k + 3."
EASY = "Hi there, how are you?"


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
def test_a_choice_in_the_body_is_left_alone(gateway, hop, text, fields, thinks):
    body = chat_body(MODEL, text, **fields)
    answer = exchange(gateway.port, request_bytes(body, headers=("Connection: close",)))
    assert thought(answer) is thinks
    assert answer.header("x-thinkgate-why") == "client"
    assert answer.header("x-thinkgate-mode") == "unchanged"
    assert hop.exchange(CHAT).request.body == body


@pytest.mark.parametrize("text", [HARD + " /no_think", EASY + " /think"])
def test_a_soft_switch_in_the_last_turn_is_a_choice(gateway, hop, text):
    body = chat_body(MODEL, text)
    answer = exchange(gateway.port, request_bytes(body, headers=("Connection: close",)))
    assert answer.header("x-thinkgate-why") == "client"
    assert hop.exchange(CHAT).request.body == body


@pytest.mark.parametrize(("mode", "thinks"), [("reasoning", True), ("direct", False)])
@pytest.mark.parametrize("text", [HARD, EASY], ids=["hard", "easy"])
def test_the_header_decides(gateway, hop, text, mode, thinks):
    body = chat_body(MODEL, text)
    answer = exchange(gateway.port, request_bytes(body, headers=("Connection: close", f"x-thinkgate-mode: {mode}")))
    assert thought(answer) is thinks
    assert (answer.header("x-thinkgate-mode"), answer.header("x-thinkgate-why")) == (mode, "header")
    assert switch_in(body, hop.exchange(CHAT).request.body) is thinks


def test_the_header_wins_over_the_body(gateway, hop):
    body = chat_body(MODEL, HARD, chat_template_kwargs={"enable_thinking": True, "other": 1.0})
    answer = exchange(gateway.port, request_bytes(body, headers=("Connection: close", "x-thinkgate-mode: direct")))
    assert not thought(answer)
    assert hop.exchange(CHAT).request.body == body.replace(b'"enable_thinking": true', b'"enable_thinking": false')


def test_unchanged_means_the_bytes_are(gateway, hop):
    body = chat_body(MODEL, EASY)
    answer = exchange(gateway.port, request_bytes(body, headers=("Connection: close", "x-thinkgate-mode: unchanged")))
    assert thought(answer), "a Qwen3 that is told nothing thinks"
    assert answer.header("x-thinkgate-mode") == "unchanged"
    assert hop.exchange(CHAT).request.body == body


def test_another_word_in_the_header_is_refused(gateway, hop):
    answer = chat(gateway.port, MODEL, EASY, headers=("x-thinkgate-mode: maybe",))
    assert answer.status == 400 and b"auto" in answer.body
    assert not hop.exchanges(CHAT)
