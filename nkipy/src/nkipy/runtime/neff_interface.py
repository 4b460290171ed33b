"""What the results of a NEFF are: more than the runtime library says about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.hlo.ir import MUST_ALIAS_SUFFIX
from spike.neff import NeffError, read_neff

_BY_NAME = {dtype.name: dtype for dtype in dt.SUPPORTED}


@dataclass(frozen=True)
class Interface:
    """The results of a NEFF.

    Attributes:
        outputs: shape and dtype by name, in order. Of what the runtime library reports
            as uint8 or int8, the dtype that it really has, if the file says.
        aliases: by name of a result, the input whose memory it takes.
    """

    outputs: dict[str, tuple[tuple[int, ...], np.dtype]]
    aliases: dict[str, str]


def read_interface(model: Any) -> Interface:
    """The interface of a loaded model, from its file and from the runtime library."""
    outputs = {
        name: (tuple(info.shape), _BY_NAME.get(info.dtype, dt.uint8))
        for name, info in model.output_tensors_info.items()
    }
    aliases = {
        name.removesuffix(MUST_ALIAS_SUFFIX): name
        for name in model.input_tensors_info
        if name.endswith(MUST_ALIAS_SUFFIX)
    }
    try:
        neff = read_neff(model.neff_path)
    except NeffError:  # a kind of file that libnrt knows and we do not
        return Interface(outputs, aliases)
    for output in neff.outputs:
        if output.name in outputs and output.dtype in _BY_NAME:
            outputs[output.name] = tuple(output.shape), _BY_NAME[output.dtype]
    for alias in neff.aliases:
        aliases[neff.outputs[alias.output].name] = neff.inputs[alias.input].name
    return Interface(outputs, aliases)
