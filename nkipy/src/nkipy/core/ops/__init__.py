"""Every op, by name. Importing this package fills the op tables."""

from __future__ import annotations

from nkipy.core.ops import (  # noqa: F401
    calculus,
    covariance,
    extremes,
    moments,
    nanreduce,
    reduce,
    scan,
    search,
    sorting,
    statistics,
)
from nkipy.core.ops import (  # noqa: F401
    convert,
    creation,
    diagonals,
    edit,
    join,
    metadata,
    padding,
    parts,
    ranges,
    rearrange,
    repetition,
    transform,
)
from nkipy.core.ops import (  # noqa: F401
    bits,
    closeness,
    compare,
    division,
    exponential,
    floats,
    logic,
    power,
    rounding,
    trigonometry,
    ufunc_methods,
)
from nkipy.core.ops import choice, gathering, indexing, interpolate, placing  # noqa: F401
from nkipy.core.ops import (  # noqa: F401
    collectives,
    conv,
    einstein,
    greatest,
    linalg,
    nn,
    norms,
    products,
    solving,
)
from nkipy.core.ops._registry import Op, get_backend, set_source_location
from nkipy.core.ops.binary import *  # noqa: F403
from nkipy.core.ops.unary import *  # noqa: F403

__all__ = ["Op", "get_backend", "set_source_location"]
