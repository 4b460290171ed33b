"""Stores to elements that static indices name more than once.

NumPy stores in order, so that the last of several values stays. HLO promises no order
for a scatter. So all stores to one element write the value of the last one. (XLA would
drop those that are sent out of range instead, but a Neuron device reports them.)
"""

from __future__ import annotations

import numpy as np


def last_stores(targets: np.ndarray) -> np.ndarray | None:
    """Which store to the same element is the last one, for each store in order.

    Args:
        targets: 1-D, the element that each one goes to.

    Returns:
        Positions in `targets`, or None if no element occurs twice.
    """
    _, first, inverse = np.unique(targets[::-1], return_index=True, return_inverse=True)
    if first.size == targets.size:
        return None
    return (targets.size - 1 - first[inverse])[::-1]
