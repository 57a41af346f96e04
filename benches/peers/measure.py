"""Measures a load: the rates and times that the rig reports, and the processor time and memory of the programs under load."""

import contextlib
import json
import os
import pathlib
import subprocess

from .peers import RIG

TICK = os.sysconf("SC_CLK_TCK")
PROC = pathlib.Path("/proc")


def seconds_of(processes) -> float:
    """The user and system time of the programs and all their child processes so far."""
    parents, times = {}, {}
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):  # the process has ended meanwhile
                fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
                parents.setdefault(int(fields[1]), []).append(int(folder.name))
                times[int(folder.name)] = int(fields[11]) + int(fields[12])
    todo, total = [child.process.pid for child in processes], 0
    while todo:
        pid = todo.pop()
        total += times.get(pid, 0)
        todo += parents.get(pid, [])
    return total / TICK


def resident(child) -> float:
    """The resident memory of a program in MiB."""
    lines = (PROC / str(child.process.pid) / "status").read_text().splitlines()
    [kib] = [line.split()[1] for line in lines if line.startswith("VmRSS:")]
    return int(kib) / 1024


def measure(port: int, processes, connections: int, requests: pathlib.Path, seconds: float, *once: str) -> dict:
    """Sends requests to a port for `seconds`; measures the processor time of `processes`.

    `requests` is a file with a request a line. With the argument "once" each of them is sent at most once.
    """
    before = seconds_of(processes)
    command = [RIG, "load", f"127.0.0.1:{port}", requests, str(connections), str(seconds), *once]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 60).stdout
    seen = json.loads(out)
    seen["cpu_us"] = (seconds_of(processes) - before) * 1e6 / max(seen["n"], 1)
    return seen
