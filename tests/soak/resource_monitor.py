"""Watches the gateway's memory, file descriptors and threads during a run, and finds what it does not release."""

import asyncio
import contextlib
import dataclasses
import time

from .fault_log import FaultLog
from .scenario import Scenario
from .traffic import Traffic

# How much the gateway may grow in a run of LONG_RUN_S or more, and in a shorter one, in which its allocator and ONNX Runtime still
# reach their size.
MAX_GROWTH, MAX_GROWTH_SHORT_RUN, LONG_RUN_S = 0.05, 0.2, 600
# The gateway's own connections to each vLLM, for its model list and its health.
OWN_CONNECTIONS = 2
# tokio's threads for blocking calls: one checks the configuration file every second, and a reload may start a second one.
RELOAD_THREADS = 1


@dataclasses.dataclass
class Sample:
    """The resources at one point in time."""

    at: float
    rss_mb: float
    descriptors: int
    threads: int


class ResourceMonitor:
    """Takes a sample every second, and prints the progress once a minute."""

    def __init__(self, scenario: Scenario):
        self.scenario, self.samples = scenario, []

    def sample(self) -> Sample:
        """Takes a sample."""
        gateway = self.scenario.gateway
        sample = Sample(time.monotonic(), gateway.status("VmRSS") / 1024, len(gateway.descriptors()), gateway.status("Threads"))
        self.samples.append(sample)
        return sample

    async def run(self, stop: asyncio.Event, traffic: Traffic, fault_log: FaultLog, minutes: float) -> None:
        """Runs until `stop` is set."""
        start = printed = time.monotonic()
        while not stop.is_set():
            sample = self.sample()
            if time.monotonic() - printed >= 60:
                printed += 60
                await self.print_progress((printed - start) / 60, minutes, sample, traffic, fault_log)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 1)

    async def print_progress(self, minute: float, minutes: float, sample: Sample, traffic: Traffic, fault_log: FaultLog) -> None:
        """Prints the counts of requests so far, and the state of the servers."""
        names = {
            "": "requests",
            "complete": "complete",
            "disconnected": "disconnected",
            "error": "refused",
            "cut": "cut",
            "FAILED": "FAILED",
        }
        counts = ", ".join(f"{traffic.total(entry)} {name}" for entry, name in names.items())
        in_flight, up = await self.scenario.metric("thinkgate_in_flight"), sum(server.up for server in self.scenario.servers)
        size = f"{sample.rss_mb:.1f} MiB, {sample.descriptors} fds, {sample.threads} threads"
        state = f"{len(fault_log.faults)} faults, {in_flight:.0f} in flight, {size}, {up} vLLMs up"
        print(f"soak: {minute:.0f}/{minutes:g} min: {counts}; {state}", flush=True)

    def first_and_last_tenth(self) -> tuple[list[Sample], list[Sample]]:
        """The first and the last tenth of the samples."""
        tenth = max(1, len(self.samples) // 10)
        return self.samples[:tenth], self.samples[-tenth:]

    def growth(self) -> tuple[float, float, float]:
        """The size in the first and in the last tenth in MiB, and the growth between them as a share.

        The size is the first quintile. Temporary use, such as megabytes for a slow client, does not raise it, and a leak does.
        """
        first, last = (first_quintile([sample.rss_mb for sample in end]) for end in self.first_and_last_tenth())
        return first, last, last / first - 1


def first_quintile(values: list[float]) -> float:
    """The value that four fifths of the values are not below."""
    return sorted(values)[len(values) // 5]


async def find_leftovers(scenario: Scenario, descriptors_before: int, threads_before: int) -> list[str]:
    """What the gateway has not released after the traffic: requests in flight, file descriptors, connections, threads.

    `descriptors_before` is from before the first request, `threads_before` from after the warm-up.
    """
    problems = []
    own = OWN_CONNECTIONS * len(scenario.servers)
    deadline = time.monotonic() + 20  # idle connections are closed after pool_idle_ms, 4 s
    while True:
        gateway = scenario.gateway
        # Reading the metrics is a request itself.
        in_flight = await scenario.metric("thinkgate_in_flight")
        descriptors, relayed = gateway.descriptors(), sum(server.relay.open_connections() for server in scenario.servers)
        if in_flight <= 1 and len(descriptors) <= descriptors_before + own and relayed <= own:
            break
        if time.monotonic() > deadline:
            if in_flight > 1:
                problems.append(f"{in_flight:.0f} requests in flight without a client")
            if len(descriptors) > descriptors_before + own:
                kinds = sorted(name.split(":")[0] for name in descriptors)
                problems.append(f"{len(descriptors)} file descriptors, {descriptors_before} before the first request: {kinds}")
            if relayed > own:
                problems.append(f"{relayed} connections to vLLM left open")
            break
        await asyncio.sleep(0.5)
    if gateway.status("Threads") > threads_before + RELOAD_THREADS:
        problems.append(f"{gateway.status('Threads')} threads, {threads_before} after the warm-up")
    return problems
