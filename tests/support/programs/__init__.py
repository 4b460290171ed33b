"""Random programs: NumPy functions as text, each made from a source of randomness."""

from __future__ import annotations

from tests.support.programs.checking import REFUSED, SAME, check, shrink
from tests.support.programs.text import Program
from tests.support.programs.writer import random_program

__all__ = ["REFUSED", "SAME", "Program", "check", "random_program", "shrink"]
