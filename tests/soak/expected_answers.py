"""The expected answer to each request. The tiny model always generates the same tokens, and every prompt contains its request's id.

Four parts of a response are checked. None of them can be right by chance in the response to another request:

* `id`, in every chunk: vLLM makes it of `x-request-id`, which differs for each request;
* `prompt_token_ids`: the prompt as vLLM's tokenizer read it. It decodes to the request's own text, and its end shows the
  switch that thinkgate sent;
* `token_ids`, joined over all chunks: a beginning of the model's tokens, so that no piece is missing, doubled or out of order;
* the text, joined over all chunks: the same of the text that vLLM returns without the gateway.
"""

import dataclasses
import http.client
import json
import pathlib

from tests.harness.processes import LOOPBACK

START = "<|im_start|>"
END = "<|im_end|>\n"
ASSISTANT = f"{START}assistant\n"
NOT_THINKING = "<think>\n\n</think>\n\n"
LONGEST = 1500


@dataclasses.dataclass(frozen=True)
class TokenChain:
    """The LONGEST tokens of the model's answer and their text. Every answer is a beginning of it."""

    ids: list[int]
    reasoning: str
    content: str


class ExpectedAnswers:
    """The answers of vLLM without the gateway, and its tokens' texts."""

    def __init__(self, model: pathlib.Path, port: int, name: str):
        tokenizer = json.loads((model / "tokenizer.json").read_text())
        self.pieces = {number: piece for piece, number in tokenizer["model"]["vocab"].items()}
        self.added = {token["id"]: token["content"] for token in tokenizer["added_tokens"]}
        self.byte_of = byte_level_alphabet()
        [self.end] = [number for number, piece in self.added.items() if piece == END.strip()]
        self.thinking = request_chain(port, name, enable_thinking=True)
        self.direct = request_chain(port, name, enable_thinking=False)

    def decode_tokens(self, ids: list[int]) -> str:
        """The text of these tokens."""
        data = bytearray()
        for number in ids:
            if number in self.added:
                data += self.added[number].encode()
            else:
                data += bytes(self.byte_of[letter] for letter in self.pieces[number])
        return data.decode("utf-8", "replace")

    def chain(self, thinks: bool) -> TokenChain:
        """The answer with reasoning or without."""
        return self.thinking if thinks else self.direct

    def stop_tokens(self) -> list[int]:
        """The tokens that occur in every answer, up to and including the natural end."""
        return self.direct.ids[: self.direct.ids.index(self.end) + 1]

    def problem_with(self, ids: list[int], reasoning: str, content: str, thinks: bool) -> str | None:
        """Says why tokens or text are not a beginning of the model's answer; None when they are."""
        chain = self.chain(thinks)
        if ids != chain.ids[: len(ids)]:
            return f"the tokens are not the model's: {ids[:40]}"
        # An answer may end in the middle of a character.
        content = without_end_marks(content).rstrip("\ufffd")
        if not chain.reasoning.startswith(reasoning) or not chain.content.startswith(content):
            return f"the text is not the model's: {reasoning[:80]!r} {content[:80]!r}"
        return None


def request_chain(port: int, name: str, **switch: bool) -> TokenChain:
    """Requests the longest answer from vLLM itself."""
    body = {
        "model": name, "messages": [{"role": "user", "content": "Go on."}], "max_tokens": LONGEST, "temperature": 0,
        "ignore_eos": True, "return_token_ids": True, "chat_template_kwargs": switch,
    }  # fmt: skip
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=120)
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
    [choice] = json.loads(connection.getresponse().read())["choices"]
    connection.close()
    assert len(choice["token_ids"]) == LONGEST
    return TokenChain(choice["token_ids"], choice["message"]["reasoning"] or "", without_end_marks(choice["message"]["content"]))


def without_end_marks(content: str) -> str:
    """Removes the marks of a turn's end, which vLLM writes in streams and in some plain answers."""
    return content.replace(END.strip(), "")


def byte_level_alphabet() -> dict[str, int]:
    """The byte of each character in a byte-level vocabulary: itself where it is printable, else a character above 255."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(hidden)}
