"""Requests of every kind that vLLM handles differently. They are recorded for the Rust tests and sent through thinkgate.

The bodies are exact bytes, as clients write them: some compact, some indented, some with numbers and escapes that a JSON
library would write differently.
"""

import dataclasses
import json

QUESTION = "What is two plus two?"
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Oslo", "Rome"]}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "get_weather", "description": "Weather of a city", "parameters": CITY}}
NO_THINKING = {"chat_template_kwargs": {"enable_thinking": False}}
USAGE = {"stream": True, "stream_options": {"include_usage": True}}


@dataclasses.dataclass(frozen=True)
class RequestKind:
    """A named request."""

    name: str
    path: str
    body: bytes | None = None  # None: a GET
    headers: tuple[str, ...] = ("Content-Type: application/json",)
    method: str = ""
    # The status of thinkgate's own response; None: thinkgate forwards the request.
    refused: int | None = None

    def request(self, host: str, close: bool = True) -> bytes:
        """The bytes of the request. With `close` the server closes the connection after its response."""
        method = self.method or ("GET" if self.body is None else "POST")
        lines = [f"{method} {self.path} HTTP/1.1", f"Host: {host}", "User-Agent: kinds/1", "Accept: */*"]
        lines += ["Connection: close"] if close else []
        if self.body is not None:
            lines += [*self.headers, f"Content-Length: {len(self.body)}"]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + (self.body or b"")


def all_kinds(model: str) -> list[RequestKind]:
    """All kinds for a model that generates text."""
    return [*chat(model), *chat_errors(model), *other_routes(model)]


def chat_body(model: str, text: str = QUESTION, **fields) -> bytes:
    """The body of a chat request with one user message."""
    body = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 1024, "temperature": 0}
    return json.dumps(body | fields).encode()


def chat(model: str) -> list[RequestKind]:
    """Chat requests that vLLM accepts."""

    def kind(name: str, **fields) -> RequestKind:
        return RequestKind(name, "/v1/chat/completions", chat_body(model, **fields))

    def raw(name: str, body: str) -> RequestKind:
        return RequestKind(name, "/v1/chat/completions", body.replace("MODEL", model).encode())

    return [
        kind("chat"),
        kind("chat_no_thinking", **NO_THINKING),
        kind("chat_no_thinking_stream", **NO_THINKING, **USAGE),
        kind("chat_stream", stream=True),
        kind("chat_stream_usage", **USAGE),
        kind("chat_stream_usage_continuous", stream=True, stream_options={"include_usage": True, "continuous_usage_stats": True}, max_tokens=6),
        *(kind(f"chat_effort_{effort}", reasoning_effort=effort) for effort in ("none", "low", "high")),
        kind("chat_include_reasoning_false", include_reasoning=False),
        kind("chat_json_object", response_format={"type": "json_object"}, max_tokens=8),
        kind("chat_json_schema", response_format={"type": "json_schema", "json_schema": {"name": "place", "schema": CITY}}, max_tokens=64, **NO_THINKING),
        kind("chat_length", max_tokens=3),
        kind("chat_length_stream", max_tokens=3, stream=True),
        kind("chat_long_stream", max_tokens=120, ignore_eos=True, stream=True),
        kind("chat_logprobs", max_tokens=3, logprobs=True, top_logprobs=2),
        kind("chat_logprobs_stream", max_tokens=3, logprobs=True, top_logprobs=2, stream=True),
        kind("chat_max_completion_tokens", max_completion_tokens=5),
        kind("chat_n2", n=2, temperature=0.5, seed=7),
        kind("chat_n2_stream", n=2, temperature=0.5, seed=7, stream=True),
        kind("chat_parts", messages=[{"role": "user", "content": [{"type": "text", "text": QUESTION}]}], max_tokens=4),
        kind("chat_return_token_ids", max_tokens=3, return_token_ids=True),
        kind("chat_stop", stop=[" user"]),
        kind("chat_unknown_field", no_such_field={"deep": [1, 2.50, None]}),
        kind("chat_thinking_budget", thinking_token_budget=4),
        RequestKind("chat_request_id", "/v1/chat/completions", chat_body(model), ("Content-Type: application/json", "X-Request-Id: my-req-1")),
        RequestKind("chat_authorization", "/v1/chat/completions", chat_body(model), ("Content-Type: application/json", "Authorization: Bearer sk-any")),
        raw("chat_indented", '{\n  "temperature" : 0.0,\n  "model"\t: "MODEL",\n  "max_tokens": 8,\n  "messages": [\n    {"role": "system", "content": "Be brief."},\n    {"content": "Say \\u00e9\\ud83d\\ude00 \\/ é 😀", "role": "user"}\n  ],\n  "top_p": 1e0, "seed": 7\n}\n'),
        raw("chat_no_model", '{"messages":[{"role":"user","content":"Hello there"}],"max_tokens":4,"temperature":0}'),
        raw("chat_stream_false", '{"model":"MODEL","stream":false,"messages":[{"role":"user","content":"Hello there"}],"max_tokens":4,"temperature":0,"chat_template_kwargs":null}'),
    ]  # fmt: skip


def chat_errors(model: str) -> list[RequestKind]:
    """Chat requests with something wrong."""

    def kind(name: str, **fields) -> RequestKind:
        return RequestKind(name, "/v1/chat/completions", chat_body(model, **fields))

    def refused(name: str, body: bytes, status: int = 400) -> RequestKind:
        return RequestKind(name, "/v1/chat/completions", body, refused=status)

    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    return [
        kind("err_effort_bogus", reasoning_effort="enormous"),
        kind("chat_unknown_role", messages=[{"role": "zzz", "content": "x"}, {"role": "user", "content": QUESTION}], max_tokens=2),
        kind("err_image_on_text_model", messages=[{"role": "user", "content": [image, {"type": "text", "text": QUESTION}]}]),
        kind("err_max_tokens_too_big", max_tokens=100000),
        kind("err_stream_options_nostream", stream_options={"include_usage": True}),
        kind("err_temperature", temperature=-1),
        kind("err_n2_greedy", n=2),
        kind("err_too_long", text="z " * 1200),
        kind("err_too_long_stream", text="z " * 1200, stream=True),
        kind("err_bad_tools", tools=[{"type": "function"}]),
        RequestKind("err_content_type_text", "/v1/chat/completions", chat_body(model), ("Content-Type: text/plain",)),
        refused("err_malformed_json", b'{"model": "' + model.encode() + b'", "messages": [{'),
        refused("err_empty_body", b""),
        refused("err_not_object", b"[1,2]"),
        refused("err_no_messages", json.dumps({"model": model}).encode()),
        refused("err_empty_messages", json.dumps({"model": model, "messages": []}).encode()),
        refused("err_model_404", chat_body("no-such-model"), 404),
        refused("err_model_404_stream", chat_body("no-such-model", stream=True), 404),
    ]  # fmt: skip


def other_routes(model: str) -> list[RequestKind]:
    """Requests to other routes than chat."""

    def post(name: str, path: str, **fields) -> RequestKind:
        return RequestKind(name, path, json.dumps({"model": model} | fields).encode())

    messages = {"messages": [{"role": "user", "content": QUESTION}]}
    return [
        post("completions", "/v1/completions", prompt="Hello", max_tokens=6, temperature=0),
        post("completions_stream", "/v1/completions", prompt="Hello", max_tokens=6, temperature=0, stream=True),
        post("completions_err", "/v1/completions", prompt="Hello", max_tokens=-4),
        post("responses", "/v1/responses", input=QUESTION, max_output_tokens=48, temperature=0),
        post("responses_stream", "/v1/responses", input=QUESTION, max_output_tokens=48, temperature=0, stream=True),
        post("responses_err", "/v1/responses", input=QUESTION, temperature=-1),
        post("messages", "/v1/messages", max_tokens=48, temperature=0, **messages),
        post("messages_stream", "/v1/messages", max_tokens=48, temperature=0, stream=True, **messages),
        post("messages_err", "/v1/messages", max_tokens=0, **messages),
        post("messages_count_tokens", "/v1/messages/count_tokens", **messages),
        post("tokenize", "/tokenize", prompt="Hello! This answer"),
        post("tokenize_chat", "/tokenize", **messages, **NO_THINKING),
        post("detokenize", "/detokenize", tokens=[40, 41, 42]),
        post("embeddings_404", "/v1/embeddings", input="x"),
        RequestKind("models", "/v1/models", refused=200),
        RequestKind("path_404", "/v1/no/such/path"),
        RequestKind("method_405", "/v1/completions", method="GET"),
        RequestKind("responses_get_404", "/v1/responses/resp_unknown"),
    ]


def tool_calls(model: str) -> list[RequestKind]:
    """Kinds for a model that generates a tool call."""
    ask = "What is the weather?"
    tools = {"tools": [TOOL], "max_tokens": 64}

    def kind(name: str, **fields) -> RequestKind:
        return RequestKind(name, "/v1/chat/completions", chat_body(model, ask, **tools, **fields))

    anthropic = {"messages": [{"role": "user", "content": ask}], "tools": [{"name": "get_weather", "input_schema": CITY}]}
    responses = {"input": ask, "tools": [{"type": "function", "name": "get_weather", "parameters": CITY}]}
    return [
        kind("tool_auto"),
        kind("tool_auto_stream", **USAGE),
        kind("tool_auto_no_thinking", **NO_THINKING),
        kind("tool_required", tool_choice="required"),
        kind("tool_required_stream", tool_choice="required", stream=True),
        kind("tool_named", tool_choice={"type": "function", "function": {"name": "get_weather"}}),
        RequestKind("tool_messages", "/v1/messages", json.dumps({"model": model, "max_tokens": 64, "temperature": 0} | anthropic).encode()),
        RequestKind("tool_responses", "/v1/responses", json.dumps({"model": model, "max_output_tokens": 64, "temperature": 0} | responses).encode()),
    ]  # fmt: skip


# Valid JSON that a JSON library would write differently; `%s` is the model.
UNUSUAL = {
    "numbers": '{"model":"%s","messages":[{"role":"user","content":"Hi"}],"max_tokens":4,"temperature":1.0,"top_p":1e0,"seed":12345678901234567,"top_k":-0,"presence_penalty":0.10}',
    "order": '{"max_tokens":4,"messages":[{"content":"Hi","role":"user"}],"zeta":1,"alpha":{"b":1,"a":2},"model":"%s"}',
    "whitespace": '\n\t {\r\n"model" :\t"%s" , "messages":[ {"role": "user" ,"content":"Hi"}] ,"max_tokens"  :4}\n\n',
    "escapes": '{"m\\u006fdel":"%s","messages":[{"role":"user","content":"\\u0048i \\/ \\ud83d\\ude00 \\"}]}"}],"max_tokens":4}',
    "kwargs": '{"model":"%s","messages":[{"role":"user","content":"Hi"}],"chat_template_kwargs":{"custom": [1.0, {}]},"max_tokens":4}',
    "empty kwargs": '{"model":"%s","messages":[{"role":"user","content":"Hi"}],"chat_template_kwargs": { },"max_tokens":4}',
    "null kwargs": '{"model":"%s","messages":[{"role":"user","content":"Hi"}],"chat_template_kwargs": null,"max_tokens":4}',
    "unicode": '{"model":"%s","messages":[{"role":"user","content":"Grüße, 你好, שלום 🦀"}],"max_tokens":4,"metadata":{"ключ":"é"}}',
    "deep": '{"model":"%s","messages":[{"role":"user","content":"Hi"}],"max_tokens":4,"x":' + "[" * 60 + "]" * 60 + "}",
}
