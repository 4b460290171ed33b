"""Whether floats of fewer than 32 bits are rounded, as ``NKI_PRECISE_FP`` says."""

from __future__ import annotations

from nkipy_nki.flags import flag

__all__ = ["VARIABLE", "is_precise"]

#: The vendor's variable. With 0, tensors of such floats keep their values in float32,
#: which shows how much of an error is due to rounding.
VARIABLE = "NKI_PRECISE_FP"


def is_precise() -> bool:
    """Whether elements are rounded to their types, which they are unless told.

    Raises:
        NkiValidationError: the variable is no flag.
    """
    return flag(VARIABLE, True)
