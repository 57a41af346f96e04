"""Measures how the cost of a request grows with its size. Each size is measured at the model server itself and through the
gateway, in turns. The result is the median over all rounds of the difference within a round."""

import argparse
import contextlib
import json
import os
import pathlib
import random
import statistics
import sys
import tempfile

from . import prompts
from .measure import measure
from .peers import Peers
from .plot import Line, Panel, draw

TOKENS = (64, 256, 512, 2_048, 8_192)
BYTES = tuple(1 << shift for shift in range(10, 21, 2))
CONNECTIONS = (1, 8, 32, 128, 512)
FASTEST = 700  # new prompts that one connection sends in a second at most
FILE = 6 << 20  # bytes of new prompts for one load at most
CHOSEN = {"reasoning_effort": "low"}  # the client has chosen the mode, so thinkgate does not decide
NO_DECISION, NEW, REMEMBERED = "no decision", "new prompt", "decision remembered"


def log(what: str) -> None:
    """Prints a line about the progress."""
    print(f"growth: {what}", file=sys.stderr)


def of_bytes(size: int, **more) -> str:
    """A request of `size` bytes."""
    frame = len(prompts.chat("", **more))
    line = "The bus to the old museum leaves at ten and the next one an hour later. "
    return prompts.chat((line * (size // len(line) + 1))[: size - frame], **more)


class Measurement:
    """A model server and a gateway in front of it, which can be put under load."""

    def __init__(self, folder: pathlib.Path, stack: contextlib.ExitStack, seconds: float):
        peers = Peers(folder, stack)
        # A long deadline, because the cost of a decision is measured, which must not become a fallback.
        gateway = peers.thinkgate_with("thinkgate", "classifier: { deadline_ms: 10000 }\n")
        self.targets = {"direct": (peers.upstream.port, []), "gateway": (gateway.port, [gateway])}
        self.folder, self.seconds, self.rng = folder, seconds, random.Random(0)

    def load(self, target: str, connections: int, lines: list[str], *once: str) -> dict:
        requests = self.folder / "requests"
        requests.write_text("\n".join(lines))
        port, processes = self.targets[target]
        seen = measure(port, processes, connections, requests, self.seconds, *once)
        if seen["errors"]:
            log(f"{seen['errors']} errors at {target}, such as: {seen['error']}")
        return seen

    def by_tokens(self, tokens: int) -> dict[str, dict]:
        """One connection; every prompt is new."""
        count = int(min(FASTEST * self.seconds, FILE / (6 * tokens))) + 1
        texts = [prompts.of_tokens(tokens, self.rng) for _ in range(count)]
        chosen, new = [[prompts.chat(text, **more) for text in texts] for more in (CHOSEN, {})]
        return {
            "direct": self.load("direct", 1, chosen),
            NO_DECISION: self.load("gateway", 1, chosen),
            NEW: self.load("gateway", 1, new, "once"),
        }

    def by_bytes(self, size: int) -> dict[str, dict]:
        """One connection; all requests are the same."""
        chosen, decided = of_bytes(size, **CHOSEN), of_bytes(size)
        return {
            "direct": self.load("direct", 1, [chosen]),
            NO_DECISION: self.load("gateway", 1, [chosen]),
            REMEMBERED: self.load("gateway", 1, [decided]),
        }

    def by_connections(self, connections: int) -> dict[str, dict]:
        """Requests of 1 KB, all the same."""
        chosen, decided = of_bytes(1 << 10, **CHOSEN), of_bytes(1 << 10)
        return {
            "direct": self.load("direct", connections, [chosen]),
            NO_DECISION: self.load("gateway", connections, [chosen]),
            REMEMBERED: self.load("gateway", connections, [decided]),
        }


def median_over_rounds(rounds: list[dict], name: str, of) -> float:
    """The median of a figure: `of` computes it from the loads `name` and `direct` of a round."""
    return statistics.median(of(seen[name], seen["direct"]) for seen in rounds)


def added(quantile: str):
    """The milliseconds that the gateway adds at a quantile."""
    return lambda seen, direct: (seen[quantile] - direct[quantile]) / 1e3


def amount(size: int) -> str:
    """A number of bytes, for people."""
    return f"{size >> 20} MB" if size >= 1 << 20 else f"{size >> 10} KB"


def cpu(seen, _) -> float:
    """Microseconds of processor time for a request."""
    return seen["cpu_us"]


def rate(seen, _) -> float:
    """Responses a second."""
    return seen["rate"]


def rate_left(seen, direct) -> float:
    """The rate as a share of the model server's."""
    return seen["rate"] / direct["rate"]


SERIES = {
    "tokens": (NO_DECISION, NEW),
    "bytes": (NO_DECISION, REMEMBERED),
    "connections": (NO_DECISION, REMEMBERED),
}


def table(what: str, results: dict[int, list[dict]]) -> str:
    """A Markdown table of one series."""
    names = SERIES[what]
    head = [f"{name}: p50, p99 added, ms; CPU, us; rate / direct" for name in names]
    lines = [f"| {what} | {' | '.join(head)} |", "|---|" + "---|" * len(names)]
    for size, rounds in results.items():
        cells = []
        for name in names:
            p50, p99, share = (median_over_rounds(rounds, name, of) for of in (added("p50"), added("p99"), rate_left))
            cells.append(f"{p50:.2f}, {p99:.2f}; {median_over_rounds(rounds, name, cpu):.0f}; {share:.2f}")
        lines.append(f"| {amount(size) if what == 'bytes' else f'{size:,}'} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def panels(results: dict[str, dict[int, list[dict]]]) -> list[Panel]:
    """The charts of all series."""

    def lines(what: str, of) -> list[Line]:
        return [
            Line(name, [(size, median_over_rounds(rounds, name, of)) for size, rounds in results[what].items()])
            for name in SERIES[what]
        ]

    carried = [f"{median_over_rounds(rounds, NO_DECISION, rate) / 1e3:.1f}k/s" for rounds in results["connections"].values()]
    at_one = "ms added at the median, 1 connection"
    return [
        Panel("Tokens of the prompt", at_one, lines("tokens", added("p50")), "{:,}".format),
        Panel("Bytes of the request", at_one, lines("bytes", added("p50")), amount),
        Panel(
            "Connections at a time",
            "ms added at p99; below, answers a second",
            lines("connections", added("p99")),
            "{:,}".format,
            carried,
        ),
    ]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="scripts/growth")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="of one load")
    parser.add_argument("--svg", type=pathlib.Path, default=pathlib.Path(__file__).parents[1] / "growth.svg")
    parser.add_argument("--json", help="write every round there")
    options = parser.parse_args()
    results: dict[str, dict[int, list[dict]]] = {
        "tokens": {size: [] for size in TOKENS},
        "bytes": {size: [] for size in BYTES},
        "connections": {count: [] for count in CONNECTIONS},
    }
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        measurement = Measurement(pathlib.Path(folder), stack, options.seconds)
        for number in range(options.rounds):
            for what, by_size in results.items():
                for size, rounds in by_size.items():
                    rounds.append(getattr(measurement, f"by_{what}")(size))
            log(f"round {number + 1} of {options.rounds}, load average {os.getloadavg()[0]:.1f}")
    for what, by_size in results.items():
        print(table(what, by_size))
    options.svg.write_text(draw(panels(results)))
    log(f"wrote {options.svg}")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(results))


if __name__ == "__main__":
    main()
