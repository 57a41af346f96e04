"""Clients that ask without a pause worth the name, and the book of what became of every request."""

import asyncio
import collections
import contextlib
import dataclasses
import random
import time

from asks import Ask, Mix
from client import Connection, Heard
from incidents import Incidents
from truth import Truth
from verdict import Outcome, judge


@dataclasses.dataclass
class Failure:
    """A request that has no excuse, with the evidence."""

    ask: Ask
    outcome: Outcome
    heard: Heard
    seconds: float
    # The faults that were in force while it ran, none of which explains it.
    faults: list[str]

    def __str__(self) -> str:
        head = f"{self.outcome.what} {self.outcome.code}: {self.ask.kind}, x-request-id {self.ask.id}, after {self.seconds:.1f} s"
        faults = ", ".join(self.faults) or "none"
        headers = {name: value for name, value in self.heard.headers.items() if name.startswith(("x-", "content-"))}
        answer = f"status {self.heard.status}, {headers}, {len(self.heard.body)} bytes ending in {bytes(self.heard.body[-300:])!r}"
        return f"{head}\n  {self.outcome.problem}\n  faults in force: {faults}\n  {answer}\n  sent: {self.ask.body[:300]!r}"


class Traffic:
    """A number of clients, each of which keeps its connection as long as it can."""

    def __init__(self, port: int, mix: Mix, truth: Truth, incidents: Incidents):
        self.port, self.mix, self.truth, self.incidents = port, mix, truth, incidents
        self.random = random.Random(mix.seed + 1)
        # (kind, outcome): how many
        self.book: collections.Counter[tuple[str, str]] = collections.Counter()
        self.failures: list[Failure] = []
        self.decided: collections.Counter[str] = collections.Counter()

    async def clients(self, count: int, stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(self._client(stop))

    async def _client(self, stop: asyncio.Event) -> None:
        kept: Connection | None = None
        while not stop.is_set():
            kept = await self.ask(self.mix.next(), kept)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self.random.expovariate(8))
        if kept:
            kept.close()

    async def ask_once(self, ask: Ask) -> None:
        if connection := await self.ask(ask, None):
            connection.close()

    async def ask(self, ask: Ask, kept: Connection | None) -> Connection | None:
        """Sends one request and writes down what became of it; the connection comes back when it may be used again."""
        slow = bool(ask.manners.pauses)
        if kept and (slow or not kept.is_fresh() or self.random.random() < 0.1):
            kept.close()
            kept = None
        start = time.monotonic()
        try:
            kept = kept or await Connection.open(self.port, buffer=4096 if slow else 0)
            heard = await kept.exchange(ask.method, ask.path, ask.headers, ask.body, ask.manners)
        except (OSError, TimeoutError) as error:
            heard = Heard(end="refused", why=repr(error))
        self._write_down(ask, heard, start)
        if kept and (heard.end != "whole" or slow or not kept.is_fresh()):
            kept.close(by_reset=ask.manners.leaves_by_reset)
            kept = None
        return kept

    def _write_down(self, ask: Ask, heard: Heard, start: float) -> None:
        end = time.monotonic()
        outcome = judge(ask, heard, self.truth)
        entry = outcome.what
        if outcome.what in ("named", "cut"):
            entry = f"{outcome.what}: {outcome.code}"
        if ask.judged and heard.status == 200:
            self.decided[heard.headers.get("x-thinkgate-why", "?")] += 1
        explained = outcome.what in ("named", "cut") and self.incidents.explain(outcome, start, end, is_refused=ask.status >= 400)
        fine = outcome.what in ("whole", "left") or explained
        if not fine:
            entry = f"FAILED {entry}"
            failure = Failure(ask, outcome, heard, end - start, self.incidents.in_force(start, end))
            self.failures.append(failure)
            print(f"soak: {failure}", flush=True)
        self.book[ask.kind, entry] += 1

    def total(self, beginning: str = "") -> int:
        return sum(count for (_, entry), count in self.book.items() if entry.startswith(beginning))
