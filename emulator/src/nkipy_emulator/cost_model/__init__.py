"""Estimates how long a Neuron core would take to execute an HLO module.

The result is an *estimate* from published peak rates. It was not calibrated against
hardware, and is good for comparing programs with each other and for finding what bounds
one, not for predicting a latency.
"""

from __future__ import annotations

from nkipy_emulator.cost_model.constants import TARGETS, Target
from nkipy_emulator.cost_model.errors import CostModelError
from nkipy_emulator.cost_model.model import estimate
from nkipy_emulator.cost_model.types import Estimate, Event

__all__ = ["TARGETS", "CostModelError", "Estimate", "Event", "Target", "estimate"]
