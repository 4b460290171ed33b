"""Operators of torch.library whose lowering is an NKI kernel."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, TypeVar

from spiky.checks import checked_name, checked_number, checked_text

#: Of an NKI kernel: numbers, or what gives them for the operator's arguments.
Grid: TypeAlias = "tuple[int, ...] | Callable[..., tuple[int, ...]]"

#: What a kernel does about padding.
PADDINGS = ("exact", "handled")
Padding: TypeAlias = 'Literal["exact", "handled"]'

_Kernel = TypeVar("_Kernel", bound=Callable[..., Any])


@dataclass(frozen=True)
class NKIOperation:
    """What compiles an operator.

    Attributes:
        name: ``"library::operator"``.
        kernel: the NKI kernel; its arguments are the operator's.
        grid: of its instances; empty: one. Or a function of the operator's arguments.
        compiler_args: more arguments of the compiler.
        alias_map: which argument an output is written into, by their numbers.
        padding: as of :meth:`NKIOpRegistry.register`.
    """

    name: str
    kernel: Callable[..., Any]
    grid: Grid = ()
    compiler_args: str = ""
    alias_map: Mapping[int, int] = field(default_factory=dict)
    padding: Padding = "exact"

    def grid_of(self, *args: Any, **kwargs: Any) -> tuple[int, ...]:
        """The grid for a call with these arguments.

        Raises:
            TypeError: it has something else than numbers.
            ValueError: one is not positive.
        """
        grid = self.grid(*args, **kwargs) if callable(self.grid) else self.grid
        return _checked_grid(self.name, grid)


class NKIOpRegistry:
    """The operators that NKI kernels compile, by name: one kernel each.

    ::

        @NKIOpRegistry.register("my_library::scale", grid=(2,))
        @nki.jit
        def scale_kernel(x): ...

        @torch.library.custom_op("my_library::scale", mutates_args=())
        def scale(x: torch.Tensor) -> torch.Tensor:
            return 2 * x        # what runs where nothing is compiled

        @scale.register_fake
        def _(x):
            return torch.empty_like(x)
    """

    _operations: dict[str, NKIOperation] = {}
    _lock = threading.Lock()

    @classmethod
    def register(
        cls,
        name: str,
        compiler_args: str = "",
        alias_map: Mapping[int, int] | None = None,
        *,
        grid: Grid = (),
        padding: Padding = "exact",
    ) -> Callable[[_Kernel], _Kernel]:
        """A decorator of NKI kernels: the lowering of an operator of torch.library.

        The kernel takes the operator's arguments in their order, and returns what the
        operator does; or it takes as many arrays more as the operator has results, and
        writes these. What it writes to beside them, the operator names in
        ``mutates_args``.

        Args:
            name: ``"library::operator"``; the operator may be defined later.
            compiler_args: more arguments of the compiler.
            alias_map: for each output that is an argument, written into: its number,
                and the argument's.
            grid: of the kernel's instances, or a function of the operator's arguments
                that gives it.
            padding: "exact": the kernel is compiled for each size; "handled": it may be
                given arrays that are padded, with anything, and what it makes of the
                data is the same, in the same places.

        Returns:
            What returns the kernel as it is.

        Raises:
            TypeError: an argument is of another type; the kernel cannot be called.
            ValueError: it is no such name, or another kernel has it already; a number
                is negative.
        """
        checked_text("name", name)
        if not re.fullmatch(r"\w+::\w+", name):
            raise ValueError(f'name is "library::operator": got {name!r}')
        checked_text("compiler_args", compiler_args)
        aliases = _checked_aliases({} if alias_map is None else alias_map)
        if not callable(grid):
            grid = _checked_grid(name, grid)
        checked_name("padding", padding, PADDINGS)

        def put(kernel: _Kernel) -> _Kernel:
            if not callable(kernel):
                raise TypeError(f"{name} is registered for a kernel: got {kernel!r}")
            made = NKIOperation(name, kernel, grid, compiler_args, aliases, padding)
            cls._put(made)
            return kernel

        return put

    @classmethod
    def _put(cls, operation: NKIOperation) -> None:
        with cls._lock:
            there = cls._operations.get(operation.name)
            if there is not None and there.kernel is not operation.kernel:
                raise ValueError(
                    f"{operation.name} is compiled by {_named(there.kernel)} already: "
                    "call NKIOpRegistry.unregister() before giving it another kernel"
                )
            cls._operations[operation.name] = operation

    @classmethod
    def unregister(cls, name: str) -> None:
        """Forget an operator's kernel; functions that were compiled keep it.

        Raises:
            KeyError: none is registered.
        """
        with cls._lock:
            del cls._operations[name]

    @classmethod
    def find(cls, name: str) -> NKIOperation | None:
        """What compiles an operator; None: no kernel is registered for it."""
        return cls._operations.get(name)

    @classmethod
    def names(cls) -> list[str]:
        """The operators that have a kernel."""
        return sorted(cls._operations)


def _checked_grid(name: str, grid: Any) -> tuple[int, ...]:
    if not isinstance(grid, (tuple, list)):
        raise TypeError(f"the grid of {name} is a tuple of numbers: got {grid!r}")
    return tuple(checked_number(f"each of the grid of {name}", n, 1) for n in grid)


def _checked_aliases(alias_map: Any) -> Mapping[int, int]:
    if not isinstance(alias_map, Mapping):
        raise TypeError(f"alias_map is a dict of numbers: got {alias_map!r}")
    for number in (*alias_map, *alias_map.values()):
        checked_number("each number of alias_map", number, least=0)
    return MappingProxyType(dict(alias_map))


def _named(kernel: object) -> str:
    return str(getattr(kernel, "__name__", kernel))
