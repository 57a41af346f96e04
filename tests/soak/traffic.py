"""Clients that send requests with short pauses, and the outcome of every request."""

import asyncio
import collections
import contextlib
import dataclasses
import random
import time

from .client import Connection, Response
from .expected_answers import ExpectedAnswers
from .fault_log import FaultLog
from .request_mix import Request, RequestMix
from .verdict import Outcome, judge


@dataclasses.dataclass
class Failure:
    """A request that failed without a fault that explains it, with the evidence."""

    request: Request
    outcome: Outcome
    response: Response
    seconds: float
    # The faults that were active during the request. None of them explains the failure.
    faults: list[str]

    def __str__(self) -> str:
        outcome, response, request = self.outcome, self.response, self.request
        headers = {name: value for name, value in response.headers.items() if name.startswith(("x-", "content-"))}
        return "\n  ".join(
            [
                f"{outcome.what} {outcome.code}: {request.kind}, x-request-id {request.id}, after {self.seconds:.1f} s",
                outcome.problem,
                f"active faults: {', '.join(self.faults) or 'none'}",
                f"status {response.status}, {headers}, {len(response.body)} bytes ending in {bytes(response.body[-300:])!r}",
                f"sent: {request.body[:300]!r}",
            ]
        )


class Traffic:
    """Concurrent clients. Each reuses its connection as long as possible."""

    def __init__(self, port: int, mix: RequestMix, expected: ExpectedAnswers, fault_log: FaultLog):
        self.port, self.mix, self.expected, self.fault_log = port, mix, expected, fault_log
        self.random = random.Random(mix.seed + 1)
        # The number of requests by kind and outcome.
        self.counts: collections.Counter[tuple[str, str]] = collections.Counter()
        self.failures: list[Failure] = []
        self.decisions: collections.Counter[str] = collections.Counter()

    async def clients(self, count: int, stop: asyncio.Event) -> None:
        """Runs `count` clients until `stop` is set."""
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(self._client(stop))

    async def _client(self, stop: asyncio.Event) -> None:
        kept: Connection | None = None
        while not stop.is_set():
            kept = await self.send(self.mix.next(), kept)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self.random.expovariate(8))
        if kept:
            kept.close()

    async def send_once(self, request: Request) -> None:
        """Sends one request on a connection of its own."""
        if connection := await self.send(request, None):
            connection.close()

    async def send(self, request: Request, kept: Connection | None) -> Connection | None:
        """Sends one request and records its outcome. Returns the connection when it can be reused."""
        slow = bool(request.behaviour.read_pauses)
        if kept and (slow or not kept.is_reusable() or self.random.random() < 0.1):
            kept.close()
            kept = None
        start = time.monotonic()
        try:
            kept = kept or await Connection.open(self.port, buffer=4096 if slow else 0)
            response = await kept.exchange(request.method, request.path, request.headers, request.body, request.behaviour)
        except (OSError, TimeoutError) as error:
            response = Response(end="refused", why=repr(error))
        self._record(request, response, start)
        if kept and (response.end != "complete" or slow or not kept.is_reusable()):
            kept.close(by_reset=request.behaviour.disconnect_by_reset)
            kept = None
        return kept

    def _record(self, request: Request, response: Response, start: float) -> None:
        end = time.monotonic()
        outcome = judge(request, response, self.expected)
        entry = outcome.what
        if outcome.what in ("error", "cut"):
            entry = f"{outcome.what}: {outcome.code}"
        if request.decided and response.status == 200:
            self.decisions[response.headers.get("x-thinkgate-why", "?")] += 1
        explained = outcome.what in ("error", "cut") and self.fault_log.explain(
            outcome, start, end, is_refused=request.status >= 400
        )
        fine = outcome.what in ("complete", "disconnected") or explained
        if not fine:
            entry = f"FAILED {entry}"
            failure = Failure(request, outcome, response, end - start, self.fault_log.active(start, end))
            self.failures.append(failure)
            print(f"soak: {failure}", flush=True)
        self.counts[request.kind, entry] += 1

    def total(self, prefix: str = "") -> int:
        """The number of requests whose outcome begins with `prefix`."""
        return sum(count for (_, entry), count in self.counts.items() if entry.startswith(prefix))
