"""Functions of compiled programs: for which sizes, and what is counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spike_torch import programs
from spike_torch.programs import (
    Exact,
    Function,
    Input,
    Linear,
    Listed,
    OneBucket,
    PowersOfTwo,
    Result,
    ReturnedNumber,
    Symbol,
    Variant,
)

from .program_functions import M, N, compile_doubled, doubled, program, random, static

pytestmark = pytest.mark.usefixtures("filled_padding")


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (PowersOfTwo(), {1: 1, 2: 2, 3: 4, 8: 8, 9: 16}),
        (PowersOfTwo(6), {1: 8, 9: 16}),
        (Linear(32, 64), {1: 32, 32: 32, 33: 96, 96: 96, 97: 160}),
        (PowersOfTwo(8, 32), {7: 8, 17: 32, 32: 32, 33: 64, 65: 96, 96: 96}),
        (PowersOfTwo(8, 20), {9: 16, 17: 20, 21: 40}),
        (PowersOfTwo(8, limit=21), {9: 16, 17: 21, 21: 21, 22: 32}),
        (PowersOfTwo(8, limit=5), {2: 5}),
        (PowersOfTwo(8, 16, 40), {33: 40, 31: 32}),
        (Linear(32, 64, 100, 290), {33: 96, 97: 100, 101: 200, 201: 290}),
        (PowersOfTwo(1, 1 << 62), {(1 << 62): 1 << 62}),
        (Listed((10, 4)), {1: 4, 4: 4, 5: 10, 11: 16}),
        (Exact(), {1: 1, 7: 7}),
        (OneBucket(), {-3: 0, 7: 0}),
    ],
)
def test_rules_of_buckets(rule: Any, expected: dict[int, int]) -> None:
    function = doubled(rule)
    assert {n: function.buckets_of([n])[0] for n in expected} == expected


def test_expressions() -> None:
    expressions = [
        (N + M * 2 - 1, lambda n, m: n + m * 2 - 1),
        ((N - 9) // M, lambda n, m: (n - 9) // m),
        ((N - 9) % M, lambda n, m: (n - 9) % m),
        (7 - N, lambda n, m: 7 - n),
        (7 // N + 7 % N, lambda n, m: 7 // n + 7 % n),
        (N.minimum(M).maximum(3), lambda n, m: max(min(n, m), 3)),
    ]
    function = Function(
        "numbers",
        ["x"],
        [Symbol("n", 0, 0, OneBucket()), Symbol("m", 0, 1, OneBucket())],
        [Input(None)],
        [Result(torch.int32, (2,))],
        [ReturnedNumber(made) for made, _ in expressions],
        lambda _: Variant.of(
            program(lambda b, x: b.add(x, x), ((2,), np.int32)), [(2,)], [(2,)]
        ),
    )
    for n in range(1, 6):
        for m in range(1, 6):
            expected = [compute(n, m) for _, compute in expressions]
            assert function([torch.empty(n, m)]) == expected


def test_one_program_is_compiled_for_each_bucket_and_counted() -> None:
    function = doubled(PowersOfTwo(4))
    for size in (2, 3, 5, 8, 3):
        function([random(size, 3)])
    stats = programs.get_stats()
    assert stats["total_compile_count"] == 2 and stats["total_executions"] == 5
    assert stats["bucket_hits"] == {(4,): 3, (8,): 2}
    assert stats["total_pad_ratio_sum"] == pytest.approx(2 + 4 / 3 * 2 + 8 / 5 + 1)
    least, most = stats["min_execution_time_ms"], stats["max_execution_time_ms"]
    assert 0 < least <= most <= stats["total_execution_time_ms"]
    assert 0 < stats["total_nrt_exec_time_ms"] < stats["total_execution_time_ms"]
    assert stats["total_h2d_time_ms"] > 0 and stats["total_d2h_time_ms"] == 0
    function([random(3, 3, device="cpu")])
    assert programs.get_stats()["total_d2h_time_ms"] > 0
    programs.reset_stats()
    stats = programs.get_stats()
    assert stats.pop("bucket_hits") == {} and set(stats.values()) == {0}


def test_nothing_is_compiled_where_nothing_may_be() -> None:
    function = doubled(Listed((4, 8)), may_compile=False)
    allowed = doubled(Listed((4, 8)))
    with pytest.raises(ValueError, match=r"no program for sizes \(3\).*buckets \(4\)"):
        function([random(3, 3)])
    assert len(allowed([random(3, 3)])) == 1
    function.variant([4])
    assert len(function([random(3, 3)])) == 1


def test_a_failed_compilation_is_tried_again() -> None:
    attempts = []

    def compile(buckets: tuple[int, ...]) -> Variant:
        attempts.append(buckets)
        if len(attempts) == 1:
            raise ZeroDivisionError("no")
        return compile_doubled(buckets)

    function = doubled(compile=compile)
    x = random(4, 3)
    with pytest.raises(ZeroDivisionError, match="no"):
        function([x])
    assert torch.equal(function([x])[0].cpu(), 2 * x.cpu())
    assert attempts == [(4,), (4,)]


def test_programs_of_a_function_are_bounded() -> None:
    one = compile_doubled((2,))
    function = doubled(Exact(), lambda _: one)
    for n in range(100):
        function.variant([n])
    assert [99] in function.compiled() and len(function.compiled()) == 64


def test_a_profile_is_written(tmp_path: Path) -> None:
    function = static()
    x = random(2, 3)
    file = tmp_path / "one.ntff"
    (y,) = function([x, x], profile=str(file))
    assert torch.equal(y.cpu(), 2 * x.cpu())
    assert file.stat().st_size > 0


def test_memory_statistics() -> None:
    before = programs.get_memory_stats()
    held = torch.empty(1000, device="nkipy")
    after = programs.get_memory_stats()
    assert after["used_bytes"] - before["used_bytes"] == 4096
    assert after["total_bytes"] == after["used_bytes"] + after["cached_bytes"]
    assert after["allocation_count"] == before["allocation_count"] + 1
    assert (
        after["cache_miss_count"] + after["cache_hit_count"]
        == (after["allocation_count"])
    )
    del held
    assert programs.get_memory_stats()["used_bytes"] == before["used_bytes"]
