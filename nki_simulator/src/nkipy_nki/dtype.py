"""``nki.dtype``: the element types, which ``nki.language`` has too.

No document has this module; kernels that are published take types from it.
"""

from __future__ import annotations

from nkipy_nki.dtypes import DTYPES

globals().update(DTYPES)
__all__ = list(DTYPES)
