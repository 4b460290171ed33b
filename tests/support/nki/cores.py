"""What two cores have after they met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nkipy_nki.records import Sample
from tests.support.nki.samples import expects


@expects("core_barrier")
def core_barrier(sample: Sample) -> Sequence[Mapping[str, np.ndarray]]:
    """It writes nothing."""
    return [{}, {}]


@expects("sendrecv")
def sendrecv(sample: Sample) -> Sequence[Mapping[str, np.ndarray]]:
    cores = (sample, *sample.others)
    return [
        {"dst": cores[core.attributes["recv_from_rank"]].operands["src"]}
        for core in cores
    ]
