"""Modules run with and without handlers in the place of XLA's code."""

from __future__ import annotations

from nkipy.core.trace import NKIPyKernel
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOModule
from nkipy.hlo.proto_shapes import ELEMENT_TYPES
from nkipy_emulator import _xla
from nkipy_emulator.custom_calls import CustomCalls
from nkipy_emulator.engine import XlaCpuEngine
from nkipy_emulator.executables import DirectExecutable
from nkipy_emulator.handler_programs import HandlerProgram, handler_program
from nkipy_emulator.preparation import with_store

MODES = ("never", "always")


def kernel(function, *values):
    """A module of what `function` does to arrays like `values`."""
    return NKIPyKernel.trace(function).specialize(*values)


def traced(function, *values):
    """The same for functions that are NumPy's own: they take a traced array where
    they take one of its."""
    return kernel(lambda *xs: function(*xs), *values)


def built(body, *values):
    """A module of what `body`, with a builder, makes of parameters like `values`."""
    module = HLOModule("built")
    given = [module.add_parameter(x.shape, x.dtype) for x in values]
    results = body(HLOBuilder(module.entry), *given)
    module.set_results(list(results) if isinstance(results, tuple) else [results])
    return module


def by_handlers(module):
    """`module`, which has to be one that needs no XLA, as calls of handlers alone."""
    program = handler_program(module, mode="always")
    assert program is not None
    return DirectExecutable(module, "handlers", program)


def run(module, arguments, mode, **options):
    """The module's results."""
    executable = XlaCpuEngine(fast_calls=mode).compile(module, **options)
    outputs = [executable.empty(r.shape, r.dtype) for r in module.results]
    executable.run(arguments, outputs)
    return outputs


def targets(module, mode="always", options=None):
    """What is called by the module that XLA gets."""
    made, _ = with_store(module, options, CustomCalls(), fast_calls=mode)
    calls = [i.attributes for i in made.instructions() if i.opcode == "custom-call"]
    found = [c["custom_call_target"] for c in calls]
    return [t for t in found if t != "nkipy_store"]


def call(target, attributes, arguments, results):
    """A program that is one call of a handler, whatever its attributes say, on arrays
    like `arguments`, for results like `results`."""
    values = [
        (ELEMENT_TYPES[array.dtype], array.shape, number)
        for number, array in enumerate([*arguments, *results])
    ]
    given = tuple(range(len(arguments)))
    made = tuple(range(len(given), len(values)))
    step = (_xla.target(target), tuple(sorted(attributes.items())), given, made)
    return HandlerProgram(2, len(given), tuple(values), (), (step,), made)


def runner(program, arguments, results):
    """What runs a program on arrays like these; ValueError if it is not of them."""
    sizes = [[array.nbytes for array in arrays] for arrays in (arguments, results)]
    return _xla.direct_runner(*sizes, "handlers", program)
