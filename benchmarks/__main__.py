"""Runs every benchmark."""

from __future__ import annotations

from benchmarks import bench_device, bench_import, bench_simulate, bench_trace


def main() -> None:
    bench_import.main()
    bench_trace.main()
    bench_simulate.main()
    bench_device.main()


if __name__ == "__main__":
    main()
