"""Functions of tensors that compiled programs compute, to test with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from nkipy.execution import build, load
from nkipy.hlo import HLOBuilder, HLOModule
from spike_torch.programs import (
    Function,
    Input,
    PowersOfTwo,
    Result,
    Returned,
    ReturnedArgument,
    Size,
    Symbol,
    Variant,
)

F32 = torch.float32
N, M = Size(0), Size(1)
POWERS, WHOLE = PowersOfTwo(), Returned(0)


def program(
    compute: Callable[..., Any],
    *parameters: tuple[tuple[int, ...], Any],
    aliases: dict[int, int] | None = None,
    core: int = 0,
) -> Any:
    """A program on a core, of what `compute` builds of its parameters."""
    module = HLOModule("test")
    given = [
        module.add_parameter(shape, np.dtype(dtype), f"p{i}")
        for i, (shape, dtype) in enumerate(parameters)
    ]
    made = compute(HLOBuilder(module.entry), *given)
    module.set_results(list(made) if isinstance(made, (tuple, list)) else [made])
    for output, parameter in (aliases or {}).items():
        module.alias(output, parameter)
    return load(build(module), core)


def random(*shape: int, device: str = "nkipy") -> torch.Tensor:
    return torch.randn(*shape).to(device)


def compile_doubled(buckets: tuple[int, ...]) -> Variant:
    shape = buckets[0], 3
    made = program(lambda b, x: b.add(x, x), (shape, np.float32))
    return Variant.of(made, [shape], [shape])


def doubled(
    buckets: Any = POWERS,
    compile: Any = compile_doubled,
    returned: Returned = WHOLE,
    **options: Any,
) -> Function:
    """x + x of n rows."""
    return Function(
        "double",
        ["x"],
        [Symbol("n", 0, 0, buckets)],
        [Input(0, F32, (N, 3))],
        [Result(F32, (N, 3))],
        [returned],
        compile,
        **options,
    )


def static(shape: tuple[int, ...] = (2, 3), **options: Any) -> Function:
    """x + y, of fixed sizes."""

    def compile(sizes: tuple[int, ...]) -> Variant:
        two = (shape, np.float32), (shape, np.float32)
        core = options.get("core", 0)
        made = program(lambda b, x, y: b.add(x, y), *two, core=core)
        return Variant.of(made, [shape, shape], [shape])

    return Function(
        "sum",
        ["x", "y"],
        [],
        [Input(0, F32, shape), Input(1, F32, shape)],
        [Result(F32, shape)],
        [Returned(0)],
        compile,
        **options,
    )


def accumulated(rows: Any = N) -> Function:
    """total += x, which returns total and what x was times 2."""

    def compile(sizes: tuple[int, ...]) -> Variant:
        shape = (*sizes, 3) if sizes else (2, 3)
        made = program(
            lambda b, total, x: (b.add(total, x), b.add(x, x)),
            *[(shape, np.float32)] * 2,
            aliases={0: 0},
        )
        return Variant.of(made, [shape] * 2, [shape] * 2)

    return Function(
        "accumulate",
        ["total", "x"],
        [] if rows == 2 else [Symbol("n", 0, 0)],
        [Input(0, F32, (rows, 3), is_written=True), Input(1, F32, (rows, 3))],
        [Result(F32, (rows, 3), input=0), Result(F32, (rows, 3))],
        [ReturnedArgument(0), Returned(1)],
        compile,
    )
