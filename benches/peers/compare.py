"""Measures every peer in interleaved rounds. Prints medians of the ratios to the model server itself in the same round."""

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

from .measure import measure
from .peers import MODEL, NAMES, Peers

PROMPT = "Tell me about the opening hours of the museum and how I get there by bus from the station. " * 9


def body(**more) -> str:
    """A chat request of about 1 KB. The client has chosen the mode, so thinkgate does not decide."""
    chat = {"model": MODEL, "messages": [{"role": "user", "content": PROMPT}], "reasoning_effort": "low"}
    return json.dumps(chat | more, separators=(",", ":"))


DECIDED = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": PROMPT}]}, separators=(",", ":"))
# Connections, request and description, by name.
LOADS = {
    "c1": (1, body(), "plain answers, 1 connection"),
    "c32": (32, body(), "plain answers, 32 connections"),
    "decided_c32": (32, DECIDED, "plain answers, 32 connections, decision from the cache"),
    "stream_c1": (1, body(stream=True), "streams of 52 events, 1 connection"),
    "stream_c32": (32, body(stream=True), "streams of 52 events, 32 connections"),
    "burst_c1": (1, body(stream=True, seed=6), "streams of 52 events in one write, 1 connection"),
    "burst_c32": (32, body(stream=True, seed=6), "the same, 32 connections"),
    "first_c1": (1, body(stream=True, seed=9), "streams of an event at once and 51 that come 10 ms later, 1 connection"),
    "first_c8": (8, body(stream=True, seed=9), "the same, 8 connections"),
    "paced_c8": (8, body(stream=True, seed=7), "streams of an event every 2 ms, 8 connections"),
}


def started(names: list[str], builds: dict[str, str], peers: Peers) -> dict:
    """Starts the peers and the other builds of thinkgate; those that cannot be started are left out."""
    running = {}
    for name in names:
        try:
            running[name] = peers.build(name, builds[name]) if name in builds else getattr(peers, name)()
        except (LookupError, OSError, AssertionError, RuntimeError, TimeoutError) as error:
            print(f"compare: {name} is left out: {error}", file=sys.stderr)
    return running


def table(load: str, what: str, rounds: list[dict], names: list[str]) -> str:
    """A Markdown table of one load."""
    lines = [
        f"{what} (`{load}`)",
        "",
        "| | rate / direct | p50 / direct | p99 / direct | first byte / direct | CPU us | errors |",
        "|---|---|---|---|---|---|---|",
    ]

    def ratio(name, key):
        values = [seen[name][key] / seen["direct"][key] for seen in rounds if seen[name][key] and seen["direct"][key]]
        return statistics.median(values) if values else float("nan")

    for name in names:
        if name not in rounds[0]:
            continue
        cpu = statistics.median(seen[name]["cpu_us"] for seen in rounds)
        errors = sum(seen[name]["errors"] for seen in rounds)
        ratios = [ratio(name, key) for key in ("rate", "p50", "p99", "first_p50")]
        shown = [f"{value:.3f}" if value < 1 else f"{value:.1f}" for value in ratios]
        shown_name = name.replace("_", " + ") if "envoy_" in name else name.replace("_", "-")
        lines.append(f"| {shown_name} | {' | '.join(shown)} | {cpu:.0f} | {errors} |")
    direct = statistics.median(seen["direct"]["rate"] for seen in rounds)
    return "\n".join([*lines, "", f"direct: {direct:.0f} requests a second", ""])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="scripts/compare")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--only", help=f"of {','.join(NAMES)}; direct is always included")
    parser.add_argument("--loads", default=",".join(LOADS), help=f"of {','.join(LOADS)}")
    parser.add_argument("--json", help="write every round there")
    parser.add_argument(
        "--build", action="append", default=[], metavar="NAME=FILE", help="another build of thinkgate, under this name"
    )
    options = parser.parse_args()
    names = ["direct", *[name for name in NAMES[1:] if not options.only or name in options.only.split(",")]]
    builds = dict(build.split("=", 1) for build in options.build)
    names += builds
    results: dict[str, list[dict]] = {load: [] for load in options.loads.split(",")}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        folder = pathlib.Path(folder)
        running = started(names, builds, Peers(folder, stack))
        for number in range(options.rounds):
            for load, rounds in results.items():
                connections, text, _ = LOADS[load]
                request = folder / f"{load}.json"
                request.write_text(text)
                rounds.append({name: measure(*running[name], connections, request, options.seconds) for name in running})
                time.sleep(0.2)
            print(f"compare: round {number + 1} of {options.rounds}, load average {os.getloadavg()[0]:.1f}", file=sys.stderr)
    for load, rounds in results.items():
        print(table(load, LOADS[load][2], rounds, names))
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(results))


if __name__ == "__main__":
    main()
