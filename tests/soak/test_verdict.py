"""The judge of `scripts/soak` sees what it is there for: answers taken from it, swapped, torn, and failures without a cause."""

import json
import pathlib
import sys

import pytest

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "traffic"))

from asks import Mix  # noqa: E402
from client import Heard  # noqa: E402
from incidents import Incidents  # noqa: E402
from truth import ASSISTANT, END, NOT_THINKING, START, Chain, Truth, byte_of_each_letter  # noqa: E402
from verdict import Outcome, error_code, judge  # noqa: E402

LETTERS = byte_of_each_letter()
STOP = 256  # the only token that is no byte


@pytest.fixture
def truth() -> Truth:
    """Of a model whose tokens are bytes, and which says the alphabet."""
    truth = object.__new__(Truth)
    truth.bytes, truth.spelled = LETTERS, {byte: letter for letter, byte in LETTERS.items()}
    truth.added, truth.end = {STOP: END.strip()}, STOP
    said = "abcdefghijklmnopqrstuvwxyz"
    truth.thinking = Chain([*said.upper().encode(), *said.encode(), STOP], said.upper(), said)
    truth.direct = Chain([*said.encode(), STOP], "", said)
    return truth


def asked(truth: Truth, count: int = 1) -> list:
    mix = Mix("m", 1, truth.lasts())
    return [mix.chat("stream", 20, 20, True, switch=False) for _ in range(count)]


def events(ask, truth: Truth) -> list[bytes]:
    """The stream that a model would answer with, a token an event."""
    ids = truth.direct.ids[: ask.tokens] if ask.last is None else truth.direct.ids[: truth.direct.ids.index(ask.last) + 1]
    finish = "length" if ask.last is None else "stop"
    prompt = list(f"{START}user\n{ask.text}{END}{ASSISTANT}{NOT_THINKING}".replace(END.strip(), "\0").encode())
    prompt = [STOP if byte == 0 else byte for byte in prompt]

    def chunk(text: str, tokens: list[int], finish: str | None, **more) -> bytes:
        choice = {"delta": {"content": text}, "token_ids": tokens, "finish_reason": finish}
        return b"data: " + json.dumps({"id": f"chatcmpl-{ask.id}", "choices": [choice]} | more).encode()

    pieces = [chunk("" if token == STOP or (token == ask.last) else chr(token), [token], None) for token in ids[:-1]]
    last = chunk("" if ask.last is not None else chr(ids[-1]), ids[-1:], finish)
    return [chunk("", [], None, prompt_token_ids=prompt), *pieces, last, b"data: [DONE]"]


def heard(ask, parts: list[bytes], end: str = "whole") -> Heard:
    headers = {"x-request-id": ask.id, "x-thinkgate-mode": "unchanged"}
    return Heard(200, headers, bytearray(b"\n\n".join(parts) + b"\n\n"), end)


ERROR = b'data: {"error":{"message":"m","type":"server_error","code":"upstream_reset"}}'


def test_a_whole_answer_is_whole(truth):
    for ask in asked(truth, 20):
        assert judge(ask, heard(ask, events(ask, truth)), truth) == Outcome("whole")


def test_what_is_missing_or_doubled_or_of_another_request_is_seen(truth):
    ask, other = (next(a for a in asked(truth, 20) if a.last is None), asked(truth, 40)[-1])
    own, strange = events(ask, truth), events(other, truth)
    for parts in (
        own[:5] + own[6:],
        own[:5] + own[4:],
        [*own[:3], own[4], own[3], *own[5:]],
        strange,
        [strange[0].replace(other.id.encode(), ask.id.encode(), 1), *own[1:]],
        [*own[:5], strange[5], *own[6:]],
    ):
        assert judge(ask, heard(ask, parts), truth).what == "MIXED", parts
    answer = heard(ask, own)
    answer.headers["x-request-id"] = other.id
    assert judge(ask, answer, truth).what == "MIXED"
    answer = heard(ask, own)
    answer.headers["x-thinkgate-mode"] = "reasoning"
    assert judge(ask, answer, truth).what == "MIXED", "the model was not told to think"


def test_an_answer_that_only_looks_complete_is_seen(truth):
    [ask] = asked(truth)
    own = events(ask, truth)
    for parts in (own[:-1], own[:-2], [*own[:-2], own[-1]], own[:1], [*own[:4], own[4][:20]], [own[0], own[-1]]):
        assert judge(ask, heard(ask, parts), truth).what == "WRONG", parts
    assert judge(ask, heard(ask, own[:3], end="cut"), truth).what == "WRONG", "nobody said why"
    assert judge(ask, heard(ask, own[:3], end="silent"), truth).what == "LOST"
    assert judge(ask, Heard(end="cut"), truth).what == "LOST"


def test_a_cut_that_says_so_is_one(truth):
    [ask] = asked(truth)
    own = events(ask, truth)
    for parts in ([*own[:3], ERROR], [*own[:3], own[3][:20], ERROR], [ERROR]):
        assert judge(ask, heard(ask, parts), truth) == Outcome("cut", "upstream_reset")
    assert judge(ask, heard(ask, [*own[:3], ERROR, b"data: [DONE]"]), truth).what == "WRONG"
    aborted = own[3].replace(b'"finish_reason": null', b'"finish_reason": "abort"')
    assert judge(ask, heard(ask, [*own[:3], aborted, own[-1]]), truth) == Outcome("cut", "vllm")


def test_an_error_of_vllms_own_is_told_from_ours_in_either_shape():
    assert error_code({"message": "m", "type": "server_error", "code": "upstream_reset"}) == "upstream_reset"
    assert error_code({"message": "m", "type": "InternalServerError", "param": None, "code": 500}) == "vllm"
    assert error_code({"message": "m", "type": "InternalServerError"}) == "vllm", "as /v1/messages has it"


def test_a_failure_needs_a_cause_that_was_in_force():
    incidents = Incidents(2)
    cut, reset = Outcome("cut", "upstream_reset"), Outcome("named", "upstream_reset")
    assert not incidents.explain(cut, 0, 1e9), "there was none"
    stopping = Outcome("named", "vllm")
    assert not incidents.explain(stopping, 0, 1e9)
    for name, server in (("pause", "b"), ("delay", "b"), ("cut", "a")):
        with incidents.fault(name, server):
            pass
    [*_, fault] = incidents.faults
    assert incidents.explain(cut, fault.began, fault.began + 1)
    assert not incidents.explain(cut, fault.began - 10, fault.began - 5), "it came later"
    assert not incidents.explain(cut, fault.ended + 60, fault.ended + 61), "it was over"
    assert not incidents.explain(Outcome("cut", "upstream_timeout"), fault.began, fault.began + 1), "a cut makes nobody wait"
    assert not incidents.explain(reset, fault.began, fault.began + 1), "the other server was well"
    assert incidents.explain(reset, fault.began, fault.began + 1, is_refused=True), "a refusal that breaks off was an answer"
    with incidents.fault("refuse", "b"):
        pass
    assert incidents.explain(reset, fault.began, fault.began + 1), "none was"
