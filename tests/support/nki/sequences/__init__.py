"""Random sequences of instructions, in the language and by a plain interpreter.

A plan is plain data. ``language`` plays it as a kernel; ``interpreter`` plays it on
bytes, one element after the other, and knows nothing of the simulator.
"""

from tests.support.nki.sequences.checking import check
from tests.support.nki.sequences.plan import Plan
from tests.support.nki.sequences.writer import random_plan

__all__ = ["Plan", "check", "random_plan"]
