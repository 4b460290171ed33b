"""How many mappings of memory the process has, of which the system allows so many.

Each compiled program has some of its own. A process that has used up its mappings is
ended, by XLA or by whatever else next wants memory.
"""

from __future__ import annotations

import gc
from pathlib import Path

from nkipy_emulator.errors import ProgramSizeError

#: Fewer programs are never the reason; and so many are compiled between two looks.
_UNSUSPECTED = 2048
_STEP = 64
#: Of what the system allows; the rest is for all others.
_SHARE = 0.9


def check_maps(programs: int) -> None:
    """Refuse another program where the system would end the process for it.

    Args:
        programs: how many there are.

    Raises:
        ProgramSizeError: nearly all mappings are in use.
    """
    if programs < _UNSUSPECTED or programs % _STEP:
        return
    limit = _limit()
    if limit and _count() > _SHARE * limit:
        gc.collect()
        if _count() > _SHARE * limit:
            raise ProgramSizeError(
                f"{programs:,} compiled programs are alive, whose memory takes nearly "
                f"all of the {limit:,} mappings that a process may have; drop some, "
                "compile in several processes, or raise vm.max_map_count"
            )


def _limit() -> int:
    """0: unknown, as on systems without such a limit."""
    try:
        return int(Path("/proc/sys/vm/max_map_count").read_text())
    except (OSError, ValueError):
        return 0


def _count() -> int:
    try:
        return Path("/proc/self/maps").read_bytes().count(b"\n")
    except OSError:
        return 0
