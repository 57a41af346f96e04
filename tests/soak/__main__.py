"""Puts thinkgate in front of two real vLLMs under mixed traffic while things go wrong every few seconds, and looks for
requests that are lost, answers that are mixed up, failures without a cause, and growth. See scripts/soak."""

import argparse
import asyncio
import collections
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "real"))

from asks import Mix  # noqa: E402
from cast import MODEL, Cast  # noqa: E402
from faults import Faults  # noqa: E402
from incidents import Incidents  # noqa: E402
from report import report  # noqa: E402
from traffic import Traffic  # noqa: E402
from truth import Truth  # noqa: E402
from watch import GROWTH, GROWTH_WHEN_YOUNG, YOUNG_S, Watch, rest  # noqa: E402

CLIENTS = 16
RESTART_EVERY_S = 280
WARM_UP_S = 15
EXIT_S = 10


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("minutes", type=float, nargs="?", default=30)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 16), help="repeats the choices, not the timing")
    return parser.parse_args()


def restarts(seconds: float) -> list[float]:
    """When a vLLM is killed: once in a short run, every few minutes in a long one, never so late that it is not seen to come back."""
    times = [0.2 * seconds + RESTART_EVERY_S * n for n in range(100)]
    return [at for at in times if at == times[0] or at < seconds - 120]


async def soak(minutes: float, seed: int, folder: pathlib.Path) -> list[str]:
    """All problems that were found."""
    cast = Cast(folder)
    try:
        print(f"soak: {minutes:g} minutes, seed {seed}; two vLLMs are starting", flush=True)
        await cast.start()
        return await run(cast, minutes * 60, seed)
    finally:
        cast.stop()


async def run(cast: Cast, seconds: float, seed: int) -> list[str]:
    truth = await asyncio.to_thread(Truth, cast.model, cast.servers[0].vllm.port, MODEL)
    before = len(cast.gateway.descriptors())
    incidents, watch = Incidents(len(cast.servers)), Watch(cast)
    traffic = Traffic(cast.port, Mix(MODEL, seed, truth.lasts()), truth, incidents)
    faults = Faults(cast, traffic, incidents, restarts(seconds))
    stop_clients, stop_faults, stop_watch = asyncio.Event(), asyncio.Event(), asyncio.Event()

    clients = asyncio.create_task(traffic.clients(CLIENTS, stop_clients))
    await asyncio.sleep(2)
    await warm_up(traffic, faults)
    cpu, threads, start = cast.gateway.cpu_seconds(), cast.gateway.status("Threads"), time.monotonic()
    watching = asyncio.create_task(watch.run(stop_watch, traffic, incidents, seconds / 60))
    trouble = asyncio.create_task(faults.run(stop_faults))
    # None of them ends before it is told to, unless this script has a defect of its own.
    ended, _ = await asyncio.wait({clients, watching, trouble}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in ended:
        task.result()
    stop_faults.set()
    await trouble
    answered = await attempts(cast, 15)
    cpu = (cast.gateway.cpu_seconds() - cpu) / (time.monotonic() - start)
    stop_watch.set()
    await watching
    stop_clients.set()
    await clients

    problems = [f"endpoint {server.name} is not asked any more" for server, count in zip(cast.servers, answered, strict=True) if not count]
    problems += await rest(cast, before, threads)
    problems += await ends_well(cast)
    problems += [f"the gateway logged: {line}" for line in complaints(cast.folder / "thinkgate.log")]
    first, last, growth = watch.growth()
    if growth > (GROWTH if seconds >= YOUNG_S else GROWTH_WHEN_YOUNG):
        problems.append(f"the gateway has grown by {growth:.1%}, from {first:.1f} to {last:.1f} MiB")
    if traffic.failures:
        problems.append(f"{len(traffic.failures)} requests failed without a cause")
    report(traffic, incidents, faults.reloads, watch, cpu, cast.folder / "thinkgate.log")
    return problems


async def warm_up(traffic: Traffic, faults: Faults) -> None:
    """Everything that takes memory, once and all of it together, so that what the gateway holds afterwards is its size.

    Nothing is wrong with vLLM meanwhile: whatever fails has no excuse at all, but for being one too many."""
    await faults.burst()
    heavy = [make() for make in (traffic.mix.reads_slowly, traffic.mix.too_big, traffic.mix.long) for _ in range(6)]
    await asyncio.gather(*(traffic.ask_once(ask) for ask in heavy))
    await faults.burst()
    await asyncio.sleep(WARM_UP_S)


async def attempts(cast: Cast, seconds: float) -> list[int]:
    """How many connections each vLLM gets from now on, when all is well again."""
    taken = [server.relay.taken for server in cast.servers]
    await asyncio.sleep(seconds)
    return [max(server.relay.taken - count, server.relay.open()) for server, count in zip(cast.servers, taken, strict=True)]


def complaints(log: pathlib.Path) -> list[str]:
    """Panics, and what thinkgate calls an error: no model server is a cause of those, but for a file that we broke ourselves."""
    bad = ('"level":"ERROR"', "panicked")
    lines = log.read_text(errors="replace").splitlines()
    return [line[:300] for line in lines if any(word in line for word in bad) and "thinkgate::reload" not in line]


async def ends_well(cast: Cast) -> list[str]:
    process, start = cast.gateway.process, time.monotonic()
    process.send_signal(signal.SIGTERM)
    try:
        status = await asyncio.to_thread(process.wait, EXIT_S)
    except subprocess.TimeoutExpired:
        return [f"after SIGTERM, with nothing in flight, it still ran {time.monotonic() - start:.0f} s later"]
    return [f"status {status} after SIGTERM"] if status else []


def main() -> int:
    given = arguments()
    # Whoever ends the run from outside ends its servers too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
    folder = pathlib.Path(tempfile.mkdtemp(prefix="thinkgate-soak-"))
    problems = asyncio.run(soak(given.minutes, given.seed, folder))
    if not problems:
        shutil.rmtree(folder)
        print("soak: nothing lost, nothing mixed up, every failure explained, nothing left behind")
        return 0
    for problem, count in collections.Counter(problems).items():
        print(f"soak: FAILED: {problem}" + (f" ({count} times)" if count > 1 else ""))
    print(f"soak: the logs are in {folder}; the same choices again: scripts/soak {given.minutes:g} --seed {given.seed}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
