"""Judges a response: complete and correct, a failure that was reported, or a defect."""

import dataclasses
import json

from .client import Response
from .expected_answers import ASSISTANT, END, NOT_THINKING, START, ExpectedAnswers, TokenChain
from .request_mix import Request

# The finish reason of an answer that vLLM ended early because it was stopped. The gateway forwards it unchanged.
ABORTED = "abort"


@dataclasses.dataclass
class Outcome:
    """How a request ended for its client.

    `what` is `complete` (as expected), `disconnected` (by the client), `error` (an error response in OpenAI's format), `cut` (an
    answer that ended early and reported it), or a defect: LOST (no end), MIXED (of another request) or WRONG (malformed).
    """

    what: str
    # Of `error` and `cut`: the error's code, `vllm` for an error of vLLM itself, `aborted` for a broken body that is no stream.
    code: str = ""
    problem: str = ""


class Defect(Exception):
    """A defect in a response, which no fault can explain."""

    def __init__(self, what: str, problem: str):
        super().__init__(f"{what}: {problem}")
        self.outcome = Outcome(what, problem=problem)


def judge(request: Request, response: Response, expected: ExpectedAnswers) -> Outcome:
    """Compares a response with what is known about its request."""
    try:
        return _judge(request, response, expected)
    except Defect as defect:
        return defect.outcome
    except (ValueError, KeyError, IndexError, TypeError) as error:
        return Outcome("WRONG", problem=f"not what an answer looks like: {error!r}")


def _judge(request: Request, response: Response, expected: ExpectedAnswers) -> Outcome:
    if response.status == 0:
        if response.end == "disconnected":
            return Outcome("disconnected")
        raise Defect("LOST", f"no answer: {response.end} {response.why}")
    if response.headers.get("x-request-id") != request.id:
        raise Defect("MIXED", f"x-request-id is {response.headers.get('x-request-id')}")
    if response.status != request.status:
        if response.end == "disconnected":
            return Outcome("disconnected")
        return Outcome("error", error_code(json.loads(response.body)["error"])) if response.end == "complete" else aborted(response)
    if response.end == "silent":
        raise Defect("LOST", f"the answer stopped after {len(response.body)} bytes without an error")
    if request.check not in ("chat", "completion", "tokens"):
        if response.end == "cut":
            return aborted(response)
        if request.check.replace(" ", "") not in response.body.decode().replace(" ", ""):
            raise Defect("MIXED", f"{request.check!r} is not in the answer")
        return Outcome("complete")
    if request.check == "tokens":
        if response.end == "cut":
            return aborted(response)
        check_prompt(expected.decode_tokens(json.loads(response.body)["tokens"]), request.text)
        return Outcome("complete")
    return judge_stream(request, response, expected) if request.stream else judge_plain(request, response, expected)


def aborted(response: Response) -> Outcome:
    """The outcome of a broken connection. It is the only way to report that a body without events is incomplete."""
    return Outcome("cut", "aborted", response.why)


def error_code(error: dict) -> str:
    """The code of an error of thinkgate, or `vllm` for an error of vLLM.

    thinkgate's codes are names. vLLM's are numbers, or missing in Anthropic's format of /v1/messages.
    """
    if not error["message"] or not error["type"]:
        raise Defect("WRONG", f"an error without a message: {error}")
    code = error.get("code", 500)
    return "vllm" if isinstance(code, int) else code


def check_prompt(got: str, wanted: str) -> None:
    """Checks that vLLM read the prompt of this request."""
    if got != wanted:
        raise Defect("MIXED", f"vLLM read {got[-300:]!r} instead of {wanted[-300:]!r}")


def check_mode(request: Request, response: Response, prompt: str) -> bool:
    """Whether the prompt lets the model reason. Checks that it is this request's prompt, and that the reported mode is true."""
    prompt_of_request = f"{START}user\n{request.text}{END}{ASSISTANT}"
    check_prompt(prompt.removesuffix(NOT_THINKING), prompt_of_request)
    thinks = not prompt.endswith(NOT_THINKING)
    mode = response.headers.get("x-thinkgate-mode")
    wanted = {"reasoning": True, "direct": False, "unchanged": request.switch is not False}.get(mode)
    if thinks is not wanted:
        raise Defect("MIXED", f"x-thinkgate-mode is {mode}, and the model thinks: {thinks}")
    return thinks


def texts(part: dict) -> tuple[str, str]:
    return part.get("reasoning") or "", part.get("content") or ""


def judge_plain(request: Request, response: Response, expected: ExpectedAnswers) -> Outcome:
    """Judges a response that is one JSON object."""
    if response.end == "cut":
        return aborted(response)
    body = json.loads(response.body)
    [choice] = body["choices"]
    check_id(request, body)
    if request.check == "completion":
        check_prompt(expected.decode_tokens(choice["prompt_token_ids"]), request.text)
        may_think, parts = False, ("", choice["text"])
    else:
        may_think, parts = check_mode(request, response, expected.decode_tokens(body["prompt_token_ids"])), texts(choice["message"])
    if problem := expected.problem_with(choice["token_ids"], *parts, may_think):
        raise Defect("MIXED", problem)
    if choice["finish_reason"] == ABORTED:
        return Outcome("cut", "vllm")
    check_end(request, expected.chain(may_think), len(choice["token_ids"]), choice["finish_reason"])
    return Outcome("complete")


@dataclasses.dataclass
class StreamContents:
    """The contents of all events of a stream together."""

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


def judge_stream(request: Request, response: Response, expected: ExpectedAnswers) -> Outcome:
    """Judges a stream. Its events must be a beginning of the expected answer, and its end must be complete or reported."""
    *events, rest = response.body.replace(b"\r\n", b"\n").split(b"\n\n")
    contents = read_events([event.strip().removeprefix(b"data: ") for event in events if event.strip()], request)
    may_think = False
    if contents.prompt:
        spelled = expected.decode_tokens(contents.prompt)
        if request.check == "completion":
            check_prompt(spelled, request.text)
        else:
            may_think = check_mode(request, response, spelled)
        if problem := expected.problem_with(contents.ids, contents.reasoning, contents.content, may_think):
            raise Defect("MIXED", problem)
    if outcome := early_end(response, rest, contents):
        return outcome
    if contents.broken or not contents.done or not contents.prompt:
        raise Defect("WRONG", f"a stream that ended as if it were complete: {contents}")
    if contents.finish == ABORTED:
        return Outcome("cut", "vllm")
    check_end(request, expected.chain(may_think), len(contents.ids), contents.finish)
    return Outcome("complete")


def read_events(events: list[bytes], request: Request) -> StreamContents:
    """Reads the data of all events."""
    contents = StreamContents()
    for at, event in enumerate(events):
        if event == b"[DONE]":
            contents.done = at == len(events) - 1
            continue
        try:
            chunk = json.loads(event)
        except ValueError:
            # When vLLM is cut in the middle of an event, thinkgate ends it with a blank line before its own error event.
            contents.broken += 1
            if at != len(events) - 2:
                raise Defect("WRONG", f"a broken event in the middle of a stream: {event[:200]!r}") from None
            continue
        if "error" in chunk:
            contents.error = chunk["error"]
        else:
            check_id(request, chunk)
            contents.add(chunk)
    return contents


def early_end(response: Response, rest: bytes, contents: StreamContents) -> Outcome | None:
    """The outcome of a stream that did not reach its end; None when it did."""
    if response.end == "disconnected":
        return Outcome("disconnected")
    if response.end == "cut":
        raise Defect("WRONG", f"a stream that broke off without an error after {len(response.body)} bytes: {response.why}")
    if rest.strip():
        raise Defect("WRONG", f"half an event at the end of a stream: {rest[-200:]!r}")
    if contents.error:
        code = error_code(contents.error)
        if contents.done and code != "vllm":
            raise Defect("WRONG", f"[DONE] after our own error {code}")
        return Outcome("cut", code)
    return None


def check_id(request: Request, body: dict) -> None:
    """Checks that vLLM made the response of this request's id."""
    if body["id"].partition("-")[2] != request.id:
        raise Defect("MIXED", f"id is {body['id']}")


def check_end(request: Request, chain: TokenChain, tokens: int, finish: str | None) -> None:
    """Checks that the answer ends where the request says."""
    wanted = (request.tokens, "length") if request.stop_token is None else (chain.ids.index(request.stop_token) + 1, "stop")
    if (tokens, finish) != wanted:
        raise Defect("WRONG", f"an answer that ended as if it were complete: {tokens} tokens, {finish}, instead of {wanted}")
