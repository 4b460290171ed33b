"""``device_print`` inside of programs: to libnrt's debug stream, which spike prints."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import ml_dtypes
import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nkipy.runtime import PerRank, simulate_jit

X = np.arange(6, dtype=np.float32).reshape(2, 3)

SCRIPT = """
import ml_dtypes
import numpy as np

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nkipy.runtime import baremetal_jit


@nki.jit
def shown(x):
    tile = nl.ndarray(x.shape, nl.bfloat16)
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    nisa.dma_copy(tile, x)
    nl.device_print("a/../tile", tile)
    nisa.dma_copy(result, tile)
    return result


x = np.arange(6, dtype=np.float32).reshape(2, 3)
"""


@nki.jit
def shown(x, name):
    tile = nl.ndarray(x.shape, nl.bfloat16)
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    nisa.dma_copy(tile, x)
    nl.device_print(name, tile)
    nisa.dma_copy(result, tile)
    return result


def test_a_simulation_prints_as_the_kernel_alone_does(capsys):
    simulated = simulate_jit(lambda x: shown(x + 1, "here") * 2)
    simulated(X)
    (inside,) = capsys.readouterr()[:1]
    nki.simulate(shown)(X + 1, "here")
    assert inside == capsys.readouterr().out != ""
    assert inside == f"here {(X + 1).astype(ml_dtypes.bfloat16)}\n"


def test_a_kernel_that_prints_runs_though_nobody_uses_its_result(capsys):
    def kernel(x):
        shown(x, "first")
        shown(x, "second")
        return x + 1

    simulate_jit(kernel)(X)
    first, second = (
        f"{n} {X.astype(ml_dtypes.bfloat16)}\n" for n in ("first", "second")
    )
    assert capsys.readouterr().out in (first + second, second + first)


def test_each_rank_prints(capsys):
    simulate_jit(lambda x: shown(x, "x"), world_size=2)(PerRank([X, X + 7]))
    printed = capsys.readouterr().out
    for x in (X, X + 7):
        assert f"x {x.astype(ml_dtypes.bfloat16)}\n" in printed


def run(tmp_path, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT + textwrap.dedent(script)],
        env={
            **os.environ,
            "NKIPY_EMULATOR_LOCK_DIR": str(tmp_path),
            "NKIPY_EMULATOR_PYTHON": sys.executable,
            **environment,
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )


def printed(core: int, x: np.ndarray) -> str:
    return f"core {core}: a/../tile {x.astype(ml_dtypes.bfloat16)}\n"


@pytest.mark.device
@pytest.mark.parametrize("engine", ["inprocess", "child"])
def test_spike_prints_what_a_core_prints(tmp_path, engine):
    script = """
    on_device = baremetal_jit(lambda x: shown(x + 1) * 2)
    on_device(x)
    on_device(x + 1)
    """
    done = run(
        tmp_path, script, NKIPY_EMULATOR_ENGINE=engine, NEURON_RT_VISIBLE_CORES="0"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == printed(0, X + 1) + printed(0, X + 2)


@pytest.mark.device
@pytest.mark.parametrize("engine", ["inprocess", "child"])
def test_each_rank_prints_on_its_core(tmp_path, engine):
    script = """
    import nkipy_nki.collectives as ncc
    from concurrent.futures import ThreadPoolExecutor
    from nkipy.core.trace import trace_function
    from nkipy_emulator.neff_writer import ProgramDescription, neff_bytes
    import spike


    @nki.jit
    def summed(x):
        mine, total = (
            nl.ndarray(x.shape, x.dtype, buffer=nl.private_hbm) for _ in range(2)
        )
        nisa.dma_copy(mine, x)
        nl.device_print("a/../tile", mine)
        result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        ncc.all_reduce([mine], [total], ncc.ReplicaGroup([[0, 1]]), nl.add)
        nisa.dma_copy(result, total)
        return result


    module = trace_function(lambda x: summed(x) + 0, (x,), {}).module
    open("k.neff", "wb").write(neff_bytes(module, ProgramDescription()))
    cores = [
        spike.SpikeModel.load_from_neff("k.neff", None, core, True, core, 2)
        for core in range(2)
    ]

    def execute(core):
        given = {"x": spike.SpikeTensor.from_numpy(x + core, "x", core)}
        return cores[core](given)["output0"].numpy()

    with ThreadPoolExecutor(2) as pool:
        for total in pool.map(execute, range(2)):
            assert np.array_equal(total, 2 * x + 1)
    """
    variables = {"NKIPY_EMULATOR_ENGINE": engine, "NEURON_RT_VISIBLE_CORES": "0-1"}
    done = run(tmp_path, script, **variables)
    assert done.returncode == 0, done.stderr
    for core in range(2):
        assert f"core {core}: a/../tile {X + core}\n" in done.stdout


@pytest.mark.device
def test_what_is_printed_becomes_files_in_the_directory_for_it(tmp_path):
    script = "baremetal_jit(lambda x: shown(x + 1) * 2)(x)"
    directory = tmp_path / "printed" / "here"
    directory.mkdir(parents=True)
    variables = {"NEURON_RT_VISIBLE_CORES": "0"}
    variables["NEURON_RT_DEBUG_OUTPUT_DIR"] = str(directory)
    done = run(tmp_path, script, **variables)
    assert done.returncode == 0, done.stderr
    (place,) = directory.glob("*/core_0/0")
    tensor = (X + 1).astype(ml_dtypes.bfloat16)
    assert (place / "tensor_data.bin").read_bytes() == tensor.tobytes()
    assert (place / "formatted_tensor.txt").read_text() == f"{tensor}\n"
    told = (place / "metadata.txt").read_text()
    assert told == "prefix: a/../tile\ndtype: bfloat16\nshape: [2, 3]\n"
    assert [path.name for path in tmp_path.iterdir() if path.name == "tile"] == []


@pytest.mark.device
def test_what_was_printed_before_an_error_is_shown(tmp_path):
    script = """
    @nki.jit
    def fails(x):
        unwritten = nl.ndarray(x.shape, x.dtype)
        result = shown(x)
        nisa.dma_copy(result, unwritten)
        return result

    try:
        baremetal_jit(lambda x: fails(x + 1) * 2)(x)
    except Exception as error:
        assert "never written" in str(error), error
    else:
        raise SystemExit("nothing was raised")
    """
    done = run(tmp_path, script, NEURON_RT_VISIBLE_CORES="0")
    assert done.returncode == 0, done.stderr
    assert done.stdout == printed(0, X + 1)
