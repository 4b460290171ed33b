"""Loops, and where in a grid a program is.

Loops over numbers that are known are Python's own. Those that a register bounds keep
their body once: it is carried out while it is made, and again from what was kept.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from nkipy_nki.deprecation import warn_deprecated
from nkipy_nki.isa.registers import register_move
from nkipy_nki.iterations import Iterations
from nkipy_nki.program import Loop, Register
from nkipy_nki.registers import NkiScalar, VirtualRegister, new_register
from nkipy_nki.running import (
    current,
    invalid,
    is_running,
    is_whole_number,
    kernel_line,
    whole_number,
)

__all__ = [
    "affine_range",
    "dynamic_range",
    "fori_loop",
    "no_reorder",
    "num_programs",
    "program_id",
    "program_ndim",
    "sequential_range",
    "static_range",
    "while_loop",
]


def _range(name: str, bounds: tuple[Any, ...]) -> range:
    """A loop over known numbers, which is unrolled."""
    for bound in bounds:
        if isinstance(bound, VirtualRegister):
            raise TypeError(
                f"nl.{name} takes numbers, and a register's value is not known when "
                f"the program is made: use nl.fori_loop\n  at {kernel_line()}"
            )
    if not 1 <= len(bounds) <= 3:
        raise invalid(f"nl.{name} takes 1 to 3 bounds, not {len(bounds)}")
    numbers = [whole_number(bound, f"nl.{name}: a bound") for bound in bounds]
    warn_deprecated(f"nl.{name} is deprecated: use range")
    return range(*numbers)


def affine_range(*args: Any, **hints: Any) -> Any:
    """``range`` under an older name.

    With the finding ``iteration-race``, which is off unless told, iterations that
    depend on one another are found at the loop's end.
    """
    numbers = _range("affine_range", args)
    if is_running() and current().findings.wants("iteration-race"):
        return Iterations(numbers)
    return numbers


def sequential_range(*args: Any, **hints: Any) -> range:
    """``range`` under an older name."""
    return _range("sequential_range", args)


def static_range(*args: Any, **hints: Any) -> range:
    """``range`` under an older name."""
    return _range("static_range", args)


class dynamic_range:
    """A loop whose body is kept once, as the language had it up to 0.6.

    :func:`fori_loop` is what it has now. The body must be run to its end: what leaves
    it by ``break`` or ``return`` is found when the kernel ends.

    Args:
        bounds: ``upper``; or ``lower, upper``; or ``lower, upper, step``: ints or
            registers, and `step` a positive int.

    Raises:
        NkiValidationError: the bounds are none of these, or the loop is inside of
            ``no_reorder``.
    """

    def __init__(self, *bounds: Any) -> None:
        warn_deprecated("nl.dynamic_range is deprecated: use nl.fori_loop")
        if not 1 <= len(bounds) <= 3:
            raise invalid(f"nl.dynamic_range takes 1 to 3 bounds, not {len(bounds)}")
        lower, upper, *rest = (0, *bounds) if len(bounds) == 1 else bounds
        self._counter, self._body = _counted("nl.dynamic_range", lower, upper, *rest)
        self._run, self._line = current(), kernel_line()
        self._begun = False

    def __iter__(self) -> dynamic_range:
        return self

    def __next__(self) -> VirtualRegister:
        if self._begun:
            self._run.open_loops.remove(self)
            self._body.__exit__(None, None, None)
            raise StopIteration
        self._begun = True
        self._run.open_loops.append(self)
        self._body.__enter__()
        return self._counter

    def __repr__(self) -> str:
        return f"nl.dynamic_range at {self._line}"


def fori_loop(
    lower: Any, upper: Any, body_fun: Callable[[Any], Any], step: int = 1
) -> None:
    """Run ``body_fun(i)`` for `i` from `lower` to `upper`, which is not reached.

    Args:
        lower: an int, a register or a scalar of 32 bits.
        upper: the same.
        body_fun: takes the counter: a :class:`NkiScalar`; a :class:`VirtualRegister`,
            if a bound is one. It is called once.
        step: a positive int.

    Raises:
        NkiValidationError: a bound has 64 bits, `step` is not positive, or the loop is
            inside of ``no_reorder``.
    """
    _require_function("nl.fori_loop", body_fun)
    counter, body = _counted("nl.fori_loop", lower, upper, step)
    with body:
        body_fun(counter)


def _counted(
    function: str, lower: Any, upper: Any, step: Any = 1
) -> tuple[Any, AbstractContextManager[None]]:
    """A loop's counter, and what its body is made in."""
    run = current(function)
    if isinstance(step, bool) or not isinstance(step, int) or step < 1:
        raise invalid(f"{function}: step is {step!r}, and must be a positive int")
    kind = NkiScalar
    for name, bound in (("lower", lower), ("upper", upper)):
        _require_bound(function, name, bound)
        if isinstance(bound, VirtualRegister) and not isinstance(bound, NkiScalar):
            kind = VirtualRegister  # type: ignore[assignment]
    counter = new_register(kind)
    bounds = (_bound(lower), _bound(upper), step)
    loop = Loop(counter.register, bounds, line=kernel_line())
    return counter, run.loop(loop)


def _require_function(function: str, given: Any) -> None:
    if not callable(given):
        raise invalid(f"{function}: body_fun is {given!r}, and must be a function")


def _require_bound(function: str, name: str, bound: Any) -> None:
    if isinstance(bound, NkiScalar) and bound.dtype != "int32":
        raise invalid(f"{function}: {name} has 64 bits, and a bound must have 32")
    if isinstance(bound, VirtualRegister):
        return
    if isinstance(bound, bool) or not is_whole_number(bound):
        raise invalid(
            f"{function}: {name} is {bound!r}, and must be an int or a register"
        )


def _bound(given: Any) -> int | Register:
    if isinstance(given, VirtualRegister):
        current().require_own(given.register, "a loop's bound")
        return given.register
    return int(given)


def while_loop(init: Any, body_fun: Callable[..., Any]) -> None:
    """Run ``r = body_fun(r)`` while r, which is `init` at first, is not 0.

    Args:
        init: the register, or scalar, that says whether the loop is begun.
        body_fun: takes r, by value: of the kind that `init` is; a function without
            parameters takes nothing. It returns the register, or scalar, that says
            whether the loop goes on. It is called once.

    Raises:
        NkiValidationError: one of the two is no register.
    """
    run = current("nl.while_loop")
    condition = new_register(VirtualRegister)
    _require_function("nl.while_loop", body_fun)
    _require_condition("init", init)
    kind = NkiScalar if isinstance(init, NkiScalar) else VirtualRegister
    register_move(condition, init)
    with run.loop(Loop(condition.register, None, line=kernel_line())):
        held: tuple[Any, ...] = ()
        if _takes_one(body_fun):
            held = (new_register(kind),)
            register_move(held[0], condition)
        going = body_fun(*held)
        _require_condition("what its body returns", going)
        register_move(condition, going)


def _takes_one(function: Callable[..., Any]) -> bool:
    """Whether a function can be called with one argument."""
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        return False
    return True


def _require_condition(name: str, given: Any) -> None:
    if not isinstance(given, VirtualRegister):
        raise invalid(f"nl.while_loop: {name} is {given!r}, and must be a register")


@contextmanager
def no_reorder() -> Iterator[None]:
    """The compiler keeps the order of what is made meanwhile, as the simulator always.

    Instructions are issued in that order, which estimated times go by: none begins
    before the one that was made before it. On several engines they may overlap.

    Raises:
        NkiValidationError: a loop over a register is made meanwhile.
    """
    with current("nl.no_reorder").in_order():
        yield


def program_id(axis: int = 0) -> int:
    """Which program of the grid this is, along an axis."""
    grid = current("nl.program_id").grid
    return grid.program_id(whole_number(axis, "nl.program_id: axis"))


def num_programs(axes: int = 0) -> int:
    """How many programs the grid has along an axis; 1 without a grid."""
    grid = current("nl.num_programs").grid
    return grid.num_programs(whole_number(axes, "nl.num_programs: axes"))


def program_ndim() -> int:
    """How many dimensions the grid has; 0 without one."""
    return current("nl.program_ndim").grid.dims
