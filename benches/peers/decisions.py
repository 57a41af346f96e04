"""What deciding costs through the HTTP door. Loads take turns with the same requests whose client chose for itself, so that
nothing is decided: what is shown is the difference, or the ratio, within a round, and the median over the rounds."""

import argparse
import contextlib
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

import prompts
from measure import measure, resident
from peers import RIG, Peers

DEADLINE_MS = 100  # the default of classifier.deadline_ms
POOL = 200  # different prompts that are asked again and again
MEMORY = (20_000, 40_000, 40_000)  # requests between two looks at the memory, a quarter of them with new prompts
STREAMS = 1_000
STARTS = 5
# name: connections, whether its prompts are new, the most a connection asks in a second
LOADS = {
    "one": (1, True, 700),
    "many": (32, True, 150),
    "overload": (128, True, 50),
    "cached_one": (1, False, 0),
    "cached": (32, False, 0),
}


class Crew:
    """A gateway with so many sessions and threads, and the loads on it so far."""

    def __init__(self, name: str, peers: Peers):
        sessions, _, threads = name.partition("x")
        self.name, self.peers, self.loads = name, peers, {load: [] for load in LOADS}
        self.env = {"THINKGATE_CLASSIFIER__SESSIONS": sessions, "THINKGATE_CLASSIFIER__THREADS": threads} if threads else {}

    def start(self, what: str, ready: str = "/ready"):
        return self.peers.thinkgate_with(f"{self.name}-{what}", "", self.env, ready)

    def load(self, load: str, child, folder: pathlib.Path, supply, seconds: float) -> None:
        """One round: the same prompts decided, and with the client's own choice."""
        connections, is_new, pace = LOADS[load]
        count = int(connections * pace * seconds) + connections if is_new else POOL
        texts = list(itertools.islice(supply if is_new else prompts.written(seed=1), count))
        chosen = write(folder / "chosen", [prompts.chat(text, reasoning_effort="low") for text in texts])
        decided = write(folder / "decided", [prompts.chat(text) for text in texts])
        if not is_new:
            measure(child.port, [child], 2, decided, 60, "once")  # so that they are remembered
        rounds = self.loads[load]
        files = {"chosen": chosen, "decided": decided}
        names = sorted(files, reverse=len(rounds) % 2 == 1)  # who comes first changes
        once = {"decided": ["once"]} if is_new else {}
        rounds.append({name: measure(child.port, [child], connections, files[name], seconds, *once.get(name, [])) for name in names})
        if is_new and rounds[-1]["decided"]["seconds"] < 0.9 * seconds:
            say(f"the prompts for `{load}` were used up after {rounds[-1]['decided']['seconds']:.1f} s")

    def over_rounds(self, load: str, of) -> float:
        return statistics.median(of(seen["chosen"], seen["decided"]) for seen in self.loads[load])


def say(what: str) -> None:
    print(f"decisions: {what}", file=sys.stderr)


def write(path: pathlib.Path, lines: list[str]) -> pathlib.Path:
    path.write_text("\n".join(lines))
    return path


def start_to_ready(crew: Crew) -> str:
    """From the start of the process to the first 200 of /ready."""
    times = []
    for number in range(STARTS):
        began = time.monotonic()
        with crew.start(f"start{number}", ready="") as child:
            while time.monotonic() < began + 60:
                with contextlib.suppress(OSError, http.client.HTTPException):
                    if child.get("/ready")[0] == 200:
                        break
                time.sleep(0.005)
            times.append(time.monotonic() - began)
    return f"{statistics.median(times):.2f} s"


def memory(crew: Crew, folder: pathlib.Path, supply) -> str:
    """Resident memory of a fresh gateway while requests pass, of every four one with a new prompt."""
    known = list(itertools.islice(prompts.written(seed=1), POOL))
    with crew.start("memory") as child:
        seen = [resident(child)]
        for count in MEMORY:
            texts = [next(supply) if number % 4 == 0 else known[number % POOL] for number in range(count)]
            measure(child.port, [child], 32, write(folder / "mixed", [prompts.chat(text) for text in texts]), 120, "once")
            seen.append(resident(child))
    return ", ".join(f"{mib:.0f}" for mib in seen) + " MiB"


def idle_streams(crew: Crew, folder: pathlib.Path) -> str:
    """What a gateway that has served a little holds for each stream that waits for its next event."""
    texts = itertools.islice(prompts.written(seed=1), POOL)
    request = write(folder / "paused", [prompts.chat(text, stream=True, seed=8, reasoning_effort="low") for text in texts])
    plain = write(folder / "plain", [prompts.chat("hello", stream=True)])
    with crew.start("idle") as child:
        measure(child.port, [child], 64, plain, 1)
        before = resident(child)
        command = [RIG, "hold", f"127.0.0.1:{child.port}", request, str(STREAMS), "100"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
            held = json.loads(holder.stdout.readline())
            time.sleep(1)
            after = resident(child)
            holder.kill()
    if held["errors"]:
        say(f"{held['errors']} of {STREAMS} streams could not be opened: {held['error']}")
    return f"{(after - before) * 1024 / max(held['held'], 1):.1f} KiB"


def added(quantile: str):
    return lambda chosen, decided: (decided[quantile] - chosen[quantile]) / 1e3


def ratio(key: str):
    return lambda chosen, decided: decided[key] / chosen[key]


def per_decision(_, decided) -> float:
    return decided["why"].get("classifier", 0) / decided["seconds"]


def fell_back(_, decided) -> float:
    return decided["why"].get("fallback", 0) / max(decided["n"], 1)


def rows(load: str, crew: Crew) -> dict[str, str]:
    """What is shown of a load."""
    connections, is_new, _ = LOADS[load]
    of = lambda what: crew.over_rounds(load, what)  # noqa: E731
    at = f"{connections} connection{'s' * (connections > 1)}, " + ("every prompt new" if is_new else "decisions remembered")
    if not is_new:
        return {f"{at}: rate, p50 beside no decision": f"{of(ratio('rate')):.2f}, {of(ratio('p50')):.2f}"}
    shown = {f"{at}: added at p50, p99": f"{of(added('p50')):.2f}, {of(added('p99')):.2f} ms"}
    if connections > 1:
        shown[f"{at}: decisions a second, fell back"] = f"{of(per_decision):.0f}, {of(fell_back):.1%}"
    return shown


def shown(crew: Crew, options) -> dict[str, str]:
    table = {}
    for load in LOADS:
        if crew.loads[load]:
            table |= rows(load, crew)
    return table


def run(options, folder: pathlib.Path, stack: contextlib.ExitStack) -> tuple[list[Crew], dict[str, dict[str, str]]]:
    supply = prompts.new(options.data)
    peers = Peers(folder, stack)
    crews = [Crew(name, peers) for name in options.crews.split(",")]
    loads = [load for load in LOADS if load in options.only]
    running = {crew: crew.start("loads") for crew in crews} if loads else {}
    for number in range(options.rounds if loads else 0):
        for load, crew in itertools.product(loads, crews):
            crew.load(load, running[crew], folder, supply, options.seconds)
        say(f"round {number + 1} of {options.rounds}, load average {os.getloadavg()[0]:.1f}")
    for child in running.values():
        child.stop()
    tables = {crew.name: shown(crew, options) for crew in crews}
    singles = {
        "start": ("start to /ready", start_to_ready),
        "idle": (f"memory of an idle stream, of {STREAMS:,}", lambda crew: idle_streams(crew, folder)),
        "memory": (f"resident when ready and after {', '.join(f'{n:,}' for n in itertools.accumulate(MEMORY))} requests", lambda crew: memory(crew, folder, supply)),
    }
    for name, (what, single) in singles.items():
        for crew in crews if name in options.only else []:
            say(f"{name}, {crew.name}")
            tables[crew.name][what] = single(crew)
    return crews, tables


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/decisions")
    parts = [*LOADS, "start", "idle", "memory"]
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--crews", default="default", help="such as default,1x2,2x1: sessions x threads")
    parser.add_argument("--only", type=lambda text: text.split(","), default=parts, help=f"of {','.join(parts)}")
    parser.add_argument("--data", type=pathlib.Path, default=os.environ.get("DATA_DIR"), help="a folder of prompts")
    parser.add_argument("--json", help="write every round there")
    options = parser.parse_args()
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))  # an idle stream is an open file at each end
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        crews, tables = run(options, pathlib.Path(folder), stack)
    print(f"| deadline {DEADLINE_MS} ms | {' | '.join(tables)} |\n|---|{'---|' * len(tables)}")
    for what in next(iter(tables.values())):
        print(f"| {what} | {' | '.join(table[what] for table in tables.values())} |")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps({crew.name: crew.loads for crew in crews}))


if __name__ == "__main__":
    main()
