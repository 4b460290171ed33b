"""``BaremetalExecutor`` and ``CompiledKernel``: NEFFs that were compiled by hand."""

from __future__ import annotations

import os

import numpy as np
import pytest

from nkipy.core.errors import NKIPyNotImplementedError, NKIPyValueError
from nkipy.core.trace import NKIPyKernel
from nkipy.runtime import (
    BaremetalExecutor,
    CompiledKernel,
    DeviceTensor,
    compile_to_neff,
)
from nkipy.runtime.baremetal import BaremetalProgram

pytestmark = pytest.mark.device
F32 = np.float32


def ones(*shape):
    return np.ones(shape, F32)


def compiled(function, *args, directory):
    kernel = NKIPyKernel.trace(function)
    kernel.specialize(*args)
    return CompiledKernel(kernel, compile_to_neff(kernel, directory))


def add(x, y, factor=2):
    x += y
    return {"sum": x * factor}


def test_a_compiled_kernel_knows_its_file_and_its_program(tmp_path):
    kernel = compiled(add, ones(2), ones(2), directory=tmp_path)
    assert kernel.compiled_artifact == str(tmp_path / "file.neff")
    assert [p.name for p in kernel.ir.inputs] == ["x.must_alias_input", "y"]
    assert "'add'" in repr(kernel)
    with pytest.raises(FileNotFoundError, match="Compiled artifact not found: .*none"):
        CompiledKernel(kernel.traced_kernel, tmp_path / "none.neff")
    with pytest.raises(ValueError, match="specialize"):
        CompiledKernel(NKIPyKernel.trace(add), kernel.compiled_artifact)


def test_it_runs_like_a_call_of_the_kernel(tmp_path):
    kernel = compiled(add, ones(2), ones(2), directory=tmp_path)
    with BaremetalExecutor() as executor:
        for _ in range(2):
            x = ones(2)
            got = executor.run(
                kernel, x, ones(2) * 3, save_trace=True, artifacts_dir=tmp_path
            )
            np.testing.assert_array_equal(got["sum"], [8, 8])
            np.testing.assert_array_equal(x, [4, 4])
        assert os.path.getsize(tmp_path / "profile.ntff") > 0
        resident = DeviceTensor.from_numpy(ones(2))
        executor.run(kernel, x=resident, y=ones(2))
        np.testing.assert_array_equal(resident.numpy(), [2, 2])


def test_it_times_a_kernel_without_touching_the_arguments(tmp_path):
    kernel = compiled(add, ones(2), ones(2), directory=tmp_path)
    x = ones(2)
    result = BaremetalExecutor().benchmark(
        kernel, x, ones(2), warmup_iterations=1, benchmark_iterations=3
    )
    assert (result.iterations, result.warmup_iterations) == (3, 1)
    assert result.mean_ms > 0
    np.testing.assert_array_equal(x, ones(2))


def test_other_arguments_than_it_was_traced_for_are_refused(tmp_path):
    kernel = compiled(add, ones(2), ones(2), directory=tmp_path)
    executor = BaremetalExecutor()
    with pytest.raises(
        NKIPyValueError, match=r"f32\[2\], f32\[2\].*f32\[2\], f32\[3\]"
    ):
        executor.run(kernel, ones(2), ones(3))
    with pytest.raises(NKIPyValueError, match=r"s32\[2\]"):
        executor.benchmark(kernel, ones(2), np.ones(2, np.int32))
    with pytest.raises(TypeError, match="argument"):
        executor.run(kernel, ones(2))


def test_arrays_without_elements_need_the_decorator(tmp_path):
    kernel = compiled(lambda x, y: x + np.sum(y), ones(2), ones(0), directory=tmp_path)
    with pytest.raises(NKIPyNotImplementedError, match="baremetal_jit"):
        BaremetalExecutor().run(kernel, ones(2), ones(0))


def test_a_file_that_is_written_again_is_another_program(tmp_path):
    def increment(x):
        return x + 1

    def scale(x):
        return x * 10

    def made(function):
        kernel = NKIPyKernel.trace(function)
        kernel.specialize(ones(2))
        neff = compile_to_neff(kernel, tmp_path, "same.neff")
        return CompiledKernel(kernel, neff)

    with BaremetalExecutor() as executor:
        first = made(increment)
        np.testing.assert_array_equal(executor.run(first, ones(2)), [2, 2])
        second = made(scale)
        assert second.compiled_artifact == first.compiled_artifact
        np.testing.assert_array_equal(executor.run(second, ones(2)), [10, 10])
        # It could load again, too, when others have made it give way.
        for run in (executor.run, executor.benchmark):
            with pytest.raises(NKIPyValueError, match="same.neff has been over"):
                run(first, ones(2))
        np.testing.assert_array_equal(executor.run(second, ones(2)), [10, 10])
        again = made(increment)
        np.testing.assert_array_equal(executor.run(again, ones(2)), [2, 2])


def test_a_file_that_is_touched_is_the_same_program(tmp_path):
    kernel = compiled(lambda x: x * 2, ones(2), directory=tmp_path)
    with BaremetalExecutor() as executor:
        executor.run(kernel, ones(2))
        os.utime(kernel.compiled_artifact, ns=(1, 1))
        np.testing.assert_array_equal(executor.run(kernel, ones(2)), [2, 2])
        os.unlink(kernel.compiled_artifact)  # what is loaded needs it no more
        np.testing.assert_array_equal(executor.run(kernel, ones(2)), [2, 2])
        assert len(executor._loaded) == 1


def test_a_profile_is_of_the_run_that_asked_for_it(tmp_path, monkeypatch):
    kernel = compiled(lambda x: x * 2, ones(2), directory=tmp_path)
    execute = BaremetalProgram.run
    with BaremetalExecutor() as executor:

        def execute_after_another(program, arrays):
            with monkeypatch.context() as patched:
                patched.setattr(BaremetalProgram, "run", execute)
                executor.run(kernel, ones(2))
            assert not (tmp_path / "profile.ntff").exists()
            return execute(program, arrays)

        with monkeypatch.context() as patched:
            patched.setattr(BaremetalProgram, "run", execute_after_another)
            executor.run(kernel, ones(2), save_trace=True, artifacts_dir=tmp_path)
        assert (tmp_path / "profile.ntff").stat().st_size > 0
