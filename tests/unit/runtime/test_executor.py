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
