"""Runs one function on inputs made from numbered seeds, for so many seconds.

    python -m tests.fuzz.fuzz_neff --seconds 60 --seed 1
    python -m tests.fuzz.fuzz_neff --seed 1 --case 4711        # that input once more

A failure is any exception but those that the function may raise, more processor time
than a case may take, or more memory. Its input is kept, and the run ends with exit
code 1. With ``--track FILE``, the number of the case that runs stands in that file: it
is what a crash of the process leaves behind.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

MAX_CPU_SECONDS = 5.0
MAX_BYTES = 3 << 30
_REPORT_EVERY = 5.0

#: Makes an input from a source of randomness.
Make = Callable[[random.Random], bytes]
#: Takes an input; raises only for defects. What it returns is counted.
Try = Callable[[bytes], str]


def main(
    make: Make,
    attempt: Try,
    argv: Sequence[str] | None = None,
    cpu_seconds: float = MAX_CPU_SECONDS,
) -> int:
    """The command line of a fuzzer, whose cases take so much time. The exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="run only this one")
    parser.add_argument("--track", help="a file for the number of the running case")
    options = parser.parse_args(argv)
    _limit_memory()
    if options.case is not None:
        outcome = _run(make, attempt, options.seed, options.case, cpu_seconds)
        if outcome is not None:
            print(f"seed {options.seed}, case {options.case}: {outcome}")
        return 0 if outcome else 1
    with open(options.track or os.devnull, "wb", buffering=0) as track:

        def tracked(raw: bytes) -> str:
            track.seek(0)
            track.write(b"%-12d" % next(numbers))
            return attempt(raw)

        numbers = itertools.count()
        return _loop(make, tracked, options.seed, options.seconds, cpu_seconds)


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MAX_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _loop(
    make: Make, attempt: Try, seed: int, seconds: float, cpu_seconds: float
) -> int:
    counts: dict[str, int] = {}
    end = time.monotonic() + seconds
    report = 0.0
    case = 0
    while time.monotonic() < end:
        outcome = _run(make, attempt, seed, case, cpu_seconds)
        if outcome is None:
            return 1
        counts[outcome] = counts.get(outcome, 0) + 1
        case += 1
        if time.monotonic() > report:
            print(f"seed {seed}, case {case}: {counts}", file=sys.stderr, flush=True)
            report = time.monotonic() + _REPORT_EVERY
    print(f"seed {seed}: {case} cases, {counts}")
    return 0


def _run(
    make: Make, attempt: Try, seed: int, case: int, cpu_seconds: float
) -> str | None:
    """The outcome of one case; None, after a report, if it shows a defect."""
    raw = make(random.Random(f"{seed}:{case}"))
    start = time.process_time()
    try:
        outcome = attempt(raw)
    except Exception:
        return _fail(raw, seed, case, traceback.format_exc())
    used = time.process_time() - start
    if used > cpu_seconds:
        return _fail(raw, seed, case, f"{used:.1f} s of processor time")
    return outcome


def _fail(raw: bytes, seed: int, case: int, why: str) -> None:
    with tempfile.NamedTemporaryFile(prefix="fuzz-", delete=False) as file:
        file.write(raw)
    print(f"seed {seed}, case {case}, kept in {file.name}:\n{why}", file=sys.stderr)
