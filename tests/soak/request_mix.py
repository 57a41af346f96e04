"""A random mix of requests as clients of a model server send them, some of them wrong, with the expected response of each."""

import dataclasses
import json
import random

from tests.harness.prompts import DIRECT, THINK

from .client import ClientBehaviour

KEY = "sk-soak"
ALIAS = "assistant"
MAX_BODY = 1 << 20
CHAT = "/v1/chat/completions"
LONG = 400  # tokens of an answer from which on it counts as long
TOOL = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


@dataclasses.dataclass
class Request:
    """A request and what is known about its response."""

    kind: str
    id: str
    method: str = "POST"
    path: str = CHAT
    body: bytes = b""
    headers: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    # The status of the response when nothing fails.
    status: int = 200
    behaviour: ClientBehaviour = dataclasses.field(default_factory=ClientBehaviour)
    # How the response is checked: as chat, completion or tokens, or else by a text that it must contain.
    check: str = ""
    stream: bool = False
    # The user's text.
    text: str = ""
    # The answer ends after this many tokens, or with the stop token where there is one.
    tokens: int = 0
    stop_token: int | None = None
    # The client's own switch in the body; None where it has none.
    switch: bool | None = None
    # Whether thinkgate decides about it.
    decided: bool = False


class RequestMix:
    """Makes requests at random, each a different one."""

    def __init__(self, model: str, seed: int, stop_tokens: list[int]):
        """`stop_tokens` are tokens that occur in every answer, so that a request can use one of them to end it."""
        self.model, self.random, self.made, self.seed, self.stop_tokens = model, random.Random(seed), 0, seed, stop_tokens
        self.weights = {
            self.stream: 30,
            self.long_stream: 2,
            self.plain: 18,
            self.header: 5,
            self.own_switch: 5,
            self.tools: 5,
            self.alias: 5,
            self.long: 4,
            self.completion: 6,
            self.tokenize: 6,
            self.responses: 3,
            self.messages: 3,
            self.models: 3,
            self.explain: 1,
            self.unknown_route: 2,
            self.unknown_model: 1,
            self.wrong_key: 2,
            self.bad_json: 2,
            self.too_long: 1,
            self.too_big: 1,
            self.disconnects: 6,
            self.disconnects_early: 2,
            self.disconnects_while_sending: 1,
            self.reads_slowly: 1,
        }

    def next(self) -> Request:
        """A request of a random kind."""
        [make] = self.random.choices(list(self.weights), weights=self.weights.values())
        return make()

    def make(self, kind: str, **fields) -> Request:
        """A request with an id of its own and the headers that every request has."""
        self.made += 1
        request = Request(kind, f"soak-{self.seed}-{self.made}", **fields)
        request.headers = [
            ("x-request-id", request.id),
            ("authorization", f"Bearer {KEY}"),
            ("content-type", "application/json"),
            *request.headers,
        ]
        return request

    def chat(
        self, kind: str, low: int, high: int, stream: bool, more: str = "", model: str = "", switch: bool | None = None, **fields
    ) -> Request:
        """A chat request whose text contains its own id, and after it a prompt and `more`. The answer has `low` to `high` tokens.

        Half of the short ones end with a stop token; the others set `max_tokens`, which leaves no room for reasoning.
        """
        request = self.make(kind, check="chat", stream=stream, tokens=self.random.randint(low, high), switch=switch, decided=True)
        before, after = self.random.choice(["", "Please: ", "Ein Wort vorab, für später. "]), self.random.choice(THINK + DIRECT)
        request.text = f"{before}[{request.id} {self.random.getrandbits(64):016x}] {after}{more}"
        body = {
            "model": model or self.model, "messages": [{"role": "user", "content": request.text}],
            "temperature": 0, "return_token_ids": True,
        }  # fmt: skip
        if high < LONG and self.random.random() < 0.5:
            request.stop_token = self.random.choice(self.stop_tokens)
            body |= {"stop_token_ids": [request.stop_token]}
        else:
            body |= {"max_tokens": request.tokens, "ignore_eos": True}
        if stream:
            body |= {"stream": True} | self.random.choice([{}, {"stream_options": {"include_usage": True}}])
        if switch is not None:
            body["chat_template_kwargs"] = {"enable_thinking": switch}
        request.body = json.dumps(body | fields, ensure_ascii=self.random.random() < 0.5).encode()
        return request

    # Ordinary requests.

    def stream(self) -> Request:
        return self.chat("stream", 5, 300, True)

    def long_stream(self) -> Request:
        return self.chat("long stream", 1024, 1100, True)

    def plain(self) -> Request:
        return self.chat("plain", 5, 120, False)

    def header(self) -> Request:
        request = self.chat("mode header", 5, 60, self.random.random() < 0.5)
        request.headers.append(("x-thinkgate-mode", self.random.choice(["reasoning", "direct", "unchanged"])))
        return request

    def own_switch(self) -> Request:
        return self.chat("own switch", 5, 60, self.random.random() < 0.5, switch=self.random.random() < 0.5)

    def tools(self) -> Request:
        return self.chat("tools", 5, 60, self.random.random() < 0.5, tools=[TOOL])

    def alias(self) -> Request:
        return self.chat("alias", 5, 60, self.random.random() < 0.5, model=ALIAS)

    def long(self) -> Request:
        return self.chat("long prompt", 5, 40, True, more=" Once more." * self.random.randint(20, 60))

    def completion(self) -> Request:
        stream = self.random.random() < 0.5
        request = self.make(
            "completion", path="/v1/completions", check="completion", stream=stream, tokens=self.random.randint(3, 60)
        )
        request.text = f"[{request.id}] Once upon a time"
        body = {
            "model": self.model,
            "prompt": request.text,
            "max_tokens": request.tokens,
            "temperature": 0,
            "ignore_eos": True,
            "return_token_ids": True,
        }
        request.body = json.dumps(body | ({"stream": True} if stream else {})).encode()
        return request

    def tokenize(self) -> Request:
        request = self.make("tokenize", path="/tokenize", check="tokens")
        request.text = f"[{request.id}] " + self.random.choice(THINK)
        request.body = json.dumps({"model": self.model, "prompt": request.text}).encode()
        return request

    def responses(self) -> Request:
        request = self.make("responses", path="/v1/responses", check='"object":"response"')
        request.body = json.dumps(
            {"model": self.model, "input": f"[{request.id}] Hello", "max_output_tokens": 32, "temperature": 0}
        ).encode()
        return request

    def messages(self) -> Request:
        request = self.make("messages", path="/v1/messages")
        request.check = f'"id":"chatcmpl-{request.id}"'
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": f"[{request.id}] Hello"}],
            "max_tokens": 32,
            "temperature": 0,
        }
        request.body = json.dumps(body).encode()
        return request

    def models(self) -> Request:
        return self.make("models", method="GET", path="/v1/models", check=f'"{ALIAS}"')

    def explain(self) -> Request:
        body = {"model": self.model, "messages": [{"role": "user", "content": self.random.choice(THINK)}]}
        return self.make("explain", path="/explain", check='"score"', body=json.dumps(body).encode())

    # Requests that are refused.

    def unknown_route(self) -> Request:
        request = self.make("unknown route", path="/v1/embeddings", status=404, check="Not Found")
        request.body = json.dumps({"model": self.model, "input": request.id}).encode()
        return request

    def unknown_model(self) -> Request:
        request = self.chat("unknown model", 5, 10, False, model="no-such-model")
        request.status, request.check = 404, "model_not_found"
        return request

    def wrong_key(self) -> Request:
        request = self.chat("wrong key", 5, 10, self.random.random() < 0.5)
        request.headers[1] = ("authorization", "Bearer sk-of-somebody-else")
        request.status, request.check = 401, "invalid_api_key"
        return request

    def bad_json(self) -> Request:
        request = self.chat("bad JSON", 5, 10, False)
        request.body = request.body[: self.random.randint(1, len(request.body) - 1)]
        request.status, request.check = 400, "invalid_request_error"
        return request

    def too_long(self) -> Request:
        """vLLM itself answers 400."""
        request = self.chat("too long a prompt", 5, 10, self.random.random() < 0.5, more=" z" * 2000)
        request.status, request.check = 400, "maximum context length"
        return request

    def too_big(self) -> Request:
        request = self.make("too big a body", status=413, check="server.max_body_bytes")
        request.body = json.dumps({"model": self.model, "messages": [{"role": "user", "content": "z" * (MAX_BODY * 2)}]}).encode()
        return request

    # Clients that disconnect or read slowly.

    def disconnects(self) -> Request:
        request = self.chat("disconnects in the stream", LONG, 600, True)
        request.behaviour = ClientBehaviour(
            disconnect_after=self.random.randint(1, 20000), disconnect_by_reset=self.random.random() < 0.5
        )
        return request

    def disconnects_early(self) -> Request:
        request = self.chat("disconnects before the answer", LONG, 600, self.random.random() < 0.5)
        request.behaviour = ClientBehaviour(disconnect_after=0, disconnect_by_reset=self.random.random() < 0.5)
        return request

    def disconnects_while_sending(self) -> Request:
        request = self.chat("disconnects while sending", 5, 10, False)
        request.behaviour = ClientBehaviour(
            send_only=self.random.randint(0, len(request.body) - 1), disconnect_by_reset=self.random.random() < 0.5
        )
        return request

    def reads_slowly(self) -> Request:
        """A response of some megabytes for a client that pauses longer than `idle_ms`. The pause is no failure of vLLM."""
        request = self.chat("reads slowly", 600, 900, True, logprobs=True, top_logprobs=20)
        request.behaviour = ClientBehaviour(read_pauses=(9.0, *(0.02 for _ in range(200))))
        return request
