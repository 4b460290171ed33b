"""What compiled functions have done in this process: spike-torch counts it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from spike_torch import programs


@dataclass(frozen=True)
class RuntimeStats:
    """Of all compiled functions, since the start or since reset_stats.

    Times are in milliseconds.

    Attributes:
        total_executions: programs that were run.
        total_compile_count: programs that were compiled, or found compiled.
        bucket_hits: executions of programs with dynamic sizes, by the size of their
            bucket; by a tuple where there are several sizes. What goes beyond thousands
            of buckets is counted under ().
        total_pad_ratio_sum: the sum, over all executions, of the bucket's size divided
            by the data's: 1 for what is not padded.
        total_execution_time_ms, min_execution_time_ms, max_execution_time_ms: of calls,
            from their inputs to their outputs; 0.0 where there was none.
        total_h2d_time_ms: of it, bringing inputs to the core.
        total_nrt_exec_time_ms: of it, running.
        total_d2h_time_ms: of it, bringing outputs back.
    """

    total_executions: int = 0
    total_compile_count: int = 0
    bucket_hits: Mapping[int | tuple[int, ...], int] = field(default_factory=dict)
    total_pad_ratio_sum: float = 0.0
    total_execution_time_ms: float = 0.0
    min_execution_time_ms: float = 0.0
    max_execution_time_ms: float = 0.0
    total_h2d_time_ms: float = 0.0
    total_nrt_exec_time_ms: float = 0.0
    total_d2h_time_ms: float = 0.0


def get_stats() -> RuntimeStats:
    """What compiled functions have done up to now: later calls do not change it."""
    found = programs.get_stats()
    hits = found["bucket_hits"].items()
    return RuntimeStats(
        **{**found, "bucket_hits": {_bucket(key): count for key, count in hits}}
    )


def _bucket(key: tuple[int, ...]) -> int | tuple[int, ...]:
    return key[0] if len(key) == 1 else key


def reset_stats() -> None:
    """Begin to count at 0."""
    programs.reset_stats()
