"""Operators of lists of tensors, which compute with each as others do with one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from spike_torch.aten.examples import given
from spike_torch.aten.record import OPERATORS, lowering

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Array, Graph

#: With one list: the operator that each tensor is given to has the same name.
_UNARY = (
    *("abs", "acos", "asin", "atan", "ceil", "cos", "cosh", "erf", "erfc", "exp"),
    *("expm1", "floor", "frac", "log", "log10", "log1p", "log2", "neg", "reciprocal"),
    *("round", "rsqrt", "sigmoid", "sign", "sin", "sinh", "sqrt", "tan", "tanh"),
    *("trunc", "clone"),
)
#: With two: the overloads of the operator that take a tensor and a number.
_BINARY = {
    "add": ("add.Tensor", "add.Tensor"),
    "sub": ("sub.Tensor", "sub.Tensor"),
    "mul": ("mul.Tensor", "mul.Tensor"),
    "div": ("div.Tensor", "div.Tensor"),
    "maximum": ("maximum", "clamp_min"),
    "minimum": ("minimum", "clamp_max"),
    "clamp_min": ("maximum", "clamp_min"),
    "clamp_max": ("minimum", "clamp_max"),
    "pow": ("pow.Tensor_Tensor", "pow.Tensor_Scalar"),
}


def _each(operator: str, lists: int) -> Callable[..., list[Array]]:
    """A lowering that gives an operator, in turn, elements of its first arguments.

    Args:
        operator: which.
        lists: how many arguments are lists, of tensors or of numbers.
    """

    def lower_each(g: Graph, *args: Any, **kwargs: Any) -> list[Array]:
        lower = OPERATORS[f"aten::{operator}"].lower
        assert lower is not None
        made = []
        for result, *parts in zip(g.results, *args[:lists], strict=True):
            with g.lowering([result]):
                made.append(lower(g, *parts, *args[lists:], **kwargs))
        return made

    return lower_each


def _record(name: str, operator: str, lists: int, *samples: Any) -> None:
    lowering(f"_foreach_{name}", samples=given(*samples))(_each(operator, lists))


for _name in _UNARY:
    _record(_name, _name, 1, ["y", "positive"])

#: Of these, torch does not know the sizes of results where sizes are symbols.
_WITHOUT_SYMBOLS = ("maximum", "minimum", "clamp_min", "clamp_max")

for _name, (_tensor, _number) in _BINARY.items():
    _x = ["number", "whole"] if _name in _WITHOUT_SYMBOLS else ["x", "i"]
    _record(f"{_name}.List", _tensor, 2, ["x", "i"], ["y", "bits"])
    _record(f"{_name}.Scalar", _number, 1, _x, 3)
    _record(f"{_name}.ScalarList", _number, 2, _x, [0.5, 3])
for _name in ("add", "mul", "div"):
    _record(f"{_name}.Tensor", f"{_name}.Tensor", 1, ["number", "whole"], "number")

for _name in ("addcmul", "addcdiv"):
    _lists = (["x", "y"], ["y", "x"], ["grad", "grad"])
    _record(f"{_name}.Scalar", _name, 3, *_lists, 0.5)
    _record(f"{_name}.ScalarList", _name, 4, *_lists, [0.5, 2])

_record("lerp.List", "lerp.Tensor", 3, ["x"], ["y"], ["grad"])
_record("lerp.Scalar", "lerp.Scalar", 2, ["x"], ["y"], 0.75)
_record("lerp.ScalarList", "lerp.Scalar", 3, ["x"], ["y"], [0.75])
_record("copy", "copy", 2, ["x", "i"], ["y", "j"])


@lowering("_foreach_pow.ScalarAndTensor", samples=given(2.5, ["y", "x"]))
def pow_of_number(g: Graph, self: Any, exponent: Sequence[Array]) -> list[Array]:
    made = _each("pow.Scalar", 2)
    return made(g, [self] * len(exponent), exponent)
