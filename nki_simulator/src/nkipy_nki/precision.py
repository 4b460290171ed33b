"""Whether floats of fewer than 32 bits are rounded, as ``NKI_PRECISE_FP`` says."""

from __future__ import annotations

import os

from nkipy_nki.errors import NkiValidationError

__all__ = ["VARIABLE", "is_precise"]

#: The vendor's variable. With 0, tensors of such floats keep their values in float32,
#: which shows how much of an error is due to rounding.
VARIABLE = "NKI_PRECISE_FP"
_NAMES = {"1": True, "true": True, "yes": True, "on": True}
_NAMES |= {"0": False, "false": False, "no": False, "off": False}


def is_precise() -> bool:
    """Whether elements are rounded to their types, which they are unless told.

    Raises:
        NkiValidationError: the variable is no flag.
    """
    text = os.environ.get(VARIABLE, "").strip().lower() or "1"
    if text not in _NAMES:
        raise NkiValidationError(f"{VARIABLE}={text!r} is neither 0 nor 1")
    return _NAMES[text]
