"""The kernels that were compiled ahead of their calls and may be returned again."""

from __future__ import annotations

import weakref
from typing import Any

from nkipy.execution.call_cache import CALLS, CallCache, CallTable


class _Kept:
    """A kernel; once it is let go of, only for as long as someone else has it."""

    __slots__ = ("kernel", "reference")

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel
        self.reference: weakref.ref[Any] | None = None

    def get(self) -> Any | None:
        """The kernel, kept from here on; None if it is gone or unloaded."""
        kernel = self.alive()
        if getattr(getattr(kernel, "model_ref", None), "is_unloaded", False) is True:
            return None
        self.kernel = kernel
        return kernel

    def alive(self) -> Any | None:
        """The kernel, unless it is gone."""
        kernel, reference = self.kernel, self.reference
        return reference() if kernel is None and reference is not None else kernel

    def let_go(self) -> None:
        """Keep it no longer."""
        kernel = self.kernel
        if kernel is not None:
            self.reference = weakref.ref(kernel)  # first: get() never finds neither
            self.kernel = None


class LoadedKernels:
    """Loaded kernels by the key of their program, in the cache of calls.

    With other calls, they are forgotten when there are too many. Safe to use from
    several threads.

    Args:
        cache: where they are kept.
    """

    def __init__(self, cache: CallCache = CALLS) -> None:
        self._kept: CallTable[_Kept] = cache.table()

    def __len__(self) -> int:
        return len(self.values())

    def __setitem__(self, key: str, kernel: Any) -> None:
        self._kept.put(key, _Kept(kernel))

    def find(self, key: str) -> Any | None:
        """The kernel of this key, unless it is gone, or was unloaded or reset."""
        kept = self._kept.find(key)
        return None if kept is None else kept.get()

    def values(self) -> list[Any]:
        """The kernels that there are, the newest last."""
        alive = (kept.alive() for kept in self._kept.values())
        return [kernel for kernel in alive if kernel is not None]

    def let_go(self, kernel: Any) -> None:
        """Keep `kernel` for only as long as someone else has it."""
        for kept in self._kept.values():
            if kept.kernel is kernel:
                kept.let_go()

    def forget(self, kernel: Any) -> None:
        """Never return `kernel` again."""
        for key, kept in self._kept.items():
            if kept.alive() is kernel:
                self._kept.drop(key)

    def clear(self) -> None:
        """Forget all kernels."""
        self._kept.clear()

    def unload_all(self) -> int:
        """Unload and forget every kernel. Returns how many there were."""
        kernels = self.values()
        self.clear()
        for kernel in kernels:
            kernel.unload()
        return len(kernels)
