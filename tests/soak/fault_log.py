"""The book of what went wrong on purpose, and which failures of clients it explains."""

import contextlib
import dataclasses
import time

from verdict import Outcome

# How long after its end a fault may still be felt by requests that come then: the breaker tries again after 2 s, and a server
# is well again after three looks in 3 s.
AFTER_S = 5

# By the code of an error, what can be its cause. What is not here explains nothing: a slow vLLM, a short pause and a reload
# are none of a client's business.
CAUSES = {
    "upstream_reset": {"cut", "break", "half-close", "kill", "term"},
    "upstream_unreachable": {"refuse", "kill", "term"},
    "upstream_timeout": {"long pause", "term"},
    "no_endpoint": {"refuse", "kill", "term", "long pause"},
    "aborted": {"cut", "break", "half-close", "kill", "term"},
    "vllm": {"kill", "term"},
    "overloaded": {"burst"},
}
# Of these a client hears nothing as long as another endpoint is well: nothing was answered, so the request moves on. An error
# of vLLM's own is an answer (500 while it stops: "EngineCore encountered an issue").
MOVES_ON = {"upstream_reset", "upstream_unreachable", "no_endpoint"}
# These do not keep an endpoint from answering.
HARMLESS = {"delay", "pause"}


@dataclasses.dataclass
class Fault:
    """One thing that was done, to which of the servers, and from when to when it was in force."""

    name: str
    server: str = ""
    began: float = dataclasses.field(default_factory=time.monotonic)
    ended: float | None = None

    def touches(self, start: float, end: float) -> bool:
        return self.began <= end and start <= (self.ended or time.monotonic()) + AFTER_S


class Incidents:
    """All faults of a run."""

    def __init__(self, servers: int):
        self.servers, self.faults = servers, []

    @contextlib.contextmanager
    def fault(self, name: str, server: str = ""):
        """A fault that is in force while the caller is in this context."""
        fault = Fault(name, server)
        self.faults.append(fault)
        try:
            yield
        finally:
            fault.ended = time.monotonic()

    def explain(self, outcome: Outcome, start: float, end: float, is_refused: bool = False) -> bool:
        """Whether a request's failure has a cause that was in force while it ran. `is_refused`: vLLM answers it with a 4xx, which may
        blame our switch and is read before it is relayed; when it breaks off, something was answered, and nothing moves on."""
        touching = [fault for fault in self.faults if fault.touches(start, end)]
        has_cause = any(fault.name in CAUSES.get(outcome.code, ()) for fault in touching)
        if outcome.what == "named" and outcome.code in MOVES_ON and not (is_refused and outcome.code == "upstream_reset"):
            hurt = {fault.server for fault in touching if fault.server and fault.name not in HARMLESS}
            return has_cause and len(hurt) == self.servers
        return has_cause

    def in_force(self, start: float, end: float) -> list[str]:
        return [f"{fault.name} {fault.server}".strip() for fault in self.faults if fault.touches(start, end)]
