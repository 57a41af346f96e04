"""Forty real prompts through the OpenAI SDK for Python, streamed and not: the mode that is reported is what happens."""

import dataclasses
import json

import openai
import pytest

import prompts
from conftest import MODEL
from wire import CHAT, switch_in

AGREEMENT = 32  # of 40: what the shipped router has to reach


@dataclasses.dataclass
class Asked:
    prompt: str
    label: str
    streamed: bool
    mode: str
    why: str
    score: str
    reasoning: str
    content: str
    switch: bool | None  # what vLLM got

    def __str__(self) -> str:
        kind = "streamed" if self.streamed else "plain"
        return f"[{kind}, {self.label}] {self.mode} ({self.why}, {self.score}): {self.prompt[:60]}"


def ask(client: openai.OpenAI, prompt: str, streamed: bool):
    """The answer's headers, and the reasoning and content that the SDK gives."""
    request = {"model": MODEL, "messages": [{"role": "user", "content": prompt}], "max_tokens": 1024, "temperature": 0}
    raw = client.chat.completions.with_raw_response.create(**request, stream=streamed)
    if streamed:
        deltas = [chunk.choices[0].delta for chunk in raw.parse() if chunk.choices]
    else:
        deltas = [raw.parse().choices[0].message]
    reasoning = "".join(getattr(delta, "reasoning", None) or "" for delta in deltas)
    return raw.headers, reasoning, "".join(delta.content or "" for delta in deltas)


@pytest.fixture(scope="module")
def asked(gateway, session_hop) -> list[Asked]:
    client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0)
    answers = []
    for label, texts in (("reasoning", prompts.THINK), ("direct", prompts.DIRECT)):
        for prompt in texts:
            for streamed in (False, True):
                session_hop.clear()
                headers, reasoning, content = ask(client, prompt, streamed)
                # The SDK writes the body, so what it sent is known from what is left without the switch.
                body = json.loads(session_hop.exchange(CHAT).request.body)
                switch = body.get("chat_template_kwargs", {}).get("enable_thinking")
                mode, why = headers["x-thinkgate-mode"], headers["x-thinkgate-why"]
                score = headers.get("x-thinkgate-score", "")
                answers.append(Asked(prompt, label, streamed, mode, why, score, reasoning, content, switch))
    return answers


def failing(asked: list[Asked], holds) -> list[str]:
    return [str(one) for one in asked if not holds(one)]


def test_the_classifier_decided_every_one(asked):
    assert len(asked) == 80
    assert not failing(asked, lambda one: one.why == "classifier" and one.mode in ("reasoning", "direct"))


def test_reasoning_is_there_exactly_when_the_mode_says_so(asked):
    assert not failing(asked, lambda one: bool(one.reasoning) == (one.mode == "reasoning"))


def test_there_is_always_an_answer(asked):
    assert not failing(asked, lambda one: "made locally today, in our café ✓." in one.content)


def test_the_switch_is_sent_explicitly_on_and_off(asked):
    assert not failing(asked, lambda one: one.switch is (one.mode == "reasoning"))
    assert {one.switch for one in asked} == {True, False}


def test_streaming_does_not_change_a_decision(asked):
    modes = {}
    for one in asked:
        modes.setdefault(one.prompt, set()).add((one.mode, one.score))
    assert {prompt for prompt, seen in modes.items() if len(seen) > 1} == set()


def test_the_shipped_router_agrees_with_people(asked, measured):
    plain = [one for one in asked if not one.streamed]
    wrong = failing(plain, lambda one: one.mode == one.label)
    measured(f"{len(plain) - len(wrong)} of {len(plain)} decisions agree with the label")
    for one in wrong:
        measured(f"  not: {one}")
    assert len(plain) - len(wrong) >= AGREEMENT


def test_only_the_switch_is_added_to_what_the_sdk_wrote(gateway, hop):
    sent = []
    client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0)
    # The SDK's transport is asked for the bytes, because nothing else knows them.
    inner = client._client._transport
    handle = inner.handle_request

    def handle_request(request):
        sent.append(request.read())
        return handle(request)

    inner.handle_request = handle_request
    ask(client, prompts.THINK[0], streamed=True)
    assert switch_in(sent[0], hop.exchange(CHAT).request.body) is not None
