"""Measures what a decision costs through the HTTP server. Each load alternates with the same requests whose client has chosen the
mode, so that thinkgate does not decide. The result is the median over all rounds of the difference, or ratio, within a round.
"""

import argparse
import contextlib
import functools
import http.client
import itertools
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

from . import prompts
from .measure import measure, resident
from .peers import RIG, Peers

DEADLINE_MS = 100  # the default of classifier.deadline_ms
POOL = 200  # different prompts that are sent repeatedly
MEMORY = (20_000, 40_000, 40_000)  # requests between two measurements of memory, a quarter of them with new prompts
STREAMS = 1_000
STARTS = 5
# Connections, whether all prompts are new, and the most requests of a connection in a second, by name.
LOADS = {
    "one": (1, True, 700),
    "many": (32, True, 150),
    "overload": (128, True, 50),
    "cached_one": (1, False, 0),
    "cached": (32, False, 0),
}


class Variant:
    """A gateway with a number of classifier sessions and threads, and its results so far.

    `name` is `SESSIONSxTHREADS`, or `default`.
    """

    def __init__(self, name: str, peers: Peers):
        sessions, _, threads = name.partition("x")
        self.name, self.peers, self.loads = name, peers, {load: [] for load in LOADS}
        self.env = {"THINKGATE_CLASSIFIER__SESSIONS": sessions, "THINKGATE_CLASSIFIER__THREADS": threads} if threads else {}

    def start(self, what: str, ready: str = "/ready"):
        """Starts the gateway."""
        return self.peers.thinkgate_with(f"{self.name}-{what}", "", self.env, ready)

    def load(self, load: str, child, folder: pathlib.Path, new_prompts, seconds: float) -> None:
        """Measures one round: the same prompts with a decision, and with the client's own choice."""
        connections, is_new, pace = LOADS[load]
        count = int(connections * pace * seconds) + connections if is_new else POOL
        texts = list(itertools.islice(new_prompts if is_new else prompts.generated(seed=1), count))
        chosen = write(folder / "chosen", [prompts.chat(text, reasoning_effort="low") for text in texts])
        decided = write(folder / "decided", [prompts.chat(text) for text in texts])
        if not is_new:
            measure(child.port, [child], 2, decided, 60, "once")  # fills the cache of decisions
        rounds = self.loads[load]
        files = {"chosen": chosen, "decided": decided}
        names = sorted(files, reverse=len(rounds) % 2 == 1)  # the order alternates
        once = {"decided": ["once"]} if is_new else {}
        rounds.append(
            {name: measure(child.port, [child], connections, files[name], seconds, *once.get(name, [])) for name in names}
        )
        if is_new and rounds[-1]["decided"]["seconds"] < 0.9 * seconds:
            log(f"the prompts for `{load}` were used up after {rounds[-1]['decided']['seconds']:.1f} s")

    def median_over_rounds(self, load: str, of) -> float:
        """The median of a figure: `of` computes it from the two halves of a round."""
        return statistics.median(of(seen["chosen"], seen["decided"]) for seen in self.loads[load])


def log(what: str) -> None:
    """Prints a line about the progress."""
    print(f"decisions: {what}", file=sys.stderr)


def write(path: pathlib.Path, lines: list[str]) -> pathlib.Path:
    """Writes a file of requests, a line each."""
    path.write_text("\n".join(lines))
    return path


def start_to_ready(variant: Variant) -> str:
    """The median time from the start of the process to the first 200 of /ready."""
    times = []
    for number in range(STARTS):
        began = time.monotonic()
        with variant.start(f"start{number}", ready="") as child:
            while time.monotonic() < began + 60:
                with contextlib.suppress(OSError, http.client.HTTPException):
                    if child.get("/ready")[0] == 200:
                        break
                time.sleep(0.005)
            times.append(time.monotonic() - began)
    return f"{statistics.median(times):.2f} s"


def memory(variant: Variant, folder: pathlib.Path, new_prompts) -> str:
    """The resident memory of a new gateway at the start and between requests. One prompt in four is new."""
    known = list(itertools.islice(prompts.generated(seed=1), POOL))
    with variant.start("memory") as child:
        seen = [resident(child)]
        for count in MEMORY:
            texts = [next(new_prompts) if number % 4 == 0 else known[number % POOL] for number in range(count)]
            measure(child.port, [child], 32, write(folder / "mixed", [prompts.chat(text) for text in texts]), 120, "once")
            seen.append(resident(child))
    return ", ".join(f"{mib:.0f}" for mib in seen) + " MiB"


def idle_streams(variant: Variant, folder: pathlib.Path) -> str:
    """The memory that a gateway takes for each open stream that waits for its next event."""
    texts = itertools.islice(prompts.generated(seed=1), POOL)
    request = write(folder / "paused", [prompts.chat(text, stream=True, seed=8, reasoning_effort="low") for text in texts])
    plain = write(folder / "plain", [prompts.chat("hello", stream=True)])
    with variant.start("idle") as child:
        measure(child.port, [child], 64, plain, 1)
        before = resident(child)
        command = [RIG, "hold", f"127.0.0.1:{child.port}", request, str(STREAMS), "100"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
            held = json.loads(holder.stdout.readline())
            time.sleep(1)
            after = resident(child)
            holder.kill()
    if held["errors"]:
        log(f"{held['errors']} of {STREAMS} streams could not be opened: {held['error']}")
    return f"{(after - before) * 1024 / max(held['held'], 1):.1f} KiB"


def added(quantile: str):
    """The milliseconds that a decision adds at a quantile."""
    return lambda chosen, decided: (decided[quantile] - chosen[quantile]) / 1e3


def ratio(key: str):
    """A figure with decisions as a ratio to the figure without."""
    return lambda chosen, decided: decided[key] / chosen[key]


def decisions_per_second(_, decided) -> float:
    """The decisions of the classifier in a second."""
    return decided["why"].get("classifier", 0) / decided["seconds"]


def fallback_share(_, decided) -> float:
    """The share of requests that got a fallback instead of a decision."""
    return decided["why"].get("fallback", 0) / max(decided["n"], 1)


def rows(load: str, variant: Variant) -> dict[str, str]:
    """The rows of the table for a load."""
    connections, is_new, _ = LOADS[load]
    of = functools.partial(variant.median_over_rounds, load)
    at = f"{connections} connection{'s' * (connections > 1)}, " + ("every prompt new" if is_new else "decisions remembered")
    if not is_new:
        return {f"{at}: rate, p50 beside no decision": f"{of(ratio('rate')):.2f}, {of(ratio('p50')):.2f}"}
    shown = {f"{at}: added at p50, p99": f"{of(added('p50')):.2f}, {of(added('p99')):.2f} ms"}
    if connections > 1:
        shown[f"{at}: decisions a second, fell back"] = f"{of(decisions_per_second):.0f}, {of(fallback_share):.1%}"
    return shown


def load_rows(variant: Variant) -> dict[str, str]:
    """The rows of the table for all loads that were measured."""
    table = {}
    for load in LOADS:
        if variant.loads[load]:
            table |= rows(load, variant)
    return table


def run(options, folder: pathlib.Path, stack: contextlib.ExitStack) -> tuple[list[Variant], dict[str, dict[str, str]]]:
    """Measures everything; returns the variants and a table of rows for each."""
    new_prompts = prompts.new(options.data)
    peers = Peers(folder, stack)
    variants = [Variant(name, peers) for name in options.parallelism.split(",")]
    loads = [load for load in LOADS if load in options.only]
    running = {variant: variant.start("loads") for variant in variants} if loads else {}
    for number in range(options.rounds if loads else 0):
        for load, variant in itertools.product(loads, variants):
            variant.load(load, running[variant], folder, new_prompts, options.seconds)
        log(f"round {number + 1} of {options.rounds}, load average {os.getloadavg()[0]:.1f}")
    for child in running.values():
        child.stop()
    tables = {variant.name: load_rows(variant) for variant in variants}
    singles = {
        "start": ("start to /ready", start_to_ready),
        "idle": (f"memory of an idle stream, of {STREAMS:,}", lambda variant: idle_streams(variant, folder)),
        "memory": (
            f"resident when ready and after {', '.join(f'{n:,}' for n in itertools.accumulate(MEMORY))} requests",
            lambda variant: memory(variant, folder, new_prompts),
        ),
    }
    for name, (what, single) in singles.items():
        for variant in variants if name in options.only else []:
            log(f"{name}, {variant.name}")
            tables[variant.name][what] = single(variant)
    return variants, tables


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="scripts/decisions")
    parts = [*LOADS, "start", "idle", "memory"]
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--parallelism", "--crews", default="default", help="such as default,1x2,2x1: sessions x threads")
    parser.add_argument("--only", type=lambda text: text.split(","), default=parts, help=f"of {','.join(parts)}")
    parser.add_argument("--data", type=pathlib.Path, default=os.environ.get("DATA_DIR"), help="a folder of prompts")
    parser.add_argument("--json", help="write every round there")
    options = parser.parse_args()
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))  # an idle stream is an open file in each process
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        variants, tables = run(options, pathlib.Path(folder), stack)
    print(f"| deadline {DEADLINE_MS} ms | {' | '.join(tables)} |\n|---|{'---|' * len(tables)}")
    for what in next(iter(tables.values())):
        print(f"| {what} | {' | '.join(table[what] for table in tables.values())} |")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps({variant.name: variant.loads for variant in variants}))


if __name__ == "__main__":
    main()
