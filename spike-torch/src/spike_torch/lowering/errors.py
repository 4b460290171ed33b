"""Why an operation does not become HLO."""

from __future__ import annotations

from typing import Any


class Unsupported(NotImplementedError):
    """The operation has no lowering, or not with these arguments: it runs eagerly."""


class UnknownSize(Unsupported):
    """A size depends on data, or on a number, and none that is given tells it."""


class NeedsExactSize(Exception):
    """Padding would reach a result, and no mask is right: no bucket may be larger.

    Attributes:
        sizes: the sizes that have to be exact, or symbols.
        reason: why, in words that follow the operation's name.
    """

    def __init__(self, reason: str, *sizes: Any) -> None:
        super().__init__(reason)
        self.reason = reason
        self.sizes = sizes

    @property
    def symbols(self) -> frozenset[Any]:
        """The symbols that have to be exact."""
        found: set[Any] = set()
        return frozenset(
            found.union(*(getattr(s, "free_symbols", ()) for s in self.sizes))
        )


class LoweringError(RuntimeError):
    """A lowering of ours made something else than torch says the operation makes."""
