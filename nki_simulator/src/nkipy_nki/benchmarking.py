"""``nki.benchmark`` and ``nki.profile``: how long a kernel takes, as an estimate.

On a device these measure. Here a kernel runs by the simulator, and what it takes is
estimated from its program; nothing is measured, so each run takes as long as another.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nkipy.chips import Chip
from nkipy_nki.capturing import kept_out_of_graphs
from nkipy_nki.errors import NkiValidationError
from nkipy_nki.findings import NkiWarning
from nkipy_nki.kernel import Kernel, jit, simulate, tracer_of
from nkipy_nki.pickling import ByName
from nkipy_nki.running import is_running
from nkipy_nki.simulation import Simulation, Simulator
from nkipy_nki.timing import Report

__all__ = ["BenchmarkResult", "Estimated", "Latency", "benchmark", "profile"]

#: Those that the vendor's has, in percent.
PERCENTILES = (0, 1, 10, 25, 50, 90, 99, 100)
#: The name of the trace that ``nki.profile`` writes unless told.
_TRACE = "profile.ntff"


@dataclass(frozen=True)
class Latency:
    """How long a kernel takes: an estimate.

    Attributes:
        ns: the estimated time in ns.
        estimate: True: it was not measured.
    """

    ns: float
    estimate: bool = True

    def get_latency_percentile(self, percentile: int) -> float:
        """The latency in us, which of an estimate is the same for each percentile.

        Raises:
            ValueError: it is none of 0, 1, 10, 25, 50, 90, 99 and 100.
        """
        if percentile not in PERCENTILES:
            known = ", ".join(map(str, PERCENTILES))
            raise ValueError(f"no percentile {percentile!r}: there are {known}")
        return self.ns / 1000

    def __str__(self) -> str:
        return f"{self.ns / 1000:.2f} us (estimate)"


@dataclass(frozen=True)
class BenchmarkResult:
    """What a run of a kernel under ``nki.benchmark`` or ``nki.profile`` gave.

    Attributes:
        nc_latency: the estimated time of its slowest core.
        reports: where each core's time goes.
        simulation: the run.
    """

    nc_latency: Latency
    reports: tuple[Report, ...]
    simulation: Simulation

    def __str__(self) -> str:
        slowest = max(self.reports, key=lambda report: report.total)
        return f"{slowest}\n\n  latency {self.nc_latency}, of every run alike"


def result_of(run: Simulation) -> BenchmarkResult:
    """The estimated times of a run."""
    reports = tuple(run.report(core) for core in range(len(run.programs)))
    latency = Latency(max(report.total for report in reports))
    return BenchmarkResult(latency, reports, run)


@kept_out_of_graphs
class Estimated(ByName):
    """A kernel whose time is told when it is called.

    Args:
        kernel: the kernel.
        tell: what is done with each result.
        target: the chip.

    Attributes:
        kernel: the kernel.
    """

    def __init__(
        self,
        kernel: Kernel,
        tell: Callable[[BenchmarkResult], None],
        target: str | Chip | None = None,
    ) -> None:
        self.kernel = kernel
        self._tell, self._target = tell, target
        self._result: BenchmarkResult | None = None
        functools.update_wrapper(self, kernel.func)

    def __repr__(self) -> str:
        return f"<estimated {self.kernel!r}>"

    def __getitem__(self, lnc: Any) -> Estimated:
        """The same for 1 or 2 cores."""
        return Estimated(self.kernel[lnc], self._tell, self._target)

    @property
    def benchmark_result(self) -> BenchmarkResult:
        """The result of the last call.

        Raises:
            NkiValidationError: there was none.
        """
        if self._result is None:
            raise NkiValidationError(
                f"{self.kernel.func.__name__} has not run yet: call it with arrays, "
                "and then ask for benchmark_result"
            )
        return self._result

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the kernel on arrays, and tell its estimated time.

        In a program that is being traced it is part of that, and no time is told.

        Returns:
            What the kernel returns, arrays for tensors.

        Raises:
            NkiValidationError: it does what is not allowed.
        """
        if is_running() or tracer_of(args, kwargs):
            return self.kernel(*args, **kwargs)
        run = simulate(self.kernel, target=self._target).run(*args, **kwargs)
        self._result = result_of(run)
        self._tell(self._result)
        return run.values

    def __nki_simulator__(
        self, target: str | Chip | None, findings: Mapping[str, str] | None
    ) -> Simulator:
        return simulate(self.kernel, target=target or self._target, findings=findings)


def benchmark(
    kernel: Any = None,
    *,
    warmup: int = 10,
    iters: int = 100,
    save_neff_name: str | None = None,
    save_trace_name: str | None = None,
    additional_compile_opt: str = "",
    device_id: int = 0,
    target: str | Chip | None = None,
) -> Any:
    """Tell how long a kernel takes when it is called: a decorator, or a function of it.

    A call runs the kernel once by the simulator, prints to stdout where its estimated
    time goes, and keeps that as ``benchmark_result``, whose
    ``nc_latency.get_latency_percentile(50)`` is in us.

    Args:
        kernel: a kernel, ``kernel[2]`` or a function.
        warmup: runs before the measured ones; checked, and of no effect.
        iters: measured runs; checked, and of no effect.
        save_neff_name: warned of: no NEFF is made here.
        save_trace_name: where to write the timeline; of the name, the ending becomes
            ``.json``, which https://ui.perfetto.dev opens.
        additional_compile_opt: of the vendor's compiler; of no effect.
        device_id: of no effect.
        target: the chip, such as ``"trn2"``.

    Returns:
        An :class:`Estimated`; without `kernel`, what makes one of it.

    Raises:
        ValueError: `warmup` is negative, or `iters` not positive.
    """
    if warmup < 0 or iters < 1:
        raise ValueError(
            f"benchmark takes warmup >= 0 and iters >= 1, not {warmup} and {iters}"
        )
    _warn_of_neff("benchmark", save_neff_name)

    def tell(result: BenchmarkResult) -> None:
        sys.stdout.write(f"{result}\n")
        if save_trace_name is not None:
            result.reports[0].save(Path(save_trace_name).with_suffix(".json"))

    return _estimated(kernel, tell, target)


def profile(
    func: Any = None,
    *,
    working_directory: str | os.PathLike[str] | None = None,
    save_neff_name: str | None = None,
    save_trace_name: str = _TRACE,
    additional_compile_opt: str = "",
    overwrite: bool = False,
    profile_nth: int = 1,
    target: str | Chip | None = None,
) -> Any:
    """Write where a kernel's time goes when it is called: a decorator.

    A call runs the kernel once by the simulator, and writes to `working_directory`
    estimates in three files, which have the name of the trace but for its ending:
    ``profile.json``, the timeline, for https://ui.perfetto.dev; ``profile.html``, a
    page; and ``profile_summary.json``, :meth:`Report.as_json`. Those of a logical
    core's second core begin with ``core1_``.

    Args:
        func: a kernel or a function.
        working_directory: an absolute path; it is made where it is missing.
        save_neff_name: warned of: no NEFF is made here.
        save_trace_name: the name of the trace.
        additional_compile_opt: of the vendor's compiler; of no effect.
        overwrite: whether files that are there may be replaced.
        profile_nth: which execution is profiled; all are alike.
        target: the chip, such as ``"trn2"``.

    Returns:
        An :class:`Estimated`; without `func`, what makes one of it.

    Raises:
        ValueError: `working_directory` is not given or not absolute, or `profile_nth`
            is not positive.
        FileExistsError: in a call: a file is there, and `overwrite` false.
    """
    if working_directory is None or not os.path.isabs(working_directory):
        raise ValueError(
            "profile takes a working_directory, an absolute path, and received "
            f"{working_directory!r}"
        )
    if profile_nth < 1:
        raise ValueError(f"profile takes profile_nth >= 1, not {profile_nth}")
    _warn_of_neff("profile", save_neff_name)
    folder, stem = Path(working_directory), Path(save_trace_name).stem

    def tell(result: BenchmarkResult) -> None:
        for core, report in enumerate(result.reports):
            _write(report, folder, f"core{core}_{stem}" if core else stem, overwrite)

    return _estimated(func, tell, target)


def _estimated(
    kernel: Any, tell: Callable[[BenchmarkResult], None], target: str | Chip | None
) -> Any:
    if kernel is None:
        return lambda func: Estimated(jit(func), tell, target)
    return Estimated(jit(kernel), tell, target)


def _warn_of_neff(name: str, path: str | None) -> None:
    if path is not None:
        text = f"nki.{name}: save_neff_name={path!r} is left out: no NEFF is made here"
        warnings.warn(NkiWarning(text), stacklevel=3)


def _write(report: Report, folder: Path, stem: str, overwrite: bool) -> None:
    """Write a report's files.

    Raises:
        FileExistsError: one is there, and may not be replaced.
    """
    texts = {
        f"{stem}.json": json.dumps(report.timeline()),
        f"{stem}.html": report.page(),
        f"{stem}_summary.json": json.dumps(report.as_json()),
    }
    there = [name for name in texts if (folder / name).exists()]
    if there and not overwrite:
        raise FileExistsError(
            f"{', '.join(there)} in {folder}: overwrite=True replaces what is there"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
