"""Who a rank is."""

from __future__ import annotations

import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nkipy_emulator.worlds.messages import MessageError

#: As many ranks as a world may have, see ``world_memory.h``.
MAX_RANKS = 1024


@dataclass(frozen=True)
class Introduction:
    """What a rank says of itself.

    Attributes:
        purpose: of the world; ranks of several do not meet.
        job: the launcher's name for what it has started, ranks of several do
            not meet.
        rank: which one it is.
        ranks: how many there are.
        machine: those with the same can share memory.
        node: the machine's name, for people.
        process: its process number.
        memory: name of the abstract socket that hands out the machine's memory.
    """

    purpose: str
    job: str
    rank: int
    ranks: int
    machine: str
    node: str
    process: int
    memory: str

    def __str__(self) -> str:
        return f"rank {self.rank} (process {self.process} on {self.node})"

    def as_message(self) -> dict[str, Any]:
        """What :meth:`from_message` reads."""
        return asdict(self)

    @classmethod
    def from_message(cls, message: Any) -> Introduction:
        """Raises MessageError."""
        fields = cls.__annotations__
        if not isinstance(message, dict) or set(message) != set(fields):
            raise MessageError("no introduction of a rank")
        for name, value in message.items():
            wanted = int if fields[name] == "int" else str
            if type(value) is not wanted:
                raise MessageError(f"{name} is {value!r}")
        made = cls(**message)
        if not 0 <= made.rank < made.ranks <= MAX_RANKS:
            raise MessageError(f"rank {made.rank} of {made.ranks}")
        return made


def machine() -> str:
    """Names what processes have to have in common to share memory.

    A network namespace of its own is another machine, as abstract sockets see it; so is
    another directory of locks, which is another set of emulated cores.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        network = os.stat("/proc/self/ns/net").st_ino
    except OSError:
        boot, network = socket.gethostname(), 0
    locks = os.environ.get("NKIPY_EMULATOR_LOCK_DIR", "")
    return f"{boot} {network} {os.getuid()} {locks}"
