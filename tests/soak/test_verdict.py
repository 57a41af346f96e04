"""The verdicts of the soak test: it detects incomplete, mixed-up and malformed answers, and failures that no fault explains."""

import json

import pytest

from .client import Response
from .expected_answers import ASSISTANT, END, NOT_THINKING, START, ExpectedAnswers, TokenChain, byte_level_alphabet
from .fault_log import FaultLog
from .request_mix import RequestMix
from .verdict import Outcome, error_code, judge

LETTERS = byte_level_alphabet()
STOP = 256  # the only token that is not a byte


@pytest.fixture
def expected() -> ExpectedAnswers:
    """The expected answers of a model whose tokens are bytes and which generates the alphabet."""
    expected = object.__new__(ExpectedAnswers)
    expected.byte_of, expected.pieces = LETTERS, {byte: letter for letter, byte in LETTERS.items()}
    expected.added, expected.end = {STOP: END.strip()}, STOP
    text = "abcdefghijklmnopqrstuvwxyz"
    expected.thinking = TokenChain([*text.upper().encode(), *text.encode(), STOP], text.upper(), text)
    expected.direct = TokenChain([*text.encode(), STOP], "", text)
    return expected


def make_requests(expected: ExpectedAnswers, count: int = 1) -> list:
    """Streamed chat requests without reasoning."""
    mix = RequestMix("m", 1, expected.stop_tokens())
    return [mix.chat("stream", 20, 20, True, switch=False) for _ in range(count)]


def events(request, expected: ExpectedAnswers) -> list[bytes]:
    """The events of the correct response to a request, with one token each."""
    ids = (
        expected.direct.ids[: request.tokens]
        if request.stop_token is None
        else expected.direct.ids[: expected.direct.ids.index(request.stop_token) + 1]
    )
    finish = "length" if request.stop_token is None else "stop"
    prompt = list(f"{START}user\n{request.text}{END}{ASSISTANT}{NOT_THINKING}".replace(END.strip(), "\0").encode())
    prompt = [STOP if byte == 0 else byte for byte in prompt]

    def chunk(text: str, tokens: list[int], finish: str | None, **more) -> bytes:
        choice = {"delta": {"content": text}, "token_ids": tokens, "finish_reason": finish}
        return b"data: " + json.dumps({"id": f"chatcmpl-{request.id}", "choices": [choice]} | more).encode()

    pieces = [chunk("" if token == STOP or (token == request.stop_token) else chr(token), [token], None) for token in ids[:-1]]
    last = chunk("" if request.stop_token is not None else chr(ids[-1]), ids[-1:], finish)
    return [chunk("", [], None, prompt_token_ids=prompt), *pieces, last, b"data: [DONE]"]


def response(request, parts: list[bytes], end: str = "complete") -> Response:
    """A response with these events."""
    headers = {"x-request-id": request.id, "x-thinkgate-mode": "unchanged"}
    return Response(200, headers, bytearray(b"\n\n".join(parts) + b"\n\n"), end)


ERROR = b'data: {"error":{"message":"m","type":"server_error","code":"upstream_reset"}}'


def test_a_complete_answer_is_complete(expected):
    for request in make_requests(expected, 20):
        assert judge(request, response(request, events(request, expected)), expected) == Outcome("complete")


def test_missing_doubled_and_foreign_events_are_detected(expected):
    request, other = (next(a for a in make_requests(expected, 20) if a.stop_token is None), make_requests(expected, 40)[-1])
    own, foreign = events(request, expected), events(other, expected)
    for parts in (
        own[:5] + own[6:],
        own[:5] + own[4:],
        [*own[:3], own[4], own[3], *own[5:]],
        foreign,
        [foreign[0].replace(other.id.encode(), request.id.encode(), 1), *own[1:]],
        [*own[:5], foreign[5], *own[6:]],
    ):
        assert judge(request, response(request, parts), expected).what == "MIXED", parts
    answer = response(request, own)
    answer.headers["x-request-id"] = other.id
    assert judge(request, answer, expected).what == "MIXED"
    answer = response(request, own)
    answer.headers["x-thinkgate-mode"] = "reasoning"
    assert judge(request, answer, expected).what == "MIXED", "the prompt did not let the model reason"


def test_an_answer_that_only_looks_complete_is_detected(expected):
    [request] = make_requests(expected)
    own = events(request, expected)
    for parts in (own[:-1], own[:-2], [*own[:-2], own[-1]], own[:1], [*own[:4], own[4][:20]], [own[0], own[-1]]):
        assert judge(request, response(request, parts), expected).what == "WRONG", parts
    assert judge(request, response(request, own[:3], end="cut"), expected).what == "WRONG", "without an error event"
    assert judge(request, response(request, own[:3], end="silent"), expected).what == "LOST"
    assert judge(request, Response(end="cut"), expected).what == "LOST"


def test_a_reported_cut_is_a_cut(expected):
    [request] = make_requests(expected)
    own = events(request, expected)
    for parts in ([*own[:3], ERROR], [*own[:3], own[3][:20], ERROR], [ERROR]):
        assert judge(request, response(request, parts), expected) == Outcome("cut", "upstream_reset")
    assert judge(request, response(request, [*own[:3], ERROR, b"data: [DONE]"]), expected).what == "WRONG"
    aborted = own[3].replace(b'"finish_reason": null', b'"finish_reason": "abort"')
    assert judge(request, response(request, [*own[:3], aborted, own[-1]]), expected) == Outcome("cut", "vllm")


def test_errors_of_vllm_are_told_from_ours_in_either_format():
    assert error_code({"message": "m", "type": "server_error", "code": "upstream_reset"}) == "upstream_reset"
    assert error_code({"message": "m", "type": "InternalServerError", "param": None, "code": 500}) == "vllm"
    assert error_code({"message": "m", "type": "InternalServerError"}) == "vllm", "the format of /v1/messages"


def test_only_an_active_fault_explains_a_failure():
    fault_log = FaultLog(2)
    cut, reset = Outcome("cut", "upstream_reset"), Outcome("error", "upstream_reset")
    assert not fault_log.explain(cut, 0, 1e9), "there was no fault"
    stopping = Outcome("error", "vllm")
    assert not fault_log.explain(stopping, 0, 1e9)
    for name, server in (("pause", "b"), ("delay", "b"), ("cut", "a")):
        with fault_log.fault(name, server):
            pass
    [*_, fault] = fault_log.faults
    assert fault_log.explain(cut, fault.began, fault.began + 1)
    assert not fault_log.explain(cut, fault.began - 10, fault.began - 5), "the fault came later"
    assert not fault_log.explain(cut, fault.ended + 60, fault.ended + 61), "the fault was over"
    assert not fault_log.explain(Outcome("cut", "upstream_timeout"), fault.began, fault.began + 1), "a cut causes no timeout"
    assert not fault_log.explain(reset, fault.began, fault.began + 1), "the other server was healthy"
    assert fault_log.explain(reset, fault.began, fault.began + 1, is_refused=True), "a refusal that breaks off was an answer"
    with fault_log.fault("refuse", "b"):
        pass
    assert fault_log.explain(reset, fault.began, fault.began + 1), "no server was healthy"
