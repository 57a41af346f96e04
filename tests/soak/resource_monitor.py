"""What can be seen of the gateway while it runs, and whether it stays as it was."""

import asyncio
import contextlib
import dataclasses
import time

from cast import Cast
from incidents import Incidents
from traffic import Traffic

# The share by which the gateway may grow in a run of ten minutes or more. Within a shorter one its allocator and ONNX Runtime
# still take what they need.
GROWTH, GROWTH_WHEN_YOUNG, YOUNG_S = 0.05, 0.2, 600
# Connections to each vLLM while nobody asks anything: the gateway itself asks what it serves, and how it is.
WATCHED_BY = 2
# tokio's for files: one looks at them every second, and a reload may bring a second one, which stays as long as it now and then
# gets the next look.
FOR_A_RELOAD = 1


@dataclasses.dataclass
class Sample:
    """One look."""

    at: float
    rss_mb: float
    descriptors: int
    threads: int


class Watch:
    """Looks every second, and says once a minute how it goes."""

    def __init__(self, cast: Cast):
        self.cast, self.samples = cast, []

    def look(self) -> Sample:
        gateway = self.cast.gateway
        sample = Sample(time.monotonic(), gateway.status("VmRSS") / 1024, len(gateway.descriptors()), gateway.status("Threads"))
        self.samples.append(sample)
        return sample

    async def run(self, stop: asyncio.Event, traffic: Traffic, incidents: Incidents, minutes: float) -> None:
        start = said = time.monotonic()
        while not stop.is_set():
            sample = self.look()
            if time.monotonic() - said >= 60:
                said += 60
                await self.say((said - start) / 60, minutes, sample, traffic, incidents)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 1)

    async def say(self, minute: float, minutes: float, sample: Sample, traffic: Traffic, incidents: Incidents) -> None:
        sorts = {"": "requests", "whole": "whole", "left": "left", "named": "refused", "cut": "cut", "FAILED": "FAILED"}
        counts = ", ".join(f"{traffic.total(entry)} {name}" for entry, name in sorts.items())
        in_flight, up = await self.cast.metric("thinkgate_in_flight"), sum(server.up for server in self.cast.servers)
        size = f"{sample.rss_mb:.1f} MiB, {sample.descriptors} fds, {sample.threads} threads"
        state = f"{len(incidents.faults)} faults, {in_flight:.0f} in flight, {size}, {up} vLLMs up"
        print(f"soak: {minute:.0f}/{minutes:g} min: {counts}; {state}", flush=True)

    def ends(self) -> tuple[list[Sample], list[Sample]]:
        """The first and the last tenth of what was seen."""
        tenth = max(1, len(self.samples) // 10)
        return self.samples[:tenth], self.samples[-tenth:]

    def growth(self) -> tuple[float, float, float]:
        """The size at either end in MiB, and by which share it grew.

        It is what four fifths of the looks are above: what comes and goes, such as megabytes on their way to a slow client, is
        no growth, and a leak raises the floor like everything else."""
        first, last = (floor([sample.rss_mb for sample in end]) for end in self.ends())
        return first, last, last / first - 1


def floor(values: list[float]) -> float:
    return sorted(values)[len(values) // 5]


async def rest(cast: Cast, before: int, threads: int) -> list[str]:
    """After the traffic: nothing in flight, no connection left over, and as many threads as there were, but for one of a reload; what is not so."""
    problems = []
    watches = WATCHED_BY * len(cast.servers)
    deadline = time.monotonic() + 20  # pool_idle_ms is 4 s, a request that was left behind shows by then
    while True:
        gateway = cast.gateway
        # The look itself takes one connection and is one request.
        in_flight = await cast.metric("thinkgate_in_flight")
        descriptors, relayed = gateway.descriptors(), sum(server.relay.open() for server in cast.servers)
        if in_flight <= 1 and len(descriptors) <= before + watches and relayed <= watches:
            break
        if time.monotonic() > deadline:
            if in_flight > 1:
                problems.append(f"{in_flight:.0f} requests in flight with nobody there")
            if len(descriptors) > before + watches:
                kinds = sorted(name.split(":")[0] for name in descriptors)
                problems.append(f"{len(descriptors)} file descriptors, {before} before the first request: {kinds}")
            if relayed > watches:
                problems.append(f"{relayed} connections to vLLM left open")
            break
        await asyncio.sleep(0.5)
    if gateway.status("Threads") > threads + FOR_A_RELOAD:
        problems.append(f"{gateway.status('Threads')} threads, {threads} after the warm-up")
    return problems
