"""What a benchmark measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil, floor
from statistics import fmean, pstdev


@dataclass
class BenchmarkResult:
    """Times of executions in milliseconds; `estimated` if a model of the device made
    them up, and no device measured them. The standard deviation is the population's.
    `switch` is what alternating with another model costs, where that was asked for."""

    mean_ms: float
    min_ms: float
    max_ms: float
    std_dev_ms: float
    iterations: int
    warmup_iterations: int
    durations_ms: list[float] = field(default_factory=list)
    estimated: bool = False
    switch: SwitchResult | None = None

    @classmethod
    def from_durations(
        cls,
        durations_ms: Sequence[float],
        warmup_iterations: int,
        estimated: bool = False,
    ) -> BenchmarkResult:
        """Summarise at least one duration."""
        times = list(durations_ms)
        spread = fmean(times), min(times), max(times), pstdev(times)
        return cls(*spread, len(times), warmup_iterations, times, estimated)

    def percentile_ms(self, percent: float) -> float:
        """What so many percent of the durations do not exceed, interpolated linearly.

        Raises ValueError for what is not from 0 to 100, or without durations.
        """
        times = sorted(self.durations_ms)
        if not (0 <= percent <= 100 and times):
            raise ValueError(f"no {percent!r}th percentile of {len(times)} durations")
        place = (len(times) - 1) * percent / 100
        low, high = times[floor(place)], times[ceil(place)]
        return low + (high - low) * (place % 1)

    def __repr__(self) -> str:
        return (
            f"BenchmarkResult(mean={self.mean_ms:.4f}ms, min={self.min_ms:.4f}ms, "
            f"max={self.max_ms:.4f}ms, std_dev={self.std_dev_ms:.4f}ms, "
            f"iterations={self.iterations}, warmup_iterations={self.warmup_iterations}"
            f"{', estimated' if self.estimated else ''})"
        )


@dataclass(frozen=True)
class SwitchTimes:
    """Times of two models on one clock, in milliseconds.

    Attributes:
        first, second: of an execution of each after one of its own.
        pair: of both, each after one of the other.
        switch: what a switch costs: half of what a pair takes beyond `first` and
            `second` of the same round. On a clock that is not quiet some are negative.
    """

    first: BenchmarkResult
    second: BenchmarkResult
    pair: BenchmarkResult
    switch: BenchmarkResult

    def __repr__(self) -> str:
        said = [f"{name}={part.mean_ms:.4f}ms" for name, part in vars(self).items()]
        said += [f"p{p}={self.switch.percentile_ms(p):.4f}ms" for p in (50, 90, 99)]
        said += [f"iterations={len(self.switch.durations_ms)}"]
        said += ["estimated"] * self.switch.estimated
        return f"SwitchTimes({', '.join(said)})"


@dataclass(frozen=True)
class SwitchResult:
    """What alternating two models costs.

    Attributes:
        host: measured, on the host's clock.
        device: by libnrt's trace, in the mode "device"; else None. An estimate where
            the trace holds estimates, which its parts say.
    """

    host: SwitchTimes
    device: SwitchTimes | None
