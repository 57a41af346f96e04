"""What an answer proves: whole and its own, a failure with a name, or a defect."""

import dataclasses
import json

from asks import Ask
from client import Heard
from truth import ASSISTANT, END, NOT_THINKING, START, Chain, Truth

# How vLLM says that it ended an answer early because it was told to stop: the answer's own words, which pass as they are.
ABORTED = "abort"


@dataclasses.dataclass
class Outcome:
    """How one request ended for its client.

    what is `whole` (complete, its own, as expected), `left` (the client did), `named` (an error in OpenAI's shape instead of an
    answer), `cut` (an answer that ended early and said so), or one of the defects LOST, MIXED and WRONG."""

    what: str
    # For `named` and `cut`: the error's code, or `vllm` for one of vLLM's own, `aborted` for a body that is no stream.
    code: str = ""
    problem: str = ""


class Defect(Exception):
    """What no fault explains."""

    def __init__(self, what: str, problem: str):
        super().__init__(f"{what}: {problem}")
        self.outcome = Outcome(what, problem=problem)


def judge(ask: Ask, heard: Heard, truth: Truth) -> Outcome:
    try:
        return _judge(ask, heard, truth)
    except Defect as defect:
        return defect.outcome
    except (ValueError, KeyError, IndexError, TypeError) as error:
        return Outcome("WRONG", problem=f"not what an answer looks like: {error!r}")


def _judge(ask: Ask, heard: Heard, truth: Truth) -> Outcome:
    if heard.status == 0:
        if heard.end == "left":
            return Outcome("left")
        raise Defect("LOST", f"no answer: {heard.end} {heard.why}")
    if heard.headers.get("x-request-id") != ask.id:
        raise Defect("MIXED", f"x-request-id is {heard.headers.get('x-request-id')}")
    if heard.status != ask.status:
        if heard.end == "left":
            return Outcome("left")
        return Outcome("named", error_code(json.loads(heard.body)["error"])) if heard.end == "whole" else aborted(heard)
    if heard.end == "silent":
        raise Defect("LOST", f"the answer stopped after {len(heard.body)} bytes and nobody said why")
    if ask.check not in ("chat", "completion", "tokens"):
        if heard.end == "cut":
            return aborted(heard)
        if ask.check.replace(" ", "") not in heard.body.decode().replace(" ", ""):
            raise Defect("MIXED", f"{ask.check!r} is not in the answer")
        return Outcome("whole")
    if ask.check == "tokens":
        if heard.end == "cut":
            return aborted(heard)
        own(truth.spell(json.loads(heard.body)["tokens"]), ask.text)
        return Outcome("whole")
    return stream(ask, heard, truth) if ask.stream else plain(ask, heard, truth)


def aborted(heard: Heard) -> Outcome:
    """Only a connection that breaks says that a body without events is not complete."""
    return Outcome("cut", "aborted", heard.why)


def error_code(error: dict) -> str:
    """By whom the error is: ours have names; vLLM's have numbers, or no code in Anthropic's shape, its answer to /v1/messages."""
    if not error["message"] or not error["type"]:
        raise Defect("WRONG", f"an error without a message: {error}")
    code = error.get("code", 500)
    return "vllm" if isinstance(code, int) else code


def own(got: str, wanted: str) -> None:
    if got != wanted:
        raise Defect("MIXED", f"vLLM read {got[-300:]!r} instead of {wanted[-300:]!r}")


def thinks(ask: Ask, heard: Heard, prompt: str) -> bool:
    """Whether the prompt lets the model think; it has to be this request's prompt, and what thinkgate says it is."""
    prompt_of_ask = f"{START}user\n{ask.text}{END}{ASSISTANT}"
    own(prompt.removesuffix(NOT_THINKING), prompt_of_ask)
    thinks = not prompt.endswith(NOT_THINKING)
    mode = heard.headers.get("x-thinkgate-mode")
    wanted = {"reasoning": True, "direct": False, "unchanged": ask.switch is not False}.get(mode)
    if thinks is not wanted:
        raise Defect("MIXED", f"x-thinkgate-mode is {mode}, and the model thinks: {thinks}")
    return thinks


def texts(part: dict) -> tuple[str, str]:
    return part.get("reasoning") or "", part.get("content") or ""


def plain(ask: Ask, heard: Heard, truth: Truth) -> Outcome:
    if heard.end == "cut":
        return aborted(heard)
    body = json.loads(heard.body)
    [choice] = body["choices"]
    check_id(ask, body)
    if ask.check == "completion":
        own(truth.spell(choice["prompt_token_ids"]), ask.text)
        may_think, parts = False, ("", choice["text"])
    else:
        may_think, parts = thinks(ask, heard, truth.spell(body["prompt_token_ids"])), texts(choice["message"])
    if problem := truth.problem_with_chain(choice["token_ids"], *parts, may_think):
        raise Defect("MIXED", problem)
    if choice["finish_reason"] == ABORTED:
        return Outcome("cut", "vllm")
    check_end(ask, truth.chain(may_think), len(choice["token_ids"]), choice["finish_reason"])
    return Outcome("whole")


@dataclasses.dataclass
class Told:
    """What the events of a stream add up to."""

    done: bool = False
    error: dict | None = None
    broken: int = 0
    prompt: list[int] | None = None
    ids: list[int] = dataclasses.field(default_factory=list)
    reasoning: str = ""
    content: str = ""
    finish: str | None = None

    def add(self, chunk: dict) -> None:
        for choice in chunk["choices"]:
            self.prompt = self.prompt or choice.get("prompt_token_ids") or chunk.get("prompt_token_ids")
            self.ids += choice.get("token_ids") or []
            reasoning, content = texts(choice["delta"]) if "delta" in choice else ("", choice["text"])
            self.reasoning, self.content = self.reasoning + reasoning, self.content + content
            self.finish = choice.get("finish_reason") or self.finish


def stream(ask: Ask, heard: Heard, truth: Truth) -> Outcome:
    """All events that came, which are a beginning of the answer at least; and how it ended."""
    *events, rest = heard.body.replace(b"\r\n", b"\n").split(b"\n\n")
    told = read([event.strip().removeprefix(b"data: ") for event in events if event.strip()], ask)
    may_think = False
    if told.prompt:
        spelled = truth.spell(told.prompt)
        if ask.check == "completion":
            own(spelled, ask.text)
        else:
            may_think = thinks(ask, heard, spelled)
        if problem := truth.problem_with_chain(told.ids, told.reasoning, told.content, may_think):
            raise Defect("MIXED", problem)
    if outcome := ended_early(heard, rest, told):
        return outcome
    if told.broken or not told.done or not told.prompt:
        raise Defect("WRONG", f"a stream that ended as if it were complete: {told}")
    if told.finish == ABORTED:
        return Outcome("cut", "vllm")
    check_end(ask, truth.chain(may_think), len(told.ids), told.finish)
    return Outcome("whole")


def read(events: list[bytes], ask: Ask) -> Told:
    told = Told()
    for at, event in enumerate(events):
        if event == b"[DONE]":
            told.done = at == len(events) - 1
            continue
        try:
            chunk = json.loads(event)
        except ValueError:
            # Half an event, and a blank line after it, is what precedes our error when vLLM was cut in the middle of one.
            told.broken += 1
            if at != len(events) - 2:
                raise Defect("WRONG", f"a broken event in the middle of a stream: {event[:200]!r}") from None
            continue
        if "error" in chunk:
            told.error = chunk["error"]
        else:
            check_id(ask, chunk)
            told.add(chunk)
    return told


def ended_early(heard: Heard, rest: bytes, told: Told) -> Outcome | None:
    if heard.end == "left":
        return Outcome("left")
    if heard.end == "cut":
        raise Defect("WRONG", f"a stream that broke off without a word after {len(heard.body)} bytes: {heard.why}")
    if rest.strip():
        raise Defect("WRONG", f"half an event at the end of a stream: {rest[-200:]!r}")
    if told.error:
        code = error_code(told.error)
        if told.done and code != "vllm":
            raise Defect("WRONG", f"[DONE] after our own error {code}")
        return Outcome("cut", code)
    return None


def check_id(ask: Ask, body: dict) -> None:
    if body["id"].partition("-")[2] != ask.id:
        raise Defect("MIXED", f"id is {body['id']}")


def check_end(ask: Ask, chain: Chain, tokens: int, finish: str | None) -> None:
    """Whether the answer ends where it was told to."""
    wanted = (ask.tokens, "length") if ask.last is None else (chain.ids.index(ask.last) + 1, "stop")
    if (tokens, finish) != wanted:
        raise Defect("WRONG", f"an answer that ended as if it were complete: {tokens} tokens, {finish}, instead of {wanted}")
