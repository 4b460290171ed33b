"""``neuronxcc.nki.compiler``: what only the vendor's can do, refused by name."""

from __future__ import annotations

from typing import Any, NoReturn

from nkipy_nki.errors import NkiValidationError

__all__ = ["enable_stack_allocator", "psum", "sbuf", "skip_middle_end_transformations"]


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


def skip_middle_end_transformations(function: Any) -> Any:
    """The function itself: there are no such transformations."""
    return function


def enable_stack_allocator(function: Any = None, **options: Any) -> Any:
    """The function itself: tensors are placed by what runs them."""
    return function if function is not None else lambda f: f
