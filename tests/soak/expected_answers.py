"""What each answer has to be, known beforehand: the model is a fixed chain of tokens, and every prompt names its request.

Four things come back through vLLM, and none of them can be right by chance in the answer of another request:

* `id`, in every chunk: vLLM makes it of `x-request-id`, which is a different one for each request;
* `prompt_token_ids`: the prompt as vLLM's own tokenizer read it. It spells the request's own text, a marker among it, and
  ends as the switch says that thinkgate claims to have sent;
* `token_ids`, joined over all chunks: a beginning of the chain, so that not one piece is missing, doubled or out of order;
* the text, joined: the same of the text that vLLM gave when it was asked directly.
"""

import dataclasses
import http.client
import json
import pathlib

from processes import LOOPBACK

START = "<|im_start|>"
END = "<|im_end|>\n"
ASSISTANT = f"{START}assistant\n"
NOT_THINKING = "<think>\n\n</think>\n\n"
LONGEST = 1500


@dataclasses.dataclass(frozen=True)
class Chain:
    """The model's answer of any length, up to LONGEST tokens."""

    ids: list[int]
    reasoning: str
    content: str


class Truth:
    """What vLLM says when it is asked directly, and how its tokens are spelled."""

    def __init__(self, model: pathlib.Path, port: int, name: str):
        tokenizer = json.loads((model / "tokenizer.json").read_text())
        self.spelled = {number: piece for piece, number in tokenizer["model"]["vocab"].items()}
        self.added = {token["id"]: token["content"] for token in tokenizer["added_tokens"]}
        self.bytes = byte_of_each_letter()
        [self.end] = [number for number, piece in self.added.items() if piece == END.strip()]
        self.thinking = ask_for_chain(port, name, enable_thinking=True)
        self.direct = ask_for_chain(port, name, enable_thinking=False)

    def spell(self, ids: list[int]) -> str:
        """The text of these tokens."""
        data = bytearray()
        for number in ids:
            if number in self.added:
                data += self.added[number].encode()
            else:
                data += bytes(self.bytes[letter] for letter in self.spelled[number])
        return data.decode("utf-8", "replace")

    def chain(self, thinks: bool) -> Chain:
        return self.thinking if thinks else self.direct

    def lasts(self) -> list[int]:
        """Tokens that every answer comes to, the natural end among them."""
        return self.direct.ids[: self.direct.ids.index(self.end) + 1]

    def problem_with_chain(self, ids: list[int], reasoning: str, content: str, thinks: bool) -> str | None:
        chain = self.chain(thinks)
        if ids != chain.ids[: len(ids)]:
            return f"the tokens are not the model's: {ids[:40]}"
        # An answer may end within a letter.
        content = unmarked(content).rstrip("\ufffd")
        if not chain.reasoning.startswith(reasoning) or not chain.content.startswith(content):
            return f"the text is not the model's: {reasoning[:80]!r} {content[:80]!r}"
        return None


def ask_for_chain(port: int, name: str, **switch: bool) -> Chain:
    body = {
        "model": name, "messages": [{"role": "user", "content": "Go on."}], "max_tokens": LONGEST, "temperature": 0,
        "ignore_eos": True, "return_token_ids": True, "chat_template_kwargs": switch,
    }  # fmt: skip
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=120)
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
    [choice] = json.loads(connection.getresponse().read())["choices"]
    connection.close()
    assert len(choice["token_ids"]) == LONGEST
    return Chain(choice["token_ids"], choice["message"]["reasoning"] or "", unmarked(choice["message"]["content"]))


def unmarked(content: str) -> str:
    """Without the ends of turns: vLLM spells them in streams, and in the plain answers of some modes."""
    return content.replace(END.strip(), "")


def byte_of_each_letter() -> dict[str, int]:
    """Byte-level tokenizers write every byte as one letter: itself where it can be seen, one above 255 where not."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in seen]
    return {chr(byte): byte for byte in seen} | {chr(256 + n): byte for n, byte in enumerate(hidden)}
