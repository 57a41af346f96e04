"""How the cost of a request grows. Every size is asked of the model server alone and through the gateway, in turns; what is
shown is the difference within a round, and the median over the rounds."""

import argparse
import contextlib
import json
import os
import pathlib
import random
import statistics
import sys
import tempfile

import prompts
from measure import measure
from peers import Peers
from plot import Line, Panel, draw

HERE = pathlib.Path(__file__).resolve().parent
TOKENS = (64, 256, 512, 2_048, 8_192)
BYTES = tuple(1 << shift for shift in range(10, 21, 2))
CONNECTIONS = (1, 8, 32, 128, 512)
FASTEST = 700  # new prompts that one connection asks in a second at most
FILE = 6 << 20  # bytes of new prompts for one load at most
CHOSEN = {"reasoning_effort": "low"}  # the client chose for itself, so that nothing is decided
NO_DECISION, NEW, REMEMBERED = "no decision", "new prompt", "decision remembered"


def say(what: str) -> None:
    print(f"growth: {what}", file=sys.stderr)


def of_bytes(size: int, **more) -> str:
    """A request of so many bytes."""
    frame = len(prompts.chat("", **more))
    line = "The bus to the old museum leaves at ten and the next one an hour later. "
    return prompts.chat((line * (size // len(line) + 1))[: size - frame], **more)


class Rig:
    """The model server, the gateway in front of it, and what was measured."""

    def __init__(self, folder: pathlib.Path, stack: contextlib.ExitStack, seconds: float):
        peers = Peers(folder, stack)
        # A busy machine must not make a fallback of a decision: here it is its cost that counts.
        gateway = peers.thinkgate_with("thinkgate", "classifier: { deadline_ms: 10000 }\n")
        self.doors = {"direct": (peers.upstream.port, []), "gateway": (gateway.port, [gateway])}
        self.folder, self.seconds, self.dice = folder, seconds, random.Random(0)

    def load(self, door: str, connections: int, lines: list[str], *once: str) -> dict:
        requests = self.folder / "requests"
        requests.write_text("\n".join(lines))
        port, processes = self.doors[door]
        seen = measure(port, processes, connections, requests, self.seconds, *once)
        if seen["errors"]:
            say(f"{seen['errors']} errors at {door}, such as: {seen['error']}")
        return seen

    def by_tokens(self, tokens: int) -> dict[str, dict]:
        """One connection; every prompt is a new one."""
        count = int(min(FASTEST * self.seconds, FILE / (6 * tokens))) + 1
        texts = [prompts.of_tokens(tokens, self.dice) for _ in range(count)]
        chosen, new = [[prompts.chat(text, **more) for text in texts] for more in (CHOSEN, {})]
        return {
            "direct": self.load("direct", 1, chosen),
            NO_DECISION: self.load("gateway", 1, chosen),
            NEW: self.load("gateway", 1, new, "once"),
        }

    def by_bytes(self, size: int) -> dict[str, dict]:
        """One connection; the prompt is always the same."""
        chosen, decided = of_bytes(size, **CHOSEN), of_bytes(size)
        return {
            "direct": self.load("direct", 1, [chosen]),
            NO_DECISION: self.load("gateway", 1, [chosen]),
            REMEMBERED: self.load("gateway", 1, [decided]),
        }

    def by_connections(self, connections: int) -> dict[str, dict]:
        """1 KB; the prompt is always the same."""
        chosen, decided = of_bytes(1 << 10, **CHOSEN), of_bytes(1 << 10)
        return {
            "direct": self.load("direct", connections, [chosen]),
            NO_DECISION: self.load("gateway", connections, [chosen]),
            REMEMBERED: self.load("gateway", connections, [decided]),
        }


def over_rounds(rounds: list[dict], name: str, of) -> float:
    return statistics.median(of(seen[name], seen["direct"]) for seen in rounds)


def added(quantile: str):
    """Milliseconds over the server alone."""
    return lambda seen, direct: (seen[quantile] - direct[quantile]) / 1e3


def amount(size: int) -> str:
    return f"{size >> 20} MB" if size >= 1 << 20 else f"{size >> 10} KB"


def cpu(seen, _) -> float:
    return seen["cpu_us"]


def rate(seen, _) -> float:
    return seen["rate"]


def rate_left(seen, direct) -> float:
    return seen["rate"] / direct["rate"]


SERIES = {
    "tokens": (NO_DECISION, NEW),
    "bytes": (NO_DECISION, REMEMBERED),
    "connections": (NO_DECISION, REMEMBERED),
}


def table(what: str, results: dict[int, list[dict]]) -> str:
    names = SERIES[what]
    head = [f"{name}: p50, p99 added, ms; CPU, us; rate / direct" for name in names]
    lines = [f"| {what} | {' | '.join(head)} |", "|---|" + "---|" * len(names)]
    for size, rounds in results.items():
        cells = []
        for name in names:
            p50, p99, share = (over_rounds(rounds, name, of) for of in (added("p50"), added("p99"), rate_left))
            cells.append(f"{p50:.2f}, {p99:.2f}; {over_rounds(rounds, name, cpu):.0f}; {share:.2f}")
        lines.append(f"| {amount(size) if what == 'bytes' else f'{size:,}'} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def panels(results: dict[str, dict[int, list[dict]]]) -> list[Panel]:
    def lines(what: str, of) -> list[Line]:
        return [Line(name, [(size, over_rounds(rounds, name, of)) for size, rounds in results[what].items()]) for name in SERIES[what]]

    carried = [f"{over_rounds(rounds, NO_DECISION, rate) / 1e3:.1f}k/s" for rounds in results["connections"].values()]
    at_one = "ms added at the median, 1 connection"
    return [
        Panel("Tokens of the prompt", at_one, lines("tokens", added("p50")), "{:,}".format),
        Panel("Bytes of the request", at_one, lines("bytes", added("p50")), amount),
        Panel("Connections at a time", "ms added at p99; below, answers a second", lines("connections", added("p99")), "{:,}".format, carried),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/growth")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="of one load")
    parser.add_argument("--svg", type=pathlib.Path, default=HERE.parents[1] / "benches" / "growth.svg")
    parser.add_argument("--json", help="write every round there")
    options = parser.parse_args()
    results: dict[str, dict[int, list[dict]]] = {
        "tokens": {size: [] for size in TOKENS},
        "bytes": {size: [] for size in BYTES},
        "connections": {count: [] for count in CONNECTIONS},
    }
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        rig = Rig(pathlib.Path(folder), stack, options.seconds)
        for number in range(options.rounds):
            for what, by_size in results.items():
                for size, rounds in by_size.items():
                    rounds.append(getattr(rig, f"by_{what}")(size))
            say(f"round {number + 1} of {options.rounds}, load average {os.getloadavg()[0]:.1f}")
    for what, by_size in results.items():
        print(table(what, by_size))
    options.svg.write_text(draw(panels(results)))
    say(f"wrote {options.svg}")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(results))


if __name__ == "__main__":
    main()
