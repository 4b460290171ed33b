"""The kernels that are timed against NumPy, and the table of their times."""

from __future__ import annotations

import functools
from collections import Counter
from itertools import groupby

import numpy as np
import pytest

from benchmarks import bench_kernels
from benchmarks.bench_kernels import Timed, chosen, rows_of, summary_of
from benchmarks.kernel_records import SIZES, Make
from benchmarks.kernels import KERNELS
from nkipy.runtime import simulate_jit

KINDS = [kind for kind, _ in groupby(KERNELS, lambda kernel: kernel.kind)]


def test_there_are_sixty_of_ordinary_kinds():
    assert len({kernel.name for kernel in KERNELS}) == len(KERNELS) == 60
    assert len(KINDS) == len(set(KINDS)) == 10
    assert min(Counter(kernel.kind for kernel in KERNELS).values()) >= 3
    assert all(k.sizes == tuple(sorted(set(k.sizes))) for k in KERNELS)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_they_compute_in_simulation_what_numpy_computes(kind):
    for kernel in chosen([kind], []):
        args = kernel.arguments(Make(), kernel.sizes[0])
        before = [array.copy() for array in args]
        expected = kernel.function(np, *args)
        ours = simulate_jit(functools.partial(kernel.function, np))(*args)
        assert np.shape(ours) == np.shape(expected)
        np.testing.assert_allclose(
            *(ours, expected, *kernel.tolerance), err_msg=kernel.name
        )
        for array, was in zip(args, before):
            np.testing.assert_array_equal(array, was)


def test_arguments_are_the_same_each_time():
    for kernel in KERNELS:
        one, other = (kernel.arguments(Make(), kernel.sizes[0]) for _ in range(2))
        for x, y in zip(one, other):
            assert x.dtype in (np.float32, np.int32)
            np.testing.assert_array_equal(x, y)


def test_kernels_are_chosen_by_kind_and_by_name():
    assert chosen([], []) == list(KERNELS)
    assert [k.name for k in chosen([], ["tan", "add"])] == ["add", "tan"]
    found = chosen(["scans"], ["tan"])
    assert {k.kind for k in found} == {"scans", "transcendental"} and len(found) == 4


@pytest.mark.parametrize("words", [["--kernel", "cotangent"], ["--size", "huge"]])
def test_what_there_is_not_is_refused(words, capsys):
    with pytest.raises(SystemExit):
        bench_kernels.main(words)
    assert "invalid choice" in capsys.readouterr().err


def test_the_least_time_of_each_is_found():
    called = Counter()
    calls = {name: functools.partial(called.update, [name]) for name in ("a", "b")}
    least = bench_kernels.least_seconds(calls, 0.001)
    assert set(least) == {"a", "b"} and all(0 < s < 1 for s in least.values())
    assert min(called.values()) > 2 * bench_kernels.ROUNDS


#: NumPy's seconds, ours and jax.jit's, of one kernel in each size.
TIMES = ((1e-6, 1e-5, 1e-4), (1e-3, 5e-4, 2e-3), (4e-3, 8e-3, 1e-3))


@pytest.fixture
def timed():
    kernel = chosen([], ["tan"])[0]
    return [Timed(kernel, *row) for row in zip(SIZES, *zip(*TIMES))]


def test_the_table_has_a_row_for_each_kernel(timed):
    (row,) = rows_of(timed, SIZES)
    assert row[:2] == ["transcendental", "tan"]
    assert row[2:5] == ["1.00 us", "0.10", "0.01"]
    assert row[5:8] == ["1000.00 us", "2.00", "0.50"]
    assert row[9:] == ["0.50", "4.00"]
    assert len(bench_kernels.header_of(SIZES)) == len(row)


def test_the_summary_leaves_out_what_takes_numpy_no_time(timed):
    rows = {row[0]: row[1:] for row in summary_of(timed)}
    assert list(rows) == ["transcendental", "size: middle", "size: large", "all"]
    number, mean, fast, half, worst, jax, jax_fast = rows["all"]
    assert (number, mean, fast, half) == ("2", "1.00", "50%", "100%")
    assert (worst, jax, jax_fast) == ("0.50 (tan, large)", "1.41", "50%")
    assert all(len(row) == len(bench_kernels.SUMMARY) for row in summary_of(timed))


def test_tables_are_text_and_markdown():
    rows = [["name", "speed"], ["a long name", "1"]]
    assert bench_kernels.as_text(rows) == "name         speed\na long name  1\n"
    assert bench_kernels.as_markdown(rows) == (
        "| name | speed |\n| --- | --- |\n| a long name | 1 |\n"
    )
