"""Runs a plan in each way, and compares what it gives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import nkipy_nki as nki
from nkipy_nki.findings import Findings
from nkipy_nki.replaying import replay
from nkipy_nki.wire import decode, encode
from tests.support.nki.sequences.interpreter import Interpreter, Wrong
from tests.support.nki.sequences.language import kernel_of
from tests.support.nki.sequences.plan import Plan
from tests.support.nki.sequences.values import values_of

__all__ = ["check"]

#: What random sequences do, and compilers may not like.
_LEVELS = {"psum-value-initialized": "off", "would-not-compile": "off"}


def check(plan: Plan) -> int:
    """Run a plan directly, from its program and from that's bytes.

    Returns:
        How many results were compared.

    Raises:
        Wrong: values are not the interpreter's, or bytes differ.
    """
    values = values_of(plan)
    kernel = nki.simulate(kernel_of(plan), target=plan.chip, findings=_LEVELS)
    ran = kernel.run([array.copy() for array in values])
    data = encode(ran.programs)
    programs = decode(data)
    if encode(programs) != data:
        raise Wrong("a program's bytes are others when they are written again")
    for name, these in (("its program", ran.programs), ("its bytes", programs)):
        copies = [array.copy() for array in values]
        again = replay(these, copies, Findings(_LEVELS))
        _require_same(name, ran.values, again)
    with np.errstate(all="ignore"):
        Interpreter(plan, values).play(ran.values)
    return len(ran.values)


def _require_same(
    name: str, mine: Sequence[np.ndarray], theirs: Sequence[np.ndarray]
) -> None:
    for number, (a, b) in enumerate(zip(mine, theirs, strict=True)):
        if a.tobytes() != b.tobytes():
            raise Wrong(f"result {number} differs when it is run from {name}")
