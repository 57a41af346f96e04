"""Runs thinkgate in front of two real vLLMs under mixed traffic, with a fault every few seconds. Looks for lost requests,
mixed-up answers, failures that no fault explains, and growth. scripts/soak runs it."""

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

from .expected_answers import ExpectedAnswers
from .fault_injector import FaultInjector
from .fault_log import FaultLog
from .report import report
from .request_mix import RequestMix
from .resource_monitor import LONG_RUN_S, MAX_GROWTH, MAX_GROWTH_SHORT_RUN, ResourceMonitor, find_leftovers
from .scenario import MODEL, Scenario
from .traffic import Traffic

CLIENTS = 16
RESTART_EVERY_S = 280
WARM_UP_S = 15
EXIT_S = 10


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("minutes", type=float, nargs="?", default=30)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 16), help="repeats the choices, not the timing")
    return parser.parse_args()


def restarts(seconds: float) -> list[float]:
    """When a vLLM is killed, in seconds: once in a short run, every few minutes in a long one, early enough to see it restart."""
    times = [0.2 * seconds + RESTART_EVERY_S * n for n in range(100)]
    return [at for at in times if at == times[0] or at < seconds - 120]


async def soak(minutes: float, seed: int, folder: pathlib.Path) -> list[str]:
    """Starts the servers, runs the test, and returns the problems that it found."""
    scenario = Scenario(folder)
    try:
        print(f"soak: {minutes:g} minutes, seed {seed}; two vLLMs are starting", flush=True)
        await scenario.start()
        return await run(scenario, minutes * 60, seed)
    finally:
        scenario.stop()


async def run(scenario: Scenario, seconds: float, seed: int) -> list[str]:
    """Runs traffic and faults for `seconds`; returns the problems."""
    expected = await asyncio.to_thread(ExpectedAnswers, scenario.model, scenario.servers[0].vllm.port, MODEL)
    descriptors_before = len(scenario.gateway.descriptors())
    fault_log, monitor = FaultLog(len(scenario.servers)), ResourceMonitor(scenario)
    traffic = Traffic(scenario.port, RequestMix(MODEL, seed, expected.stop_tokens()), expected, fault_log)
    faults = FaultInjector(scenario, traffic, fault_log, restarts(seconds))
    stop_clients, stop_faults, stop_monitor = asyncio.Event(), asyncio.Event(), asyncio.Event()

    clients = asyncio.create_task(traffic.clients(CLIENTS, stop_clients))
    await asyncio.sleep(2)
    await warm_up(traffic, faults)
    cpu, threads, start = scenario.gateway.cpu_seconds(), scenario.gateway.status("Threads"), time.monotonic()
    monitoring = asyncio.create_task(monitor.run(stop_monitor, traffic, fault_log, seconds / 60))
    injecting = asyncio.create_task(faults.run(stop_faults))
    # Each of them runs until it is stopped. One that ends earlier has raised an exception.
    ended, _ = await asyncio.wait({clients, monitoring, injecting}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in ended:
        task.result()
    stop_faults.set()
    await injecting
    connections = await new_connections(scenario, 15)
    cpu = (scenario.gateway.cpu_seconds() - cpu) / (time.monotonic() - start)
    stop_monitor.set()
    await monitoring
    stop_clients.set()
    await clients

    problems = [
        f"endpoint {server.name} gets no more requests"
        for server, count in zip(scenario.servers, connections, strict=True)
        if not count
    ]
    problems += await find_leftovers(scenario, descriptors_before, threads)
    problems += await check_exit(scenario)
    problems += [f"the gateway logged: {line}" for line in logged_errors(scenario.folder / "thinkgate.log")]
    first, last, growth = monitor.growth()
    if growth > (MAX_GROWTH if seconds >= LONG_RUN_S else MAX_GROWTH_SHORT_RUN):
        problems.append(f"the gateway has grown by {growth:.1%}, from {first:.1f} to {last:.1f} MiB")
    problems += faults.attacks.problems
    if traffic.failures:
        problems.append(f"{len(traffic.failures)} requests failed without a cause")
    report(traffic, fault_log, faults.reloads, monitor, cpu, scenario.folder / "thinkgate.log")
    return problems


async def warm_up(traffic: Traffic, faults: FaultInjector) -> None:
    """Sends everything that takes memory at once, so that the gateway reaches its size.

    There are no faults meanwhile but the burst, so nothing may fail except by `max_in_flight`.
    """
    await faults.burst()
    for attack in faults.attacks.kinds:
        await attack()
    heavy = [make() for make in (traffic.mix.reads_slowly, traffic.mix.too_big, traffic.mix.long) for _ in range(6)]
    await asyncio.gather(*(traffic.send_once(request) for request in heavy))
    await faults.burst()
    await asyncio.sleep(WARM_UP_S)


async def new_connections(scenario: Scenario, seconds: float) -> list[int]:
    """The number of connections that each vLLM gets in the next `seconds`, without faults."""
    accepted = [server.relay.accepted for server in scenario.servers]
    await asyncio.sleep(seconds)
    return [
        max(server.relay.accepted - count, server.relay.open_connections())
        for server, count in zip(scenario.servers, accepted, strict=True)
    ]


def logged_errors(log: pathlib.Path) -> list[str]:
    """Panics and lines of level ERROR, which model servers must not cause. Errors about a truncated configuration are left out."""
    bad = ('"level":"ERROR"', "panicked")
    lines = log.read_text(errors="replace").splitlines()
    return [line[:300] for line in lines if any(word in line for word in bad) and '::reload"' not in line]


async def check_exit(scenario: Scenario) -> list[str]:
    """Sends SIGTERM to the gateway, which must end at once with status 0."""
    process, start = scenario.gateway.process, time.monotonic()
    process.send_signal(signal.SIGTERM)
    try:
        status = await asyncio.to_thread(process.wait, EXIT_S)
    except subprocess.TimeoutExpired:
        return [f"after SIGTERM, with nothing in flight, it still ran {time.monotonic() - start:.0f} s later"]
    return [f"status {status} after SIGTERM"] if status else []


def main() -> int:
    """Command line; returns the exit status."""
    given = arguments()
    # SIGTERM ends the run in an orderly way, so that its servers end too.
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
