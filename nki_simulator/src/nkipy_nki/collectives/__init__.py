"""``nki.collectives``: ranks that exchange tensors, each an instruction's record.

``nki.simulate_ranks`` runs a kernel on several ranks.
"""

from __future__ import annotations

from nkipy_nki.collectives.exchanges import *
from nkipy_nki.collectives.groups import ReplicaGroup as ReplicaGroup
from nkipy_nki.collectives.groups import rg_partition_op as rg_partition_op
from nkipy_nki.collectives.rings import *
from nkipy_nki.collectives.variable import *
from nkipy_nki.exports import public_names as _public_names

__all__ = _public_names(globals())
