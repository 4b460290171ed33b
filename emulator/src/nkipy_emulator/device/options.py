"""What the runtime says about a load: which core, and its settings."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """Where a program is loaded, and how strictly.

    Attributes:
        target: the chip that the core is of, such as ``"trn2"``; ``""`` is any.
        lnc: physical cores per logical core; 0 is any.
        rank: which one of the ranks loads the program.
        world_size: how many ranks there are; 1 outside of collectives.
        root_comm_id: ``host:port`` where ranks of several processes meet
            (``NEURON_RT_ROOT_COMM_ID``); ``""`` is nowhere.
        timeout_ms: how long a rank waits for others (``NEURON_RT_EXEC_TIMEOUT``); 0 is
            no limit.
        peers_reachable: this process has a core for each rank.
        validate_hash: compare the file's hash with its content
            (``NEURON_RT_VALIDATE_HASH``).
        allow_legacy: run what was compiled for an older generation
            (``NEURON_RT_ALLOW_LEGACY_NEFF``).
        fail_out_of_bounds: an index out of bounds in a gather, scatter or dynamic slice
            ends an execution with ``NRT_EXEC_OOB``, instead of being clamped.
    """

    target: str = ""
    lnc: int = 0
    rank: int = 0
    world_size: int = 1
    root_comm_id: str = ""
    timeout_ms: int = 0
    peers_reachable: bool = True
    validate_hash: bool = False
    allow_legacy: bool = False
    fail_out_of_bounds: bool = False

    @classmethod
    def from_json(cls, text: str) -> LoadOptions:
        """Read what libnrt writes; members that this version does not know are left."""
        given = json.loads(text) if text else {}
        return cls(**{f.name: given[f.name] for f in fields(cls) if f.name in given})
