"""Runs part of a program: what is left of it without empty arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # a simulation needs no device
    from nkipy.execution.host_call import HostCall, ProfiledCall


class PartOf:
    """Runs a call that takes and makes some of a program's arrays.

    Args:
        call: the call; None if there is nothing to run.
        inputs: for each of its inputs, which of the program's it is.
        outputs: for each of its outputs, which of the program's it is.
    """

    def __init__(
        self,
        call: HostCall | ProfiledCall | None,
        inputs: tuple[int, ...],
        outputs: tuple[int, ...],
    ) -> None:
        self.call = call
        self.inputs = inputs
        self.outputs = outputs

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An array for a result."""
        return np.empty(shape, dtype)

    def run(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Execute once; the other outputs have no elements to write."""
        if self.call is not None:
            self.call.run(
                [inputs[i] for i in self.inputs], [outputs[i] for i in self.outputs]
            )

    def unload(self) -> None:
        """Free the core's memory."""
        if self.call is not None:
            self.call.unload()
