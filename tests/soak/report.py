"""The summary at the end of a run."""

import collections
import itertools
import json
import pathlib

from incidents import Incidents
from traffic import Failure, Traffic
from watch import Watch

FAILURES_SHOWN = 8


def report(traffic: Traffic, incidents: Incidents, reloads: int, watch: Watch, cpu: float, log: pathlib.Path) -> None:
    requests(traffic)
    print("\nfaults")
    for name, count in sorted(collections.Counter(fault.name for fault in incidents.faults).items()):
        print(f"  {name:<24}{count:>6}")
    if not reloads:
        print("  reload                  none: this gateway does not reload its configuration")
    first, last, growth = watch.growth()
    early, late = watch.ends()
    print("\ngateway                    first tenth  last tenth")
    print(f"  resident MiB, floor      {first:>11.1f} {last:>11.1f}   {growth:+.1%}")
    for what, value in (("resident MiB, most", "rss_mb"), ("descriptors, most", "descriptors"), ("threads, most", "threads")):
        highest = [max(getattr(sample, value) for sample in end) for end in (early, late)]
        print(f"  {what:<25}{highest[0]:>11.0f} {highest[1]:>11.0f}")
    print(f"  processor time           {cpu:>11.1%} of a core")
    print(f"  decided by               {', '.join(f'{why} {count}' for why, count in traffic.decided.most_common())}")
    # One of each sort first: ten of the same say no more than one.
    by_sort = itertools.groupby(sorted(traffic.failures, key=sort), key=sort)
    chosen = [failures for _, group in by_sort for failures in list(group)[:2]]
    for failure in chosen[:FAILURES_SHOWN]:
        print(f"\n{failure}")
        for line in lines_about(log, failure.ask.id):
            print(f"  gateway: {line}")
    print(flush=True)


def sort(failure: Failure) -> tuple[str, str, str]:
    return failure.outcome.what, failure.outcome.code, failure.ask.kind


def requests(traffic: Traffic) -> None:
    kinds = sorted({kind for kind, _ in traffic.book})
    entries = sorted({entry for _, entry in traffic.book}, key=lambda entry: (entry != "whole", entry != "left", entry))
    print("\nrequests                       all" + "".join(f"  {entry}" for entry in entries))
    for kind in [*kinds, "all"]:
        counts = [sum(traffic.book[k, entry] for k in ([kind] if kind != "all" else kinds)) for entry in entries]
        cells = "".join(f"  {count or '':>{len(entry)}}" for entry, count in zip(entries, counts, strict=True))
        print(f"  {kind:<24}{sum(counts):>8}{cells}")


def lines_about(log: pathlib.Path, request: str) -> list[str]:
    """What the gateway logged of a request."""
    found = []
    with open(log, errors="replace") as lines:
        for line in lines:
            if f'"{request}"' in line:
                try:
                    line = json.dumps({k: v for k, v in json.loads(line).items() if v not in (None, "")})
                except ValueError:
                    pass
                found.append(line.strip())
    return found[:5]
