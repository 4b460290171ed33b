"""Kinds of arrays, which are known while tracing."""

from __future__ import annotations

from typing import Any

import numpy as np

from nkipy.core.ops._registry import Op

iscomplexobj = Op("iscomplexobj", numpy=np.iscomplexobj)


isrealobj = Op("isrealobj", numpy=np.isrealobj)


@iscomplexobj.impl("hlo")
def _iscomplexobj(x: Any) -> bool:
    """False: no traced array is complex."""
    return False


@isrealobj.impl("hlo")
def _isrealobj(x: Any) -> bool:
    """True: no traced array is complex."""
    return True
