"""What may be told of a kernel's results at the end of its run."""

from __future__ import annotations

import numpy as np

from nkipy_nki.findings import Findings
from nkipy_nki.memory import Memory
from nkipy_nki.program import View

__all__ = ["require_written"]


def require_written(memory: Memory, view: View, findings: Findings) -> None:
    """Report a result that was not wholly written.

    Raises:
        NkiValidationError: it was not, and that is an error.
    """
    made = view.allocation
    marks = memory.storage(made).marks(view)
    if marks is None or marks.all():
        return
    written = marks.reshape(*view.shape, -1).all(-1)
    first = tuple(int(i) for i in np.argwhere(~written)[0])
    missing = int(written.size - written.sum())
    findings.report(
        "output-not-written",
        f"{missing} of {written.size} elements of the result {made} were never "
        f"written, the first at {list(first)}",
        made.line,
        missing=missing,
        position=list(first),
    )
