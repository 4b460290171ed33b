"""Random sequences of instructions: a plain interpreter agrees, however they are run.

``random_plan`` makes case *n* of seed *s* from these two alone. ``NKIPY_FUZZ_SEED`` and
``NKIPY_FUZZ_CASES`` let the exhaustive test look for more.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence

import ml_dtypes
import numpy as np
import pytest

from tests.support.nki.sequences import Plan, check, random_plan
from tests.support.nki.sequences.interpreter import INSTRUCTIONS, Wrong
from tests.support.nki.sequences.plan import Place, Step, Tensor
from tests.support.nki.sequences.results import Near, problem

#: How many cases a test runs, and steps in each.
FEW, MANY, STEPS = 8, 50, 12


def run(seed: str, cases: Sequence[int], steps: int = STEPS) -> None:
    """Check cases; of one that fails, tell all of it."""
    for case in cases:
        plan = random_plan(f"{seed}:{case}", steps)
        try:
            check(plan)
        except Exception as error:
            text = f"case {case} of seed {seed}: {error}\n\n{plan}"
            raise AssertionError(text) from error


def _batches(count: int, size: int) -> list[range]:
    return [range(i, i + size) for i in range(0, count, size)]


@pytest.mark.parametrize("cases", _batches(24, FEW), ids=str)
def test_sequences_give_what_elements_give(cases: Sequence[int]) -> None:
    run("0", cases)


@pytest.mark.slow
@pytest.mark.parametrize("cases", _batches(300, MANY), ids=str)
def test_many_sequences_give_what_elements_give(cases: Sequence[int]) -> None:
    run("1", cases, 2 * STEPS)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_sequences_of_a_new_seed_give_what_elements_give() -> None:
    seed = os.environ.get("NKIPY_FUZZ_SEED") or str(random.SystemRandom().random())
    run(seed, range(int(os.environ.get("NKIPY_FUZZ_CASES", "500"))))


def test_a_sequence_can_be_made_again() -> None:
    assert str(random_plan("3:5")) == str(random_plan("3:5"))
    assert str(random_plan("3:5")) != str(random_plan("3:6"))


def test_sequences_are_of_all_that_the_interpreter_plays() -> None:
    plans = [random_plan(f"0:{case}", STEPS) for case in range(30)]
    steps = [step for plan in plans for step in plan.steps]
    names = {step.name for step in steps if isinstance(step, Step)}
    assert names == set(INSTRUCTIONS)
    kinds = {type(step).__name__ for step in steps}
    assert kinds == {"Step", "Register", "Loop"}
    text = "".join(map(str, plans))
    for look in ("ap", "ds", "flatten", "permute", "reshape_dim", "rows", "slice"):
        assert f"('{look}'" in text, look
    assert "('spread'" in text and "('view'" in text


TILE = Tensor("t", "sbuf", (2, 3), "float32")
ADD = Step(
    "tensor_scalar",
    {"dst": Place("t"), "data": Place("t"), "operand0": 1.0},
    {"op0": "add"},
)


def test_a_difference_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan("trn2", "values", [TILE], [ADD])
    assert check(plan) == 1
    plays = INSTRUCTIONS["tensor_scalar"]

    def off(operands: object) -> dict[str, Near]:
        values = plays(operands)["dst"].values.copy()  # type: ignore
        values[1, 2] = np.nextafter(np.float32(values[1, 2]), np.float32(9e9))
        return {"dst": Near(values)}

    monkeypatch.setitem(INSTRUCTIONS, "tensor_scalar", off)
    with pytest.raises(Wrong, match=r"1 of 6 elements of float32 .* at \[1, 2\]"):
        check(plan)


@pytest.mark.parametrize(
    ("values", "error", "got", "is_right"),
    [
        (1.0, 0.0, 1.0, True),
        (1.0, 0.0, 1.0078125, False),
        (1.0, 0.0078125, 1.0078125, True),
        (1.0, 0.001, 1.0078125, False),
        (1.0039, 0.001, 1.0078125, True),  # on either side of a tie
        (0.0, 0.0, -0.0, True),
        (np.nan, 0.0, np.nan, True),
        (np.nan, 0.0, 1.0, False),
        (np.inf, 0.0, 3e38, False),
        (0.0, np.inf, np.nan, True),
    ],
)
def test_what_a_result_may_be(
    values: float, error: float, got: float, is_right: bool
) -> None:
    near = Near([[values]], error)
    found = np.array([[got]], np.float32).astype(ml_dtypes.bfloat16)
    wrong = problem(near, found, "bfloat16")
    assert (wrong is None) is is_right
