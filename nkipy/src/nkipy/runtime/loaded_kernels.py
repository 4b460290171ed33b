"""The kernels that were compiled ahead of their calls and are still loaded."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from nkipy.execution.residency import LOADED


class LoadedKernels(OrderedDict[str, Any]):
    """Loaded kernels by cache key, the least recently used first.

    As many as may be loaded are kept. One that is dropped stays loaded for as long as
    someone has it.
    """

    def __setitem__(self, key: str, kernel: Any) -> None:
        super().__setitem__(key, kernel)
        self.move_to_end(key)
        while len(self) > LOADED.limit:
            del self[next(iter(self))]

    def find(self, key: str) -> Any | None:
        """The kernel of this key, unless it was unloaded or the runtime was reset."""
        kernel = self.get(key)
        if kernel is None:
            return None
        if getattr(getattr(kernel, "model_ref", None), "is_unloaded", False) is True:
            del self[key]
            return None
        self.move_to_end(key)
        return kernel

    def unload_all(self) -> int:
        """Unload and forget every kernel. Returns how many there were."""
        kernels = list(self.values())
        self.clear()
        for kernel in kernels:
            kernel.unload()
        return len(kernels)
