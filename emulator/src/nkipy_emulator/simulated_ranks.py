"""Ranks of simulations that are processes: where they meet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nkipy_emulator.worlds import Worlds

if TYPE_CHECKING:
    from nkipy.hlo.options import Meeting
    from nkipy_emulator._xla import Seat

#: Those of this process, which are others than the device's.
WORLDS = Worlds("simulation")


def take_seat(meeting: Meeting) -> Seat:
    """The seat of this process's rank, in a world that has not ended.

    Where one has ended, this process leaves all of them: those that are left, and who
    comes in the place of the others, begin anew.

    Raises:
        WorldError: there is no such address, or rank 0 cannot listen there.
    """
    place = meeting.address, meeting.rank, meeting.world_size
    seat = WORLDS.join(*place)
    if seat.reason is None:
        return seat
    WORLDS.leave()
    return WORLDS.join(*place)
