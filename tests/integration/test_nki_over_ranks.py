"""NKI kernels whose ranks exchange tensors, and of two cores, inside of NumPy.

The same kernel gives the same bytes alone, in a simulation, replayed from its program,
and on the emulated device, with the engine in this process or in a child.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.collectives as ncc
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nkipy.core.errors import NKIPyValueError
from nkipy.core.trace import trace_function
from nkipy.hlo import kernel_languages
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOComputation, HLOModule, Shape
from nkipy.hlo.kernel_languages import TARGET
from nkipy.runtime import PerRank, simulate_jit
from nkipy_emulator.engine import XlaCpuEngine
from nkipy_emulator.errors import UnsupportedCustomCallError
from nkipy_emulator.neff_writer import ProgramDescription, neff_bytes
from nkipy_nki.collectives import ReplicaGroup
from nkipy_nki.replaying import replay
from nkipy_nki.wire import decode
from tests.support import nrt_client
from tests.support.processes import finish, start

RANKS = 3
ENGINES = ("inprocess", "child")


def values_of(rank: int, shape: Sequence[int], dtype: Any) -> np.ndarray:
    values = np.random.default_rng(rank).standard_normal(shape) * 3
    return values.astype(dtype)


@nki.jit
def summed(x, ranks):
    """The sum of x over the ranks, and the rank; x is set to what the rank before has.

    Each rank's own number is added as often as the ranks are counted.
    """
    total = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    numbers = nl.ndarray((1, 1), nl.int32, buffer=nl.shared_hbm)
    mine, sum_, before = (
        nl.ndarray(x.shape, x.dtype, buffer=nl.private_hbm) for _ in range(3)
    )
    group = ReplicaGroup([list(range(ranks))])
    nisa.dma_copy(mine, x)
    ncc.all_reduce([mine], [sum_], group, nl.add)
    nisa.dma_copy(total, sum_)
    pairs = [(rank, (rank + 1) % ranks) for rank in range(ranks)]
    ncc.collective_permute([mine], [before], pairs)
    nisa.dma_copy(x, before)
    rank = nl.ndarray((1, 1), nl.int32)
    nisa.register_store(rank, ncc.rank_id())
    nisa.dma_copy(numbers, rank)
    return total, numbers


def over_ranks(x, ranks):
    """A kernel of several ranks between NumPy's, twice."""
    y = x + x
    total, rank = summed(y, ranks)
    again, _ = summed(total * 1, ranks)
    return total, again, y, rank + 1


def expected_of(inputs: list[np.ndarray]) -> list[tuple[np.ndarray, ...]]:
    """By the language's documents: float32 in the ranks' order, rounded at the end."""

    def reduced(parts: list[np.ndarray]) -> np.ndarray:
        total = parts[0].astype(np.float32)
        for part in parts[1:]:
            total = total + part.astype(np.float32)
        return total.astype(parts[0].dtype)

    doubled = [x + x for x in inputs]
    total = reduced(doubled)
    again = reduced([total] * len(inputs))
    return [
        (total, again, doubled[rank - 1], np.full((1, 1), rank + 1, np.int32))
        for rank in range(len(inputs))
    ]


def assert_same(ran: Sequence[Any], expected: Sequence[Any]) -> None:
    for results, wanted in zip(ran, expected, strict=True):
        for result, value in zip(results, wanted, strict=True):
            assert np.asarray(result).dtype == value.dtype
            assert np.asarray(result).tobytes() == value.tobytes()


DTYPES = (np.float32, ml_dtypes.bfloat16, ml_dtypes.float8_e5m2)


@pytest.mark.parametrize("dtype", DTYPES)
def test_ranks_exchange_tensors_in_a_simulation(dtype):
    inputs = [values_of(rank, (8, 6), dtype) for rank in range(RANKS)]
    simulated = simulate_jit(over_ranks, world_size=RANKS)
    assert_same(simulated(PerRank(inputs), RANKS), expected_of(inputs))


def test_a_kernel_of_ranks_gives_the_same_alone():
    inputs = [values_of(rank, (8, 6), np.float32) for rank in range(RANKS)]
    alone = nki.simulate_ranks(summed, [(2 * x, RANKS) for x in inputs])
    expected = [(total, rank - 1) for total, _, _, rank in expected_of(inputs)]
    assert_same([ran.values for ran in alone], expected)


@contextmanager
def running(tmp_path, engine: str, cores: int, **variables: str):
    environment = {"NKIPY_EMULATOR_ENGINE": engine, **variables}
    environment["NKIPY_EMULATOR_PYTHON"] = sys.executable
    with nrt_client.session(tmp_path, cores=cores, **environment) as nrt:
        yield nrt


def on_device(nrt, neff: bytes, inputs: list[np.ndarray], like: list[np.ndarray]):
    """The results of each rank, by a thread for each."""
    ranks = len(inputs)
    models = [nrt.load(neff, r, r, ranks) for r in range(ranks)]

    def run(rank: int) -> list[np.ndarray]:
        x = nrt.tensor_set({"x": nrt.tensor(inputs[rank], rank)})
        outputs = [nrt.empty(one.nbytes, rank) for one in like]
        names = {f"output{i}": tensor for i, tensor in enumerate(outputs)}
        nrt.execute(models[rank], x, nrt.tensor_set(names))
        return [nrt.read(t, one.shape, one.dtype) for t, one in zip(outputs, like)]

    with ThreadPoolExecutor(ranks) as pool:
        return list(pool.map(run, range(ranks)))


@pytest.mark.device
@pytest.mark.parametrize("engine", ENGINES)
def test_ranks_exchange_tensors_on_emulated_cores(tmp_path, engine):
    inputs = [values_of(rank, (8, 6), np.float32) for rank in range(2)]
    module = trace_function(over_ranks, (inputs[0], 2), {}).module
    expected = expected_of(inputs)
    with running(tmp_path, engine, 2) as nrt:
        neff = neff_bytes(module, ProgramDescription())
        assert_same(on_device(nrt, neff, inputs, list(expected[0])), expected)


def as_process() -> None:
    """Run as the rank that the environment tells; say whether it is as expected."""
    rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    inputs = [values_of(r, (8, 6), np.float32) for r in range(ranks)]
    module = trace_function(over_ranks, (inputs[0], ranks), {}).module
    expected = expected_of(inputs)[rank]
    with nrt_client.Nrt().running() as nrt:
        neff = neff_bytes(module, ProgramDescription())
        model = nrt.load(neff, rank=rank, world_size=ranks)
        tensors = [nrt.empty(one.nbytes) for one in expected]
        names = {f"output{i}": tensor for i, tensor in enumerate(tensors)}
        x = nrt.tensor_set({"x": nrt.tensor(inputs[rank])})
        nrt.execute(model, x, nrt.tensor_set(names))
        made = [nrt.read(t, e.shape, e.dtype) for t, e in zip(tensors, expected)]
    assert_same([made], [expected])
    sys.stdout.write("the same\n")


@pytest.mark.device
@pytest.mark.parametrize(
    "engine", ["inprocess", pytest.param("child", marks=pytest.mark.slow)]
)
def test_ranks_exchange_tensors_among_processes(tmp_path, engine):
    program = f"from {__name__} import as_process; as_process()"
    started = start(program, 2, tmp_path, NKIPY_EMULATOR_ENGINE=engine)
    for status, output, errors in finish(started):
        assert (status, output) == (0, "the same\n"), errors


def test_more_ranks_than_there_are_are_refused():
    x = values_of(0, (8, 6), np.float32)
    for ranks in (1, 2):
        with pytest.raises(NKIPyValueError, match=r"over the ranks \[0, 1, 2\]"):
            simulate_jit(over_ranks, world_size=ranks)(x, 3)


def test_what_one_rank_does_wrong_fails_all():
    @nki.jit
    def unwritten(x):
        mine, total = (
            nl.ndarray(x.shape, x.dtype, buffer=nl.private_hbm) for _ in range(2)
        )
        result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        ncc.all_reduce([mine], [total], ReplicaGroup([[0, 1]]), nl.add)
        nisa.dma_copy(result, total)
        return result

    simulated = simulate_jit(lambda x: unwritten(x) + 1, world_size=2)
    x = values_of(0, (8, 6), np.float32)
    with pytest.raises(nki.NkiValidationError, match="never written"):
        simulated(x + 0)


# -- two cores -------------------------------------------------------------------------
@nki.jit
def halves_swapped(x, y):
    """y's halves exchanged, plus x; y is set to it. Each core has a half."""
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    core, rows = nl.program_id(0), x.shape[0] // 2
    own = slice(core * rows, (core + 1) * rows)
    mine, theirs = (nl.ndarray((rows, x.shape[1]), x.dtype) for _ in range(2))
    nisa.dma_copy(mine, y[own])
    nisa.sendrecv(mine, theirs, 1 - core, 1 - core, 0)
    nisa.dma_copy(mine, x[own])
    nisa.tensor_tensor(mine, mine, theirs, op=nl.add)
    nisa.dma_copy(result[own], mine)
    nisa.core_barrier(result, (0, 1))
    if core == 1:
        nisa.dma_copy(y, result)
    return result


def on_two_cores(x, y):
    z = y * 2
    return halves_swapped[2](x + 1, z), z


X = np.linspace(-2, 2, 8 * 16, dtype=np.float32).reshape(8, 16)
Y = np.arange(8 * 16, dtype=np.float32).reshape(8, 16)
SWAPPED = X + 1 + np.concatenate([Y[4:], Y[:4]]) * 2


def test_two_cores_give_the_same_alone_simulated_and_replayed_in_either_order():
    module = trace_function(on_two_cores, (X, Y), {}).module
    for result in simulate_jit(on_two_cores)(X, Y):
        assert result.tobytes() == SWAPPED.tobytes()
    assert nki.simulate(halves_swapped[2])(X + 1, Y * 2).tobytes() == SWAPPED.tobytes()
    calls = (i for i in module.instructions() if i.opcode == "custom-call")
    (call,) = (i for i in calls if i.attributes["custom_call_target"] == TARGET)
    for order in ((0, 1), (1, 0)):
        y = Y * 2
        programs = decode(call.attributes["backend_config"])
        result, _ = replay(programs, [X + 1, y], order=order)
        assert result.tobytes() == y.tobytes() == SWAPPED.tobytes()


@pytest.mark.device
@pytest.mark.parametrize("engine", ENGINES)
def test_two_cores_give_the_same_on_an_emulated_core(tmp_path, engine):
    module = trace_function(on_two_cores, (X, Y), {}).module
    with running(tmp_path, engine, 1) as nrt:
        model = nrt.load(neff_bytes(module, ProgramDescription()))
        inputs = {"x": nrt.tensor(X), "y": nrt.tensor(Y)}
        outputs = [nrt.empty(X.nbytes) for _ in range(2)]
        named = {f"output{i}": tensor for i, tensor in enumerate(outputs)}
        nrt.execute(model, nrt.tensor_set(inputs), nrt.tensor_set(named))
        for tensor in outputs:
            assert nrt.read(tensor, X.shape, X.dtype).tobytes() == SWAPPED.tobytes()


@nki.jit
def reduced_by_two_cores(x):
    """The sum over two ranks of x, of which each core brings a half."""
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    src, dst = (nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm) for _ in range(2))
    rows = x.shape[0] // 2
    own = slice(nl.program_id(0) * rows, (nl.program_id(0) + 1) * rows)
    nisa.dma_copy(src[own], x[own])
    nisa.core_barrier(src, (0, 1))
    ncc.all_reduce([src], [dst], ReplicaGroup([[0, 1]]), nl.add)
    nisa.dma_copy(result[own], dst[own])
    return result


def test_ranks_of_two_cores_exchange_tensors():
    inputs = [values_of(rank, (8, 6), np.float32) for rank in range(2)]
    simulated = simulate_jit(lambda x: reduced_by_two_cores[2](x) * 2, world_size=2)
    for result in simulated(PerRank(inputs)):
        assert result.tobytes() == ((inputs[0] + inputs[1]) * 2).tobytes()


def twice_reduced(x):
    return reduced_by_two_cores[2](x) * 2


@pytest.mark.device
@pytest.mark.parametrize("engine", ENGINES)
def test_ranks_of_two_cores_exchange_tensors_on_emulated_cores(tmp_path, engine):
    """The NEFF is of logical cores of two, as its kernel is."""
    inputs = [values_of(rank, (8, 6), np.float32) for rank in range(2)]
    expected = [((inputs[0] + inputs[1]) * 2,)] * 2
    neff = neff_bytes(
        trace_function(twice_reduced, (inputs[0],), {}).module,
        ProgramDescription(lnc=2),
    )
    with running(tmp_path, engine, 2, NEURON_RT_VIRTUAL_CORE_SIZE="2") as nrt:
        assert_same(on_device(nrt, neff, inputs, list(expected[0])), expected)


def test_a_kernel_of_ranks_in_a_branch_is_refused():
    module = HLOModule("test")
    x = module.add_parameter((8, 6), np.dtype(np.float32), "x")
    language = kernel_languages.language()
    spec = language.ArraySpec((8, 6), np.dtype(np.float32))
    made = language.embed(summed, (spec, 2), {}, "trn2")
    callee = HLOComputation("callee")
    within = HLOBuilder(callee)
    given = callee.add_parameter((8, 6), np.dtype(np.float32))
    shapes = [Shape(dtype, dims) for dims, dtype in made.interface.outputs]
    attributes = {"custom_call_target": TARGET, "backend_config": made.program}
    callee.root = within.tuple_result("custom-call", (given,), shapes, attributes)[0]
    b = HLOBuilder(module.entry)
    called = b.emit("call", (x,), (8, 6), x.dtype, {"to_apply": callee})
    module.set_results([called])
    with pytest.raises(UnsupportedCustomCallError, match="outside of loops"):
        XlaCpuEngine().compile(module, num_replicas=2)
