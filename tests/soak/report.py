"""Prints the summary at the end of a run."""

import collections
import contextlib
import itertools
import json
import pathlib

from .fault_log import FaultLog
from .resource_monitor import ResourceMonitor
from .traffic import Failure, Traffic

FAILURES_SHOWN = 8


def report(traffic: Traffic, fault_log: FaultLog, reloads: int, monitor: ResourceMonitor, cpu: float, log: pathlib.Path) -> None:
    """Prints requests by outcome, faults, the gateway's resources, and the first failures."""
    print_requests(traffic)
    print("\nfaults")
    for name, count in sorted(collections.Counter(fault.name for fault in fault_log.faults).items()):
        print(f"  {name:<24}{count:>6}")
    if not reloads:
        print("  reload                  none: this gateway does not reload its configuration")
    first, last, growth = monitor.growth()
    early, late = monitor.first_and_last_tenth()
    print("\ngateway                    first tenth  last tenth")
    print(f"  resident MiB, floor      {first:>11.1f} {last:>11.1f}   {growth:+.1%}")
    for what, value in (("resident MiB, most", "rss_mb"), ("descriptors, most", "descriptors"), ("threads, most", "threads")):
        highest = [max(getattr(sample, value) for sample in end) for end in (early, late)]
        print(f"  {what:<25}{highest[0]:>11.0f} {highest[1]:>11.0f}")
    print(f"  processor time           {cpu:>11.1%} of a core")
    print(f"  decided by               {', '.join(f'{why} {count}' for why, count in traffic.decisions.most_common())}")
    # At most two failures of each kind.
    by_kind = itertools.groupby(sorted(traffic.failures, key=failure_kind), key=failure_kind)
    chosen = [failures for _, group in by_kind for failures in list(group)[:2]]
    for failure in chosen[:FAILURES_SHOWN]:
        print(f"\n{failure}")
        for line in lines_about(log, failure.request.id):
            print(f"  gateway: {line}")
    print(flush=True)


def failure_kind(failure: Failure) -> tuple[str, str, str]:
    """Failures with the same outcome of the same kind of request."""
    return failure.outcome.what, failure.outcome.code, failure.request.kind


def print_requests(traffic: Traffic) -> None:
    """Prints a table of requests by kind and outcome."""
    kinds = sorted({kind for kind, _ in traffic.counts})
    entries = sorted(
        {entry for _, entry in traffic.counts}, key=lambda entry: (entry != "complete", entry != "disconnected", entry)
    )
    print("\nrequests                       all" + "".join(f"  {entry}" for entry in entries))
    for kind in [*kinds, "all"]:
        counts = [sum(traffic.counts[k, entry] for k in ([kind] if kind != "all" else kinds)) for entry in entries]
        cells = "".join(f"  {count or '':>{len(entry)}}" for entry, count in zip(entries, counts, strict=True))
        print(f"  {kind:<24}{sum(counts):>8}{cells}")


def lines_about(log: pathlib.Path, request: str) -> list[str]:
    """The first lines that the gateway logged about a request."""
    found = []
    with log.open(errors="replace") as lines:
        for line in lines:
            if f'"{request}"' in line:
                with contextlib.suppress(ValueError):
                    line = json.dumps({k: v for k, v in json.loads(line).items() if v not in (None, "")})
                found.append(line.strip())
    return found[:5]
