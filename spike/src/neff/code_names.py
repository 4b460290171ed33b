"""The chips by the names that genuine NEFFs have for them.

Made from nkipy/src/nkipy/chips by tools/generate_chips.py; not to be edited.
"""

from __future__ import annotations

CODE_NAMES = {
    "sunda": "trn1",
    "cayman": "trn2",
    "mariana": "trn3",
}
