"""Fixtures that build small modules and execute them on the XLA engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOInstruction, HLOModule
from nkipy_emulator.engine import XlaCpuEngine

Body = Callable[..., "HLOInstruction | Sequence[HLOInstruction]"]


def make_module(body: Body, *like: np.ndarray) -> HLOModule:
    """The module of ``body(builder, *parameters)``, with parameters like the arrays."""
    module = HLOModule("test")
    builder = HLOBuilder(module.entry)
    parameters = [
        module.add_parameter(a.shape, a.dtype, f"x{i}") for i, a in enumerate(like)
    ]
    module.set_results(body(builder, *parameters))
    return module


def empty_results(module: HLOModule) -> list[np.ndarray]:
    """Arrays for the results, filled with a pattern that no test computes."""
    arrays = []
    for result in module.results:
        array = np.empty(result.shape, result.dtype)
        array.reshape(-1).view(np.uint8)[...] = 0x5A
        arrays.append(array)
    return arrays


@pytest.fixture(scope="session")
def engine() -> XlaCpuEngine:
    return XlaCpuEngine()


@pytest.fixture
def module_of() -> Callable[..., HLOModule]:
    return make_module


@pytest.fixture
def execute(engine: XlaCpuEngine) -> Callable[..., list[np.ndarray]]:
    """``execute(body, *arrays, options=None)``: compile, run once, the results."""

    def call(body: Body, *inputs: np.ndarray, options: Any = None) -> list[np.ndarray]:
        module = make_module(body, *inputs)
        outputs = empty_results(module)
        engine.compile(module, options=options).run(inputs, outputs)
        return outputs

    return call


@pytest.fixture
def results_of() -> Callable[[HLOModule], list[np.ndarray]]:
    return empty_results


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
