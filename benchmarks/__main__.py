"""Runs every benchmark that has figures to reach.

Apart are ``bench_ops``, which times each op by itself, and ``bench_kernels``, which
compares sixty kernels with NumPy: their tables are long.
"""

from __future__ import annotations

from benchmarks import (
    bench_collectives,
    bench_compile,
    bench_cost_model,
    bench_device,
    bench_first_call,
    bench_import,
    bench_memory,
    bench_nki,
    bench_simulate,
    bench_spike,
    bench_torch_compile,
    bench_torch_device,
    bench_trace,
)


def main() -> None:
    bench_import.main()
    bench_trace.main()
    bench_compile.main()
    bench_simulate.main()
    bench_first_call.main()
    bench_memory.main()
    bench_spike.main()
    bench_device.main()
    bench_collectives.main()
    bench_cost_model.main()
    bench_nki.main()
    bench_torch_device.main()
    bench_torch_compile.main()


if __name__ == "__main__":
    main()
