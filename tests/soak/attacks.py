"""Clients that attack the gateway during a run. None of them may harm anybody else, and each must be answered as stated here."""

import asyncio
import contextlib
import itertools
import json
import random

from tests.harness.processes import LOOPBACK

from .request_mix import CHAT, MAX_BODY

ATTACKER_KEY = "sk-attacker"
# The most that the attacker's key may have in flight: the gateway answers 429 to the rest of a flood.
ATTACKER_IN_FLIGHT = 16
ANSWER_S = 20  # a multiple of what the gateway needs beside two busy vLLMs
HOLD_S = (2, 5)

# Ways to write routes that a server may read as another one. None of them may reach a vLLM.
ODD_PATHS = [
    "/v1/load_lora_adapter", "/v1/load_lora_adapter/", "/v1//load_lora_adapter", "/V1/Load_Lora_Adapter", "/v1/load%5Flora_adapter",
    "/v1/../sleep", "/v1/%2e%2e/sleep", "/v1/..%2fsleep", "/sleep", "/SLEEP/", "/collective_rpc", "/invocations", "/generate",
    "/v1/chat/completions/batch", "/v1\\..\\sleep",
]  # fmt: skip
# Requests that HTTP itself forbids or that this gateway does not speak, with the status of the answer.
MALFORMED = {
    "POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 0\r\n\r\n": {400},
    "TRACE /v1/models HTTP/1.1\r\nhost: x\r\n\r\n": {405},
    "CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n": {400, 405},
    "GET /v1/realtime HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n": {501},
    "GET /v1/models HTTP/1.1\r\nhost: x\r\n" + "".join(f"x-{n}: y\r\n" for n in range(200)) + "\r\n": {431},
    f"GET /v1/models?{'x' * 100_000} HTTP/1.1\r\nhost: x\r\n\r\n": {200, 414},
    f"GET /v1/models HTTP/1.1\r\nhost: x\r\nx-long: {'y' * 1_000_000}\r\n\r\n": {431},
    "GET  /v1/models\r\n\r\n": {400},
}


class Attacks:
    """Attacks on the gateway at a port, one kind a call. `problems` are answers that were not as they must be."""

    def __init__(self, port: int, seed: int, model: str, places: int):
        self.port, self.model, self.places = port, model, places
        self.random, self.numbers = random.Random(seed), itertools.count()
        self.problems: list[str] = []
        self.kinds = [self.slow_senders, self.large_forms, self.crowded_json, self.odd_paths, self.malformed, self.flood]

    async def slow_senders(self) -> None:
        """Twice as many connections as there are places send a head and one byte, and hold."""
        head = self.head(CHAT, MAX_BODY // 2)
        writers = []
        with contextlib.suppress(OSError):
            for _ in range(2 * self.places):
                _, writer = await asyncio.open_connection(LOOPBACK, self.port)
                writer.write(head + b"{")
                writers.append(writer)
        await asyncio.sleep(self.random.uniform(*HOLD_S))
        for writer in writers:
            writer.close()

    async def large_forms(self) -> None:
        """A form that consists of its own boundary over and over. One that its first boundary closes is passed on to vLLM."""
        end = b"\r\n--x--\r\n"
        for line in (b"--x\r\n", b"--x", b"--x\r\n\r\n"):
            body = (line * (MAX_BODY // len(line)))[: MAX_BODY - len(end)] + end
            await self.expect(
                "a form of boundaries", "/v1/audio/transcriptions", body, {400, 404, 413}, "multipart/form-data; boundary=x"
            )

    async def crowded_json(self) -> None:
        """Bodies of small values: parts and messages, which vLLM refuses, members and template variables beyond the limits."""
        part, message = '{"type":"text","text":"a"},', '{"role":"user","content":"a"},'
        count = MAX_BODY // 40
        messages = '"messages":[{"role":"user","content":"hi"}]'
        members = ",".join(f'"{n}":0' for n in range(count))
        for body in (
            f'{{"model":"{self.model}","messages":[{{"role":"user","content":[{(part * count)[:-1]}]}}]}}',
            f'{{"model":"{self.model}","messages":[{(message * (count // 2))[:-1]}]}}',
            f'{{"model":"{self.model}",{messages},{members}}}',
            f'{{"model":"{self.model}",{messages},"chat_template_kwargs":{{{members}}}}}',
            f'{{"model":"{"m" * (MAX_BODY - 100)}",{messages}}}',
        ):
            await self.expect("crowded JSON", CHAT, body.encode(), {400})

    async def odd_paths(self) -> None:
        """Routes that are not for clients, in many spellings."""
        body = json.dumps({"model": self.model, "messages": [], "lora_name": "x"}).encode()
        for path in ODD_PATHS:
            await self.expect(path, path, body, {400, 404, 501})

    async def malformed(self) -> None:
        """Requests that are no HTTP, or more of it than the gateway takes."""
        for request, statuses in MALFORMED.items():
            await self.exchange(f"{request[:40]!r}", self.with_key(request), statuses)

    async def flood(self) -> None:
        """More requests at once than the attacker's key may have in flight, each with a long prompt that nobody sent before."""
        bodies = [
            json.dumps({"model": self.model, "messages": [{"role": "user", "content": self.long_prompt()}]}).encode()
            for _ in range(4 * ATTACKER_IN_FLIGHT)
        ]
        await asyncio.gather(*(self.expect("a flood", "/explain", body, {200, 429}) for body in bodies))

    def long_prompt(self) -> str:
        """A prompt of some 1,000 words that is sent once."""
        words = ("price", "share", "matter", "proof", "ticket", "river", "because", "between", "never", "machine")
        return f"{next(self.numbers)} " + " ".join(self.random.choice(words) for _ in range(1000))

    def head(self, path: str, length: int, content_type: str = "application/json") -> bytes:
        """The head of a POST with the attacker's key."""
        lines = [f"POST {path} HTTP/1.1", "host: gateway", f"authorization: Bearer {ATTACKER_KEY}", f"content-type: {content_type}"]
        return "\r\n".join([*lines, f"content-length: {length}", "connection: close", "", ""]).encode()

    def with_key(self, request: str) -> bytes:
        """A raw request with the attacker's key in its head, where it has lines for headers."""
        line, end, rest = request.partition("\r\n")
        if not rest.strip():
            return request.encode()
        close = "" if "upgrade" in rest else "connection: close\r\n"
        return f"{line}{end}authorization: Bearer {ATTACKER_KEY}\r\n{close}{rest}".encode()

    async def expect(self, name: str, path: str, body: bytes, statuses: set[int], content_type: str = "application/json") -> None:
        """Sends a POST, and notes an answer with a status that is not among `statuses`."""
        await self.exchange(name, self.head(path, len(body), content_type) + body, statuses)

    async def exchange(self, name: str, request: bytes, statuses: set[int]) -> None:
        """Sends the bytes of a request and reads the answer to its end."""
        try:
            async with asyncio.timeout(ANSWER_S):
                reader, writer = await asyncio.open_connection(LOOPBACK, self.port, limit=1 << 20)
                try:
                    sending = asyncio.create_task(self.send(writer, request))
                    head = await reader.readuntil(b"\r\n\r\n")
                    sending.cancel()
                finally:
                    writer.close()
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            self.problems.append(f"attack {name}: no answer, {error!r}")
            return
        status = int(head.split(b" ", 2)[1])
        if status not in statuses:
            self.problems.append(f"attack {name}: status {status}, expected one of {sorted(statuses)}")
        if b"x-request-id" not in head.lower():
            self.problems.append(f"attack {name}: an answer of status {status} without x-request-id")

    @staticmethod
    async def send(writer: asyncio.StreamWriter, request: bytes) -> None:
        """Sends a request; the gateway may answer and close before it has read everything."""
        with contextlib.suppress(OSError):
            writer.write(request)
            await writer.drain()
