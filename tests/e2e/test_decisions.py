"""Forty prompts through the OpenAI SDK for Python, streamed and not: the model does what the reported mode says."""

import dataclasses
import json

import openai
import pytest

from tests.harness import prompts

from .models import MODEL
from .raw_http import CHAT, added_switch

AGREEMENT = 32  # of 40 decisions of the shipped router that must agree with the label


@dataclasses.dataclass
class Answer:
    """The response to one prompt, and what thinkgate did to its request."""

    prompt: str
    label: str
    streamed: bool
    mode: str
    why: str
    score: str
    reasoning: str
    content: str
    switch: bool | None  # the switch that vLLM received

    def __str__(self) -> str:
        kind = "streamed" if self.streamed else "plain"
        return f"[{kind}, {self.label}] {self.mode} ({self.why}, {self.score}): {self.prompt[:60]}"


def ask(client: openai.OpenAI, prompt: str, streamed: bool):
    """Sends a prompt; returns the response headers, and the reasoning and content as the SDK gives them."""
    request = {"model": MODEL, "messages": [{"role": "user", "content": prompt}], "max_tokens": 1024, "temperature": 0}
    raw = client.chat.completions.with_raw_response.create(**request, stream=streamed)
    parsed = raw.parse()
    deltas = [chunk.choices[0].delta for chunk in parsed if chunk.choices] if streamed else [parsed.choices[0].message]
    reasoning = "".join(getattr(delta, "reasoning", None) or "" for delta in deltas)
    return raw.headers, reasoning, "".join(delta.content or "" for delta in deltas)


@pytest.fixture(scope="module")
def answers(gateway, session_proxy) -> list[Answer]:
    """One for each prompt, plain and streamed."""
    client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0)
    found = []
    for label, texts in (("reasoning", prompts.THINK), ("direct", prompts.DIRECT)):
        for prompt in texts:
            for streamed in (False, True):
                session_proxy.clear()
                headers, reasoning, content = ask(client, prompt, streamed)
                # The SDK writes the body and sends no switch of its own.
                body = json.loads(session_proxy.exchange(CHAT).request.body)
                switch = body.get("chat_template_kwargs", {}).get("enable_thinking")
                mode, why = headers["x-thinkgate-mode"], headers["x-thinkgate-why"]
                score = headers.get("x-thinkgate-score", "")
                found.append(Answer(prompt, label, streamed, mode, why, score, reasoning, content, switch))
    return found


def failing(answers: list[Answer], holds) -> list[str]:
    """The answers for which `holds` is false."""
    return [str(answer) for answer in answers if not holds(answer)]


def test_the_classifier_decided_every_one(answers):
    assert len(answers) == 80
    assert not failing(answers, lambda answer: answer.why == "classifier" and answer.mode in ("reasoning", "direct"))


def test_reasoning_is_there_exactly_when_the_mode_says_so(answers):
    assert not failing(answers, lambda answer: bool(answer.reasoning) == (answer.mode == "reasoning"))


def test_there_is_always_an_answer(answers):
    assert not failing(answers, lambda answer: "made locally today, in our café ✓." in answer.content)


def test_the_switch_is_sent_explicitly_on_and_off(answers):
    assert not failing(answers, lambda answer: answer.switch is (answer.mode == "reasoning"))
    assert {answer.switch for answer in answers} == {True, False}


def test_streaming_does_not_change_a_decision(answers):
    modes = {}
    for answer in answers:
        modes.setdefault(answer.prompt, set()).add((answer.mode, answer.score))
    assert {prompt for prompt, seen in modes.items() if len(seen) > 1} == set()


def test_the_shipped_router_agrees_with_people(answers, measured):
    plain = [answer for answer in answers if not answer.streamed]
    wrong = failing(plain, lambda answer: answer.mode == answer.label)
    measured(f"{len(plain) - len(wrong)} of {len(plain)} decisions agree with the label")
    for answer in wrong:
        measured(f"  not: {answer}")
    assert len(plain) - len(wrong) >= AGREEMENT


def test_only_the_switch_is_added_to_the_sdks_body(gateway, proxy):
    sent = []
    client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0)
    # Records the bytes in the SDK's transport, the only place that has them.
    inner = client._client._transport
    handle = inner.handle_request

    def handle_request(request):
        sent.append(request.read())
        return handle(request)

    inner.handle_request = handle_request
    ask(client, prompts.THINK[0], streamed=True)
    assert added_switch(sent[0], proxy.exchange(CHAT).request.body) is not None
