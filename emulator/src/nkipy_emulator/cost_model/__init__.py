"""Estimates how long a Neuron core would take to execute an HLO module.

The result is an *estimate* from published peak rates. It was not calibrated against
hardware, and is good for comparing programs with each other and for finding what bounds
one, not for predicting a latency.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nkipy.lazy import lazy_names

if TYPE_CHECKING:
    from nkipy_emulator.cost_model.constants import TARGETS, Target
    from nkipy_emulator.cost_model.errors import CostModelError
    from nkipy_emulator.cost_model.model import estimate
    from nkipy_emulator.cost_model.types import Estimate, Event

__all__ = ["TARGETS", "CostModelError", "Estimate", "Event", "Target", "estimate"]

#: Imported on first use: a device looks up targets, and rarely estimates anything.
_LAZY = {
    "TARGETS": "nkipy_emulator.cost_model.constants",
    "CostModelError": "nkipy_emulator.cost_model.errors",
    "Estimate": "nkipy_emulator.cost_model.types",
    "Event": "nkipy_emulator.cost_model.types",
    "Target": "nkipy_emulator.cost_model.constants",
    "estimate": "nkipy_emulator.cost_model.model",
}

__getattr__, __dir__ = lazy_names(__name__, globals(), _LAZY)
