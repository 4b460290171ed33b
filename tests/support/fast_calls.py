"""Modules run with and without handlers in the place of XLA's code."""

from __future__ import annotations

from nkipy.core.trace import NKIPyKernel
from nkipy_emulator.custom_calls import CustomCalls
from nkipy_emulator.engine import XlaCpuEngine, _with_store

MODES = ("never", "always")


def kernel(function, *values):
    """A module of what `function` does to arrays like `values`."""
    return NKIPyKernel.trace(function).specialize(*values)


def run(module, arguments, mode, **options):
    """The module's results."""
    executable = XlaCpuEngine(fast_calls=mode).compile(module, **options)
    outputs = [executable.empty(r.shape, r.dtype) for r in module.results]
    executable.run(arguments, outputs)
    return outputs


def targets(module, mode="always", options=None):
    """What is called by the module that XLA gets."""
    made, _ = _with_store(module, options, CustomCalls(), fast_calls=mode)
    calls = [i.attributes for i in made.instructions() if i.opcode == "custom-call"]
    found = [c["custom_call_target"] for c in calls]
    return [t for t in found if t != "nkipy_store"]
