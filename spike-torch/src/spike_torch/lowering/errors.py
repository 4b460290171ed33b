"""Why an operation does not become HLO."""

from __future__ import annotations

from spike_torch.lowering.sizes import Size, symbols_of


class Unsupported(NotImplementedError):
    """The operation has no lowering, or not with these arguments: it runs eagerly."""


class NeedsExactSize(Exception):
    """Padding would reach a result, and no mask is right: no bucket may be larger.

    Attributes:
        sizes: the sizes that have to be exact.
        reason: why, in words that follow the operation's name.
    """

    def __init__(self, reason: str, *sizes: Size) -> None:
        super().__init__(reason)
        self.reason = reason
        self.sizes = sizes

    @property
    def symbols(self) -> frozenset[object]:
        """The symbols that have to be exact."""
        return frozenset(s for size in self.sizes for s in symbols_of(size))


class LoweringError(RuntimeError):
    """A lowering of ours made something else than torch says the operation makes."""
