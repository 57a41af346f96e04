"""The log of injected faults. It says which failures of clients they explain."""

import contextlib
import dataclasses
import time

from .verdict import Outcome

# Seconds after its end in which a fault may still affect requests: the breaker tries again after 2 s, and an endpoint is healthy
# again after three checks in 3 s.
AFTER_S = 5

# The faults that can cause an error, by its code. The others (a slow vLLM, a short pause, a reload) must not cause any error.
CAUSES = {
    "upstream_reset": {"cut", "break", "half-close", "kill", "term"},
    "upstream_unreachable": {"refuse", "kill", "term"},
    "upstream_timeout": {"long pause", "term"},
    "no_endpoint": {"refuse", "kill", "term", "long pause"},
    "aborted": {"cut", "break", "half-close", "kill", "term"},
    "vllm": {"kill", "term"},
    "overloaded": {"burst"},
}
# A client must not see these as long as another endpoint is healthy: nothing was answered, so the gateway retries there. An
# error of vLLM itself is an answer (500 while it stops: "EngineCore encountered an issue").
RETRIED = {"upstream_reset", "upstream_unreachable", "no_endpoint"}
# Faults in spite of which an endpoint still answers.
HARMLESS = {"delay", "pause"}


@dataclasses.dataclass
class Fault:
    """An injected fault: its name, the server that it affects, and when it began and ended."""

    name: str
    server: str = ""
    began: float = dataclasses.field(default_factory=time.monotonic)
    ended: float | None = None

    def overlaps(self, start: float, end: float) -> bool:
        """Whether the fault could affect a request that ran in this time."""
        return self.began <= end and start <= (self.ended or time.monotonic()) + AFTER_S


class FaultLog:
    """All faults of a run."""

    def __init__(self, servers: int):
        self.servers, self.faults = servers, []

    @contextlib.contextmanager
    def fault(self, name: str, server: str = ""):
        """Logs a fault that lasts as long as this context."""
        fault = Fault(name, server)
        self.faults.append(fault)
        try:
            yield
        finally:
            fault.ended = time.monotonic()

    def explain(self, outcome: Outcome, start: float, end: float, is_refused: bool = False) -> bool:
        """Whether a fault that was active during a request explains its failure.

        `is_refused`: vLLM answers the request with a 4xx. The gateway reads such a response before it relays it, because it may
        reject the switch. When it breaks off, something was answered, so the gateway does not retry.
        """
        overlapping = [fault for fault in self.faults if fault.overlaps(start, end)]
        has_cause = any(fault.name in CAUSES.get(outcome.code, ()) for fault in overlapping)
        if outcome.what == "error" and outcome.code in RETRIED and not (is_refused and outcome.code == "upstream_reset"):
            affected = {fault.server for fault in overlapping if fault.server and fault.name not in HARMLESS}
            return has_cause and len(affected) == self.servers
        return has_cause

    def active(self, start: float, end: float) -> list[str]:
        """The names of the faults that could affect a request that ran in this time."""
        return [f"{fault.name} {fault.server}".strip() for fault in self.faults if fault.overlaps(start, end)]
