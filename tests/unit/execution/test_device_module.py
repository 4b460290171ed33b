"""Programs are rid of arrays without elements before a device sees them."""

from __future__ import annotations

import numpy as np

from nkipy.core.trace import trace_function
from nkipy.execution.device_module import device_module
from nkipy.execution.engines import find_engine

F32 = np.float32


def lower(kernel, *args):
    return trace_function(kernel, args, {}).module


def test_a_program_without_empty_arrays_is_left_alone():
    module = lower(lambda x, y: (x + y, x), np.ones(2, F32), np.ones(2, F32))
    made = device_module(module)
    assert made.module is module
    assert made.inputs == (0, 1) and made.outputs == (0, 1)


def test_empty_parameters_become_constants_and_empty_results_are_left_out():
    def kernel(empty, x, other):
        x += 1
        return np.concatenate([empty, x]), empty * 2, other + np.sum(empty), x

    args = np.ones(0, F32), np.arange(3, dtype=F32), np.ones((2, 2), F32)
    module = lower(kernel, *args)
    made = device_module(module)
    assert made.module is not None and made.module is not module
    assert made.inputs == (1, 2) and made.outputs == (0, 2, 3)
    assert [p.shape for p in made.module.parameters] == [(3,), (2, 2)]
    assert [p.parameter_id for p in made.module.parameters] == [0, 1]
    assert [o.name for o in made.module.outputs] == ["output0", "output2", "x"]
    assert made.module.input_output_alias == {2: 0}

    outputs = [np.empty(3, F32), np.empty((2, 2), F32), np.empty(3, F32)]
    find_engine().compile(made.module).run([args[1].copy(), args[2]], outputs)
    np.testing.assert_array_equal(outputs[0], [1, 2, 3])
    np.testing.assert_array_equal(outputs[1], np.ones((2, 2)))
    np.testing.assert_array_equal(outputs[2], [1, 2, 3])


def test_an_empty_parameter_that_is_written_into_needs_no_alias():
    def kernel(empty, x):
        empty += 1
        return x * 2

    made = device_module(lower(kernel, np.ones((0, 3), F32), np.ones(2, F32)))
    assert made.module is not None and made.module.aliases == []
    assert made.inputs == (1,) and made.outputs == (0,)


def test_nothing_may_be_left_to_compute():
    made = device_module(lower(lambda x: x * 2, np.ones((3, 0), F32)))
    assert made.module is None and made.outputs == ()
    assert device_module(lower(lambda x: None, np.ones(3, F32))).module is None
