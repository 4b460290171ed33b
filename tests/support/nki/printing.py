"""What printing writes: nothing that an instruction could read."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nkipy_nki.records import Sample
from tests.support.nki.samples import expects


@expects("device_print")
def _device_print(sample: Sample) -> Mapping[str, np.ndarray]:
    return {}  # test_printing.py looks at what is printed
