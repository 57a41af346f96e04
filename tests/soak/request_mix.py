"""The mix of requests: everything that clients of a model server send, some of it wrong, and what each one has to hear."""

import dataclasses
import json
import random

from client import Manners
from prompts import DIRECT, THINK

KEY = "sk-soak"
ALIAS = "assistant"
MAX_BODY = 1 << 20
CHAT = "/v1/chat/completions"
LONG = 400  # tokens: an answer that is meant to last
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}


@dataclasses.dataclass
class Ask:
    """One request and what is known about its answer."""

    kind: str
    id: str
    method: str = "POST"
    path: str = CHAT
    body: bytes = b""
    headers: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    # The status that its answer has when all goes well.
    status: int = 200
    manners: Manners = dataclasses.field(default_factory=Manners)
    # What the answer is checked by: chat, completion, tokens, or a text that it holds.
    check: str = ""
    stream: bool = False
    # The user's text. Where the answer ends: after so many tokens, or with this one.
    text: str = ""
    tokens: int = 0
    last: int | None = None
    # What the client's own body says of thinking; None: nothing.
    switch: bool | None = None
    judged: bool = False


class Mix:
    """Makes requests, one unlike the other."""

    def __init__(self, model: str, seed: int, lasts: list[int]):
        """`lasts`: tokens that every answer comes to, with which one may be told to end."""
        self.model, self.random, self.made, self.seed, self.lasts = model, random.Random(seed), 0, seed, lasts
        self.kinds = {
            self.stream: 30, self.long_stream: 2, self.plain: 18, self.header: 5, self.own_switch: 5, self.tools: 5, self.alias: 5, self.long: 4,
            self.completion: 6, self.tokenize: 6, self.responses: 3, self.messages: 3, self.models: 3, self.explain: 1,
            self.unknown_route: 2, self.unknown_model: 1, self.wrong_key: 2, self.bad_json: 2, self.too_long: 1, self.too_big: 1,
            self.leaves: 6, self.leaves_early: 2, self.leaves_while_sending: 1, self.reads_slowly: 1,
        }  # fmt: skip

    def next(self) -> Ask:
        [make] = self.random.choices(list(self.kinds), weights=self.kinds.values())
        return make()

    def make(self, kind: str, **fields) -> Ask:
        self.made += 1
        ask = Ask(kind, f"soak-{self.seed}-{self.made}", **fields)
        ask.headers = [("x-request-id", ask.id), ("authorization", f"Bearer {KEY}"), ("content-type", "application/json"), *ask.headers]
        return ask

    def chat(self, kind: str, low: int, high: int, stream: bool, more: str = "", model: str = "", switch: bool | None = None, **fields) -> Ask:
        """A judged request whose text holds its own name, at a place that changes.

        Half of them say how long the answer may be, which leaves no room for a thought; the others leave it to the model."""
        ask = self.make(kind, check="chat", stream=stream, tokens=self.random.randint(low, high), switch=switch, judged=True)
        before, after = self.random.choice(["", "Please: ", "Ein Wort vorab, für später. "]), self.random.choice(THINK + DIRECT)
        ask.text = f"{before}[{ask.id} {self.random.getrandbits(64):016x}] {after}{more}"
        body = {
            "model": model or self.model, "messages": [{"role": "user", "content": ask.text}],
            "temperature": 0, "return_token_ids": True,
        }  # fmt: skip
        if high < LONG and self.random.random() < 0.5:
            ask.last = self.random.choice(self.lasts)
            body |= {"stop_token_ids": [ask.last]}
        else:
            body |= {"max_tokens": ask.tokens, "ignore_eos": True}
        if stream:
            body |= {"stream": True} | self.random.choice([{}, {"stream_options": {"include_usage": True}}])
        if switch is not None:
            body["chat_template_kwargs"] = {"enable_thinking": switch}
        ask.body = json.dumps(body | fields, ensure_ascii=self.random.random() < 0.5).encode()
        return ask

    # What a day consists of.

    def stream(self) -> Ask:
        return self.chat("stream", 5, 300, True)

    def long_stream(self) -> Ask:
        return self.chat("long stream", 1024, 1100, True)

    def plain(self) -> Ask:
        return self.chat("plain", 5, 120, False)

    def header(self) -> Ask:
        ask = self.chat("mode header", 5, 60, self.random.random() < 0.5)
        ask.headers.append(("x-thinkgate-mode", self.random.choice(["reasoning", "direct", "unchanged"])))
        return ask

    def own_switch(self) -> Ask:
        return self.chat("own switch", 5, 60, self.random.random() < 0.5, switch=self.random.random() < 0.5)

    def tools(self) -> Ask:
        return self.chat("tools", 5, 60, self.random.random() < 0.5, tools=[TOOL])

    def alias(self) -> Ask:
        return self.chat("alias", 5, 60, self.random.random() < 0.5, model=ALIAS)

    def long(self) -> Ask:
        return self.chat("long prompt", 5, 40, True, more=" Once more." * self.random.randint(20, 60))

    def completion(self) -> Ask:
        stream = self.random.random() < 0.5
        ask = self.make("completion", path="/v1/completions", check="completion", stream=stream, tokens=self.random.randint(3, 60))
        ask.text = f"[{ask.id}] Once upon a time"
        body = {"model": self.model, "prompt": ask.text, "max_tokens": ask.tokens, "temperature": 0, "ignore_eos": True, "return_token_ids": True}
        ask.body = json.dumps(body | ({"stream": True} if stream else {})).encode()
        return ask

    def tokenize(self) -> Ask:
        ask = self.make("tokenize", path="/tokenize", check="tokens")
        ask.text = f"[{ask.id}] " + self.random.choice(THINK)
        ask.body = json.dumps({"model": self.model, "prompt": ask.text}).encode()
        return ask

    def responses(self) -> Ask:
        ask = self.make("responses", path="/v1/responses", check='"object":"response"')
        ask.body = json.dumps({"model": self.model, "input": f"[{ask.id}] Hello", "max_output_tokens": 32, "temperature": 0}).encode()
        return ask

    def messages(self) -> Ask:
        ask = self.make("messages", path="/v1/messages")
        ask.check = f'"id":"chatcmpl-{ask.id}"'
        body = {"model": self.model, "messages": [{"role": "user", "content": f"[{ask.id}] Hello"}], "max_tokens": 32, "temperature": 0}
        ask.body = json.dumps(body).encode()
        return ask

    def models(self) -> Ask:
        return self.make("models", method="GET", path="/v1/models", check=f'"{ALIAS}"')

    def explain(self) -> Ask:
        body = {"model": self.model, "messages": [{"role": "user", "content": self.random.choice(THINK)}]}
        return self.make("explain", path="/explain", check='"score"', body=json.dumps(body).encode())

    # What is wrong, and is told so.

    def unknown_route(self) -> Ask:
        ask = self.make("unknown route", path="/v1/embeddings", status=404, check="Not Found")
        ask.body = json.dumps({"model": self.model, "input": ask.id}).encode()
        return ask

    def unknown_model(self) -> Ask:
        ask = self.chat("unknown model", 5, 10, False, model="no-such-model")
        ask.status, ask.check = 404, "model_not_found"
        return ask

    def wrong_key(self) -> Ask:
        ask = self.chat("wrong key", 5, 10, self.random.random() < 0.5)
        ask.headers[1] = ("authorization", "Bearer sk-of-somebody-else")
        ask.status, ask.check = 401, "invalid_api_key"
        return ask

    def bad_json(self) -> Ask:
        ask = self.chat("bad JSON", 5, 10, False)
        ask.body = ask.body[: self.random.randint(1, len(ask.body) - 1)]
        ask.status, ask.check = 400, "invalid_request_error"
        return ask

    def too_long(self) -> Ask:
        """vLLM's own 400."""
        ask = self.chat("too long a prompt", 5, 10, self.random.random() < 0.5, more=" z" * 2000)
        ask.status, ask.check = 400, "maximum context length"
        return ask

    def too_big(self) -> Ask:
        ask = self.make("too big a body", status=413, check="server.max_body_bytes")
        ask.body = json.dumps({"model": self.model, "messages": [{"role": "user", "content": "z" * (MAX_BODY * 2)}]}).encode()
        return ask

    # Clients that do not behave.

    def leaves(self) -> Ask:
        ask = self.chat("leaves in the stream", LONG, 600, True)
        ask.manners = Manners(leaves_after=self.random.randint(1, 20000), leaves_by_reset=self.random.random() < 0.5)
        return ask

    def leaves_early(self) -> Ask:
        ask = self.chat("leaves before the answer", LONG, 600, self.random.random() < 0.5)
        ask.manners = Manners(leaves_after=0, leaves_by_reset=self.random.random() < 0.5)
        return ask

    def leaves_while_sending(self) -> Ask:
        ask = self.chat("leaves while sending", 5, 10, False)
        ask.manners = Manners(sends_only=self.random.randint(0, len(ask.body) - 1), leaves_by_reset=self.random.random() < 0.5)
        return ask

    def reads_slowly(self) -> Ask:
        """Some megabytes for a client that does nothing for longer than `idle_ms`: its own pause is no failure of vLLM."""
        ask = self.chat("reads slowly", 600, 900, True, logprobs=True, top_logprobs=20)
        ask.manners = Manners(pauses=(9.0, *(0.02 for _ in range(200))))
        return ask
