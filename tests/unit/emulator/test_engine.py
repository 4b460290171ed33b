"""Compiling and running: dtypes, shapes, memory, threads, processes, errors."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import ml_dtypes
import numpy as np
import pytest

from nkipy.core import dtypes as dt
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.errors import HLOVerificationError
from nkipy.hlo.ir import HLOInstruction, HLOModule, SourceLocation
from nkipy_emulator import SimulationError
from nkipy_emulator.engine import XlaCpuEngine
from nkipy_emulator.executables import XlaExecutable

LARGE = 1 << 17  # float32 elements: above the size that is read in place


def aligned(shape, dtype=np.float32, offset=0):
    """An array at `offset` bytes after an address that XLA can read in place."""
    nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.empty(nbytes + 128, np.uint8)
    start = -raw.ctypes.data % 64 + offset
    return raw[start : start + nbytes].view(dtype).reshape(shape)


def add(b, x, y):
    return b.add(x, y)


@pytest.mark.parametrize("dtype", dt.SUPPORTED, ids=str)
@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (3, 5), (129,)], ids=str)
def test_every_dtype_is_added_and_copied(execute, rng, dtype, shape):
    x, y = (rng.integers(0, 2 if dtype == dt.bool_ else 8, shape) for _ in range(2))
    x, y = x.astype(dtype), y.astype(dtype)
    total, copy = execute(lambda b, p, q: (b.add(p, q), p), x, y)
    assert total.dtype == dtype and copy.dtype == dtype
    np.testing.assert_array_equal(total, x + y)
    np.testing.assert_array_equal(copy, x)


def test_results_may_be_parameters_duplicates_or_none(execute, engine, module_of):
    x = np.arange(4, dtype=np.float32)
    a, b, c, d = execute(lambda b, p: (p, p, b.negate(p), p), x)
    for copy in (a, b, d):
        np.testing.assert_array_equal(copy, x)
    np.testing.assert_array_equal(c, -x)
    engine.compile(module_of(lambda b, p: (), x)).run([x], [])


def test_no_parameters(execute):
    (out,) = execute(lambda b: b.iota((3,), 0))
    np.testing.assert_array_equal(out, np.arange(3, dtype=np.int32))


@pytest.mark.parametrize("offset", [0, 16], ids=["aligned", "unaligned"])
def test_large_inputs_are_seen_as_they_are_now(engine, module_of, offset):
    x = aligned((LARGE,), offset=offset)
    x[:] = 1
    executable = engine.compile(module_of(add, x, x))
    out = np.empty_like(x)
    for value in (1.0, 2.0, 3.0):
        x[:] = value
        executable.run([x, x], [out])
        assert (out == 2 * value).all()


def test_memory_that_was_freed_and_used_again(engine, module_of):
    executable = engine.compile(module_of(add, *[aligned((LARGE,))] * 2))
    out = np.empty(LARGE, np.float32)
    for value in range(20):
        x = aligned((LARGE,))
        x[:] = value
        executable.run([x, x], [out])
        assert (out == 2 * value).all()
        del x


@pytest.mark.parametrize("n", [8, LARGE])
def test_output_is_an_input(engine, module_of, n):
    x, y = aligned((n,)), aligned((n,))
    x[:], y[:] = np.arange(n), 1
    executable = engine.compile(module_of(add, x, y))
    for _ in range(3):
        executable.run([x, y], [x])
    np.testing.assert_array_equal(x, np.arange(n, dtype=np.float32) + 3)
    assert (y == 1).all()


@pytest.mark.parametrize("n", [8, LARGE])
def test_swapped_parameters(engine, module_of, n):
    x, y = aligned((n,)), aligned((n,))
    x[:], y[:] = 1, 2
    executable = engine.compile(module_of(lambda b, p, q: (q, p), x, y))
    for first, second in ((2, 1), (1, 2), (2, 1)):
        executable.run([x, y], [x, y])
        assert (x == first).all() and (y == second).all()


def test_output_overlaps_part_of_an_input(engine, module_of):
    memory = aligned((LARGE + 16,))
    memory[:] = np.arange(LARGE + 16)
    source, target = memory[:LARGE], memory[16:]
    expected = source.copy()
    engine.compile(module_of(lambda b, p: p, source)).run([source], [target])
    np.testing.assert_array_equal(target, expected)


def test_rotation_of_three_parameters_in_place(engine, module_of):
    arrays = [aligned((LARGE,)) for _ in range(3)]
    for i, array in enumerate(arrays):
        array[:] = i
    executable = engine.compile(module_of(lambda b, p, q, r: (q, r, p), *arrays))
    executable.run(arrays, arrays)
    assert [a[0] for a in arrays] == [1, 2, 0]
    assert all((a == a[0]).all() for a in arrays)


X = np.zeros(4, np.float32)
READ_ONLY = np.zeros(4, np.float32)
READ_ONLY.setflags(write=False)


@pytest.mark.parametrize(
    "inputs, outputs, message",
    [
        ([X], [X], "got 1 inputs; the module has 2"),
        ([X, X], [], "got 0 outputs; the module has 1"),
        ([X, X[:3]], [X], "input 1 has 12 bytes; the module has 16"),
        ([X, X], [X.astype(np.float64)], "output 0 has 32 bytes; the module has 16"),
        ([np.zeros(8, np.float32)[::2], X], [X], "input 0 must be C-contiguous"),
        ([X, X], [READ_ONLY], "output 0 must be C-contiguous.*writeable"),
        ([X.astype(">f4"), X], [X], "native byte order"),
    ],
)
def test_wrong_arguments_are_refused(engine, module_of, inputs, outputs, message):
    executable = engine.compile(module_of(add, X, X))
    with pytest.raises(ValueError, match=message):
        executable.run(inputs, outputs)


def test_arguments_that_are_no_arrays(engine, module_of):
    executable = engine.compile(module_of(add, X, X))
    with pytest.raises(TypeError, match="input 1 has to be an array, not.*'str'"):
        executable.run([X, "text"], [X])
    scalars = engine.compile(module_of(add, X[0], X[0]))
    with pytest.raises(TypeError, match="input 0 has to be an array.*numpy.float32"):
        scalars.run([X[0], X[0]], [np.empty((), np.float32)])
    with pytest.raises(TypeError):
        executable.run(1, [X])
    with pytest.raises(TypeError, match="two sequences"):
        executable.run([X, X])


def test_threads_share_an_executable(engine, module_of):
    executable = engine.compile(module_of(add, X, X))
    large = engine.compile(module_of(add, *[np.empty(LARGE, np.float32)] * 2))

    def work(seed: int) -> int:
        rng = np.random.default_rng(seed)
        wrong = 0
        for i in range(500):
            run, n = (large, LARGE) if i % 100 == 0 else (executable, 4)
            x, y = rng.standard_normal((2, n), np.float32)
            out = np.empty(n, np.float32)
            run.run([x, y], [out])
            wrong += not (out == x + y).all()
        return wrong

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [0] * 4


def test_many_executables_leave_no_memory(engine, module_of):
    def resident() -> int:
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    x = np.zeros(1 << 18, np.float32)
    out = np.empty_like(x)

    def use() -> None:
        engine.compile(module_of(add, x, x)).run([x, x], [out])

    for _ in range(5):
        use()
    before = resident()
    for _ in range(20):
        use()
    assert resident() - before < 20 * x.nbytes


def test_identity_names_version_and_cpu(engine):
    from jaxlib.version import __version__

    assert f"jaxlib-{__version__}" in engine.identity
    assert engine.identity == XlaCpuEngine().identity


def test_modules_are_verified_first(engine, module_of):
    module = module_of(lambda b, p: b.emit("add", (p, p), (5,), p.dtype), X)
    with pytest.raises(HLOVerificationError):
        engine.compile(module)


def test_xla_errors_name_the_source_line():
    module = HLOModule("bad")
    p = module.add_parameter((4,), np.float32, "x")
    location = SourceLocation("kernel.py", 12)
    attributes = {"lower": True}
    module.set_results(
        module.add_operation(
            HLOInstruction("cholesky", (p,), (4,), p.dtype, attributes, location)
        )
    )
    # Our verifier is passed by: it would not let this get to XLA.
    with pytest.raises(SimulationError, match="kernel.py:12.*rank >= 2") as error:
        XlaExecutable(module, None, 1)
    assert "Failed to parse using StableHLO" not in str(error.value)
    assert "in bytecode version" not in str(error.value)


def test_number_of_replicas_is_checked(engine, module_of):
    with pytest.raises(ValueError, match="num_replicas"):
        engine.compile(module_of(add, X, X), num_replicas=0)


def test_the_module_is_not_changed(engine, module_of):
    module = module_of(add, X, X)
    before = module.serialize()
    engine.compile(module)
    assert module.serialize() == before
    assert len(module.parameters) == 2 and len(module.results) == 1


def _child(queue):
    from nkipy_emulator.engine import XlaCpuEngine

    module = HLOModule("child")
    p = module.add_parameter((4,), np.float32, "x")
    total = HLOInstruction("add", (p, p), (4,), p.dtype)
    module.set_results(module.add_operation(total))
    out = np.empty(4, np.float32)
    XlaCpuEngine().compile(module).run([np.ones(4, np.float32)], [out])
    queue.put(out.tolist())


SCRIPT = """
    import os, sys
    import numpy as np
    from nkipy.hlo.ir import HLOInstruction, HLOModule
    from nkipy_emulator.engine import XlaCpuEngine

    def module():
        module = HLOModule("m")
        p = module.add_parameter((4,), np.float32, "x")
        module.set_results(
            module.add_operation(HLOInstruction("add", (p, p), (4,), p.dtype)))
        return module

    def in_child(work):
        pid = os.fork()
        if pid == 0:
            try:
                work()
            except BaseException as e:
                print(type(e).__name__, e, flush=True)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0

    engine = XlaCpuEngine(fast_calls="never")
    x, out = np.ones(4, np.float32), np.empty(4, np.float32)

    def use():
        engine.compile(module()).run([x], [out])
        print(out.tolist(), flush=True)

    in_child(use)
    executable = engine.compile(module())
    in_child(use)
    in_child(lambda: executable.run([x], [out]))
    use()
"""


def test_fork_before_and_after_first_use():
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert lines[0] == lines[3] == "[2.0, 2.0, 2.0, 2.0]"
    for line in lines[1:3]:
        assert line.startswith("SimulationError") and "'spawn'" in line


def test_spawned_process():
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_child, args=(queue,))
    process.start()
    assert queue.get(timeout=60) == [2.0] * 4
    process.join(60)
    assert process.exitcode == 0


def test_a_long_chain_with_many_scalars_compiles():
    """Fused, this took all the memory of the machine."""
    module = HLOModule("chain")
    b = HLOBuilder(module.entry)
    x = module.add_parameter((2,), np.dtype(np.float32), "x")
    for i in range(600):
        x = b.add(x, b.broadcast_to(b.constant(np.float32(i)), x.shape))
    module.set_results(x)
    out = np.empty(2, np.float32)
    XlaCpuEngine().compile(module).run([np.ones(2, np.float32)], [out])
    np.testing.assert_array_equal(out, 600 * 599 / 2 + 1)


@pytest.mark.parametrize("dtype", [ml_dtypes.float8_e4m3, np.int8, np.float32])
def test_transposes_around_a_conversion_compile(dtype):
    """XLA's reshape mover made them thousands, which overflowed its stack."""
    module = HLOModule("transposes")
    b = HLOBuilder(module.entry)
    x = module.add_parameter((2, 3), np.dtype(dtype), "x")
    y = b.transpose(b.convert(b.transpose(x, (1, 0)), np.dtype(np.float32)), (1, 0))
    y = b.multiply(y, b.full((2, 3), 3, y.dtype))
    y = b.multiply(b.add(y, b.full((2, 3), 1, y.dtype)), b.full((2, 3), 2, y.dtype))
    module.set_results(y)
    out = np.empty((2, 3), np.float32)
    XlaCpuEngine().compile(module).run([np.ones((2, 3), dtype)], [out])
    np.testing.assert_array_equal(out, 8)
