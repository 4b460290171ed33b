"""A random program as text: complete, so that it can be kept, read and run again.

``program`` is the kernel; ``arguments()`` makes its arguments, ``change()`` changes
what it captures. A program whose first line is `LOW` is to follow nkipy's rule for
bfloat16 and fp8, all others plain NumPy.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from nkipy.core.tree import map_tree
from nkipy.testing import following_table
from nkipy.testing.low_precision import _Array, _decided, _evaluate, _is_ours

#: What NumPy raises for a wrong program.
MISTAKES = (TypeError, ValueError, IndexError)

LOW = "# low precision\n"
HEADER = """\
import collections
import dataclasses

import numpy as np

from tests.support.programs.names import Pair, Two, bf16, e4m3, e5m2, f32, i32, inf, nan

"""


@dataclass
class Program:
    """Parts of a program's text.

    Attributes:
        low: whether it follows nkipy's rule for low precision.
        captured: assignments of globals.
        changes: statements that change them, between two calls.
        arguments: the expression of each argument, by name.
        unpacking: statements that name arrays within the arguments.
        steps: what the program does, one or several lines each.
        returned: the expression that it returns.
    """

    low: bool
    captured: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    arguments: dict[str, str] = field(default_factory=dict)
    unpacking: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    returned: str = "None"

    def __str__(self) -> str:
        return "".join(
            [
                LOW * self.low,
                HEADER,
                *(f"{line}\n" for line in self.captured),
                _function("change()", self.changes or ["pass"]),
                _function("arguments()", [f"return [{self._values()}]"]),
                _function(
                    f"program({', '.join(self.arguments)})",
                    [*self.unpacking, *self.steps, f"return {self.returned}"],
                ),
            ]
        )

    def _values(self) -> str:
        return ", ".join(self.arguments.values())

    def without(self, i: int) -> Program:
        """The program without step `i`."""
        return replace(self, steps=self.steps[:i] + self.steps[i + 1 :])


def _function(signature: str, lines: Sequence[str]) -> str:
    body = "".join(f"    {line}\n" for text in lines for line in text.split("\n"))
    return f"\n\ndef {signature}:\n{body}"


def namespace(text: str) -> dict[str, Any]:
    """The globals of a program, made anew: what it captures is its own."""
    made: dict[str, Any] = {"__name__": "random_program"}
    exec(compile(text, "<random program>", "exec"), made)
    return made


class _Numpy:
    """NumPy, but arrays of low precision that it makes of nothing follow the rule."""

    def array(self, value: Any, dtype: Any = None, **others: Any) -> Any:
        """Numbers beside arrays are weak, which no array of NumPy's knows."""
        if dtype is None and isinstance(value, (list, tuple)):
            return _evaluate(
                np.array, (value,), others, _decided(np.array, (value,), {})
            )
        return following(np.array)(value, dtype, **others)

    def __getattr__(self, name: str) -> Any:
        found = getattr(np, name)
        return following(found) if name in _MAKERS else found


_MAKERS = (
    "arange asanyarray asarray ascontiguousarray asfortranarray eye full "
    "identity indices linspace meshgrid ones tri zeros"
).split()


def following(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, with results for which nkipy's rule holds."""
    wrapped = functools.partial(map_tree, lambda path, leaf: _following(leaf))
    return lambda *args, **kwargs: wrapped(function(*args, **kwargs))


def _following(leaf: Any) -> Any:
    return leaf.view(_Array) if type(leaf) is np.ndarray and _is_ours(leaf) else leaf


def reference(text: str) -> dict[str, Any]:
    """The globals of a program whose ``program`` gives what a kernel should give."""
    made = namespace(text)
    if text.startswith(LOW):
        made["np"] = _Numpy()
        made["program"] = following_table(made["program"])
    return made
