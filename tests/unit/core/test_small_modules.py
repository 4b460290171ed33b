"""knob, language, typing, specs, logger, nki_op: without any vendor package."""

from __future__ import annotations

import logging
import warnings

import ml_dtypes
import numpy as np
import pytest

import nkipy
from nkipy.core import language, nki_op, ops, specs, typing
from nkipy.core.knob import knob
from nkipy.core.logger import get_logger
from nkipy.core.trace import trace_function


def test_knob_returns_its_tensor_and_is_silent_outside_of_a_trace():
    x = np.ones(3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert knob(x, partition_dim=0, mem_space="Sbuf") is x
    assert nkipy.knob is knob


def test_knob_warns_once_that_hlo_ignores_it():
    def kernel(x):
        assert knob(x, tile_size=[128]) is x
        return x + 1

    with pytest.warns(UserWarning, match="backend='nkigen'") as seen:
        trace_function(kernel, (np.ones(3, np.float32),), {})
    assert len(seen) == 1


def test_knob_refuses_unknown_memory():
    with pytest.raises(ValueError, match="Hbm, Psum, Sbuf, SharedHbm"):
        knob(np.ones(3), mem_space="Disk")


def test_language_has_the_dtypes():
    assert language.bfloat16 is ml_dtypes.bfloat16
    assert np.dtype(language.float8_e5m2).itemsize == 1
    assert np.dtype(language.float8_e4m3).itemsize == 1


def test_annotations_do_not_affect_tracing():
    def kernel(x: typing.tensor[typing.mutable], y: typing.mutable_tensor):
        x[...] = 1
        return y + 1

    x = np.zeros(2, np.float32)
    module = trace_function(kernel, (x, x), {}).module
    assert [a.param_name for a in module.aliases] == ["x"]


@pytest.mark.parametrize(
    ("dims", "shape", "valid"),
    [
        ((2, None), (2, 7), True),
        ((2, None), (3, 7), False),
        ((2,), (2, 2), False),
        (((2, 4),), (4,), True),
        (((2, 4),), (5,), False),
        (((None, 4), (1, None)), (0, 9), True),
        (((None, 4), (1, None)), (0, 0), False),
    ],
)
def test_shape_spec(dims, shape, valid):
    assert specs.ShapeSpec(dims).is_valid(shape) is valid


def test_type_and_kernel_specs():
    assert specs.CommonTypes.FLOATS.is_valid(np.float16)
    assert not specs.CommonTypes.FLOATS.is_valid(np.int32)
    assert specs.CommonTypes.INTS.default is np.int32
    with pytest.raises(ValueError, match="default"):
        specs.ShapeSpec((2,), (3,))
    x = specs.TensorInputSpec(
        dtype_spec=specs.CommonTypes.FLOATS,
        shape_spec=specs.ShapeSpec((None,), (4,)),
        description="input",
    )
    spec = specs.KernelSpec(np.exp, [x])
    assert spec.is_pure_numpy and spec.inputs[0].shape_spec.default == (4,)
    with pytest.raises(TypeError):
        specs.TensorInputSpec(specs.CommonTypes.FLOATS)


def test_logger_has_a_level_and_one_handler():
    logger = get_logger("nkipy.test_logger", logging.INFO)
    assert logger.level == logging.INFO
    assert get_logger("nkipy.test_logger") is logger
    assert logger.level == logging.INFO and len(logger.handlers) <= 1


def test_nki_entry_points_check_their_arguments():
    assert not (nki_op.LEGACY_NKI_AVAILABLE or nki_op.BETA2_NKI_AVAILABLE)
    assert nki_op.BETA3_NKI_AVAILABLE is False
    with pytest.raises(ValueError, match="nki_compile_mode"):
        nki_op.wrap_nki_kernel(np.exp, [], nki_compile_mode="fast")
    with pytest.raises(ValueError, match="At least one"):
        nki_op.nki_custom_op()
    with pytest.raises(ValueError, match="input_specs and output_specs"):
        nki_op.nki_custom_op(kernel_builder=np.exp)
    with pytest.raises(RuntimeError, match="not supported on backend 'cpu'"):
        nki_op.nki_custom_op(nki_kernel=np.exp)(np.ones(3))


def test_other_names_of_ops_are_exported():
    assert ops.absolute is ops.abs
    assert ops.bitwise_not is ops.invert
    assert ops.mod is ops.remainder
