"""``neuronxcc.nki.compiler``: what only the vendor's can do, refused by name."""

from __future__ import annotations

from typing import Any, NoReturn

from nkipy_nki.errors import NkiValidationError

__all__ = [
    "enable_stack_allocator",
    "force_auto_alloc",
    "psum",
    "sbuf",
    "skip_middle_end_transformations",
]


class _Allocators:
    """The allocators of a memory, which choose addresses by hand."""

    def __init__(self, memory: str) -> None:
        self._memory = memory

    def _refuse(self, name: str) -> NoReturn:
        raise NkiValidationError(
            f"nki.compiler.{self._memory}.{name}: explicit allocation is not supported "
            f"here: give buffer=nl.{self._memory}, and let tensors be placed"
        )

    def alloc(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused.

        Raises:
            NkiValidationError: always.
        """
        self._refuse("alloc")

    def mod_alloc(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused.

        Raises:
            NkiValidationError: always.
        """
        self._refuse("mod_alloc")

    def auto_alloc(self, *args: Any, **kwargs: Any) -> Any:
        """The memory itself: tensors are placed by what runs them."""
        from nkipy_nki.regions import MemoryRegion

        return MemoryRegion(self._memory)


sbuf = _Allocators("sbuf")
psum = _Allocators("psum")


def _as_it_is(function: Any) -> Any:
    return function if function is not None else lambda f: f


def skip_middle_end_transformations(func: Any = None) -> Any:
    """The function itself: there are no such transformations."""
    return _as_it_is(func)


def force_auto_alloc(func: Any = None) -> Any:
    """The function itself: tensors are placed by what runs them."""
    return _as_it_is(func)


def enable_stack_allocator(func: Any = None, log_level: int = 50) -> Any:
    """The function itself: tensors are placed by what runs them."""
    return _as_it_is(func)
