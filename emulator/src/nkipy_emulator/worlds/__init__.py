"""Worlds: ranks in many processes that exchange what collectives are for.

All ranks know one address. The process of rank 0 listens there; the others tell it who
they are. When all have come, those of one machine share memory, in which the handlers
of ``collective_calls.h`` meet. The connections stay open and say who has ended.
"""

from __future__ import annotations

from nkipy_emulator.worlds.membership import Worlds

__all__ = ["Worlds"]
