"""Random programs: NumPy, the executed HLO and the device agree.

``random_program`` makes case *n* of seed *s* from these two numbers alone. To look for
more of them: ``python -m tests.fuzz.fuzz_programs --seed 7 --seconds 3600``.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence

import pytest

from tests.support.programs import REFUSED, Program, check, random_program, shrink

BOTH = "simulate", "baremetal"
#: How many programs a test runs.
FEW, MANY = 20, 50


def make(seed: int, case: int) -> Program:
    return random_program(random.Random(f"{seed}:{case}"))


def run(seed: int, cases: Sequence[int], modes: Sequence[str]) -> None:
    """Check programs; of one that fails, raise what its shortest form does."""
    refused = 0
    for case in cases:
        program = make(seed, case)
        try:
            refused += check(str(program), modes).startswith(REFUSED)
        except Exception as error:
            kind = type(error)
            short = shrink(program, lambda p, kind=kind: _fails(p, modes, kind))
            raise AssertionError(f"seed {seed}, case {case}:\n{short}") from error
    assert refused <= len(cases) // 5, "kernels refuse what NumPy does"


def _fails(program: Program, modes: Sequence[str], error: type[Exception]) -> bool:
    try:
        check(str(program), modes)
    except Exception as raised:
        return type(raised) is error
    return False


def _batches(count: int, size: int) -> list[range]:
    return [range(i, i + size) for i in range(0, count, size)]


@pytest.mark.parametrize("cases", _batches(60, FEW), ids=str)
def test_program_equals_numpy(cases):
    run(0, cases, BOTH[:1])


@pytest.mark.slow
@pytest.mark.parametrize("cases", _batches(300, MANY), ids=str)
def test_many_programs_equal_numpy(cases):
    run(1, cases, BOTH)


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("cases", _batches(1000, MANY), ids=str)
def test_programs_of_a_new_seed_equal_numpy(cases):
    named = os.environ.get("NKIPY_FUZZ_SEED")
    seed = int(named) if named else random.SystemRandom().randrange(1 << 32)
    run(seed, cases, BOTH)


def test_a_program_can_be_made_again():
    assert str(make(3, 5)) == str(make(3, 5)) != str(make(3, 6))


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ("v1 = a0 if isinstance(a0, np.ndarray) else a0 + 1", AssertionError),
        ("v1 = a0 if isinstance(a0, np.ndarray) else a0 * 1.0", AssertionError),
        ("a0[0] = 0 if isinstance(a0, np.ndarray) else 1\nv1 = 0", AssertionError),
        ("v1 = C * (1 if isinstance(a0, np.ndarray) else 2)", AssertionError),
        ("v1 = 0 if isinstance(a0, np.ndarray) else {}['missing']", KeyError),
        ("v1 = a0.lost if isinstance(a0, np.ndarray) else 0", AttributeError),
        ("v1 = np.zeros(2) @ [1] if isinstance(a0, np.ndarray) else 0", AssertionError),
    ],
)
def test_a_difference_is_found(step, error):
    program = Program(
        low=False,
        captured=["C = np.array([0, 0])"],
        changes=["C[1] = 5"],
        arguments={"a0": "np.array([1, 2], i32)"},
        steps=[step],
        returned="v1",
    )
    with pytest.raises(error):
        check(str(program))
