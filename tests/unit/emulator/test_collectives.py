"""Several ranks in one process, through XLA's own collectives."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOModule
from nkipy_emulator import register_custom_call, unregister_custom_call
from nkipy_emulator.engine import XlaCpuEngine
from nkipy_emulator.executables import XlaExecutable

RANKS = [2, 3, 4]


def compiled(opcode, n, like, attributes, shape=None, before=None) -> XlaExecutable:
    module = HLOModule("collective")
    b = HLOBuilder(module.entry)
    p = module.add_parameter(like.shape, like.dtype, "x")
    if opcode in ("all-reduce", "reduce-scatter"):
        attributes = {**attributes, "to_apply": b.reducer("add", p.dtype)}
    x = before(b, p) if before else p
    module.set_results(b.emit(opcode, (x,), shape or p.shape, p.dtype, attributes))
    return XlaCpuEngine().compile(module, num_replicas=n)


def run(executable, inputs, shape=None) -> list[np.ndarray]:
    outputs = [[np.full(shape or x.shape, 99, x.dtype)] for x in inputs]
    executable.run_replicas([[x] for x in inputs], outputs)
    return [out for (out,) in outputs]


def ranks(n, shape=(12, 3), dtype=np.float32):
    rng = np.random.default_rng(n)
    return [rng.integers(0, 9, shape).astype(dtype) for _ in range(n)]


def everyone(n):
    return {"replica_groups": (tuple(range(n)),)}


@pytest.mark.parametrize("n", [*RANKS, 64])
def test_all_reduce(n):
    xs = ranks(n)
    executable = compiled("all-reduce", n, xs[0], everyone(n))
    for out in run(executable, xs):
        np.testing.assert_array_equal(out, sum(xs))


@pytest.mark.parametrize("n", RANKS)
def test_all_gather(n):
    xs = ranks(n)
    shape = (12 * n, 3)
    attributes = {**everyone(n), "dimensions": (0,)}
    executable = compiled("all-gather", n, xs[0], attributes, shape)
    for out in run(executable, xs, shape):
        np.testing.assert_array_equal(out, np.concatenate(xs))


@pytest.mark.parametrize("n", RANKS)
def test_reduce_scatter(n):
    xs = ranks(n)
    shape = (12 // n, 3)
    attributes = {**everyone(n), "dimensions": (0,)}
    executable = compiled("reduce-scatter", n, xs[0], attributes, shape)
    for part, out in zip(np.split(sum(xs), n), run(executable, xs, shape)):
        np.testing.assert_array_equal(out, part)


@pytest.mark.parametrize("n", RANKS)
def test_all_to_all(n):
    xs = ranks(n)
    attributes = {**everyone(n), "dimensions": (0,)}
    executable = compiled("all-to-all", n, xs[0], attributes)
    for rank, out in enumerate(run(executable, xs)):
        parts = [np.split(x, n)[rank] for x in xs]
        np.testing.assert_array_equal(out, np.concatenate(parts))


@pytest.mark.parametrize("n", RANKS)
def test_collective_permute(n):
    xs = ranks(n)
    pairs = tuple((i, (i + 1) % n) for i in range(n))
    executable = compiled(
        "collective-permute", n, xs[0], {"source_target_pairs": pairs}
    )
    for rank, out in enumerate(run(executable, xs)):
        np.testing.assert_array_equal(out, xs[rank - 1])


def test_ranks_that_nothing_is_sent_to_get_zeros():
    xs = ranks(3)
    pairs = {"source_target_pairs": ((0, 2),)}
    first, second, third = run(compiled("collective-permute", 3, xs[0], pairs), xs)
    assert not first.any() and not second.any()
    np.testing.assert_array_equal(third, xs[0])


@pytest.mark.parametrize("groups", [(), ((2, 0), (1, 3)), ((3, 1, 0),), ((1,), (0, 2))])
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float16, np.float32])
def test_broadcast(dtype, groups):
    xs = ranks(4, dtype=dtype)
    if dtype == np.float32:
        xs[1][0], xs[2][1], xs[3][2] = -0.0, np.nan, np.inf
    attributes = {"replica_groups": groups}
    executable = compiled("collective-broadcast", 4, xs[0], attributes)
    sources = {r: group[0] for group in groups or ((0, 1, 2, 3),) for r in group}
    for rank, out in enumerate(run(executable, xs)):
        expected = xs[sources[rank]] if rank in sources else np.zeros_like(xs[0])
        assert out.dtype == dtype and out.tobytes() == expected.tobytes()


def test_a_broadcast_of_one_rank_is_its_operand():
    x = np.arange(3, dtype=np.float32)
    executable = compiled("collective-broadcast", 1, x, {"replica_groups": ()})
    np.testing.assert_array_equal(run(executable, [x])[0], x)


@pytest.mark.parametrize("groups", [((0, 1), (2, 3)), ((0, 2), (3, 1))])
def test_groups(groups):
    xs = ranks(4)
    reduced = run(compiled("all-reduce", 4, xs[0], {"replica_groups": groups}), xs)
    attributes = {"replica_groups": groups, "dimensions": (1,)}
    gathered = run(compiled("all-gather", 4, xs[0], attributes, (12, 6)), xs, (12, 6))
    for group in groups:
        members = [xs[i] for i in group]
        for rank in group:
            np.testing.assert_array_equal(reduced[rank], sum(members))
            np.testing.assert_array_equal(gathered[rank], np.hstack(members))


def test_every_call_is_complete_on_return():
    xs = ranks(4, (64,))
    executable = compiled("all-reduce", 4, xs[0], everyone(4))
    for step in range(300):
        shifted = [x + step for x in xs]
        for out in run(executable, shifted):
            np.testing.assert_array_equal(out, sum(shifted))


@pytest.mark.parametrize("aligned", [True, False])
def test_large_arrays_in_place(aligned):
    n = 1 << 17

    def array(value):
        raw = np.empty(4 * n + 128, np.uint8)
        start = -raw.ctypes.data % 64 + (0 if aligned else 16)
        made = raw[start : start + 4 * n].view(np.float32)
        made[:] = value
        return made

    xs = [array(i + 1) for i in range(3)]
    executable = compiled("all-reduce", 3, xs[0], everyone(3))
    executable.run_replicas([[x] for x in xs], [[x] for x in xs])
    assert all((x == 6).all() for x in xs)
    # A result of one rank in the memory that another one reads.
    for i, x in enumerate(xs):
        x[:] = i
    executable.run_replicas([[x] for x in xs], [[x] for x in xs[1:] + xs[:1]])
    assert all((x == 3).all() for x in xs)


def test_replica_id():
    module = HLOModule("rank")
    b = HLOBuilder(module.entry)
    module.set_results(b.emit("replica-id", (), (), np.dtype(np.uint32)))
    outputs = [[np.empty((), np.uint32)] for _ in range(3)]
    executable = XlaCpuEngine().compile(module, num_replicas=3)
    executable.run_replicas([[]] * 3, outputs)
    assert [int(out) for (out,) in outputs] == [0, 1, 2]


def test_one_replica_takes_both_calls():
    x = np.arange(3, dtype=np.float32)
    executable = compiled("all-reduce", 1, x, {"replica_groups": ((0,),)})
    (out,) = run(executable, [x])
    np.testing.assert_array_equal(out, x)
    executable.run([x], [out])


def test_a_failing_rank_fails_the_call_and_not_the_process():
    def handler(inputs, outputs, config):
        if inputs[0][0] == 1:
            raise ZeroDivisionError("rank 1")
        outputs[0][...] = inputs[0]

    def call(b, p):
        attributes = {"custom_call_target": "Fails"}
        return b.emit("custom-call", (p,), p.shape, p.dtype, attributes)

    register_custom_call("Fails", handler)
    try:
        xs = [np.full(4, i, np.float32) for i in range(3)]
        executable = compiled("all-reduce", 3, xs[0], everyone(3), before=call)
        outputs = [[np.full(4, 99, np.float32)] for _ in xs]
        with pytest.raises(ZeroDivisionError, match="rank 1"):
            executable.run_replicas([[x] for x in xs], outputs)
        assert all((out == 99).all() for (out,) in outputs)
        xs[1][:] = 5
        assert all((out == 7).all() for out in run(executable, xs))
    finally:
        unregister_custom_call("Fails")


def test_wrong_arguments():
    x = np.zeros(4, np.float32)
    executable = compiled("all-reduce", 2, x, everyone(2))
    with pytest.raises(ValueError, match="got 1 ranks; the module has 2"):
        executable.run_replicas([[x]], [[x]])
    with pytest.raises(ValueError, match="input 0 has 12 bytes"):
        executable.run_replicas([[x], [x[:3]]], [[x], [x.copy()]])
    with pytest.raises(TypeError, match="run_replicas"):
        executable.run([x], [x])
