"""After any change of what a kernel captured, a call answers as NumPy does."""

from __future__ import annotations

import builtins
import contextlib
import os
import random
import sys
import types
import warnings
from collections.abc import Iterator
from textwrap import dedent
from typing import Any

import numpy as np
import pytest

from nkipy.core.trace import trace_function
from nkipy.runtime import simulate_jit
from tests.unit.runtime.captured_kinds import KERNELS, KINDS, Kind

X = np.array([1, 2], np.float32)
QUICK, SLOW = 300, 600
MODULE = "kernels_of_a_test"


def namespace() -> dict[str, Any]:
    """That of a new module."""
    module = sys.modules[MODULE] = types.ModuleType(MODULE)
    vars(module)["np"] = np
    return vars(module)


class Case:
    """Case number `number`: one or two kinds of state, a kernel, changes."""

    def __init__(self, number: int) -> None:
        choose = random.Random(number)
        first = KINDS[number % len(KINDS)]
        self.kinds: list[Kind] = [first, choose.choice(KINDS)]
        self.how = choose.choice(list(KERNELS))
        changes = [c for kind in self.kinds for c in kind.changes]
        every = list(first.changes)
        choose.shuffle(every)
        self.changes = every + choose.choices(changes, k=2)
        self.space = namespace()
        for kind in {kind.name: kind for kind in self.kinds}.values():
            exec(kind.setup, self.space)
        exec(self.source, self.space)
        self.kernel = self.space["kernel"]

    @property
    def source(self) -> str:
        expressions = [kind.expression for kind in self.kinds]
        return dedent(KERNELS[self.how]).format(*expressions)

    def steps(self) -> Iterator[str]:
        """In words, what has changed; after each, the kernel is to be called."""
        yield "nothing changed"
        done: list[str] = []
        for change in self.changes:
            with contextlib.suppress(Exception):  # impossible after those before it
                exec(change, self.space)
            done.append(change)
            yield f"{self.source}\nafter\n" + "\n".join(done)


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    monkeypatch.setenv("NKIPY_TEST_SCALE", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    vars(builtins).pop("nkipy_test_builtin", None)
    for name in (MODULE, "mod2_of_a_test"):
        sys.modules.pop(name, None)


def outcome(function, *args) -> Any:
    """What a call gives, or the exception that it raises."""
    try:
        return function(*args)
    except Exception as error:
        return error


def program_of(jitted) -> Any:
    """The program that a call would run; nothing is compiled."""
    return outcome(lambda: jitted._program((X,), {})[0])


def check_as_traced_anew(case: Case) -> None:
    jitted = simulate_jit(case.kernel)
    jitted._executable = lambda module: None
    for step in case.steps():
        got = program_of(jitted)
        want = outcome(trace_function, case.kernel, (X,), {})
        if isinstance(want, Exception):
            assert type(got) is type(want), step
        else:
            assert not isinstance(got, Exception), (step, got)
            assert got.trace.module.to_text() == want.module.to_text(), step
            # The first trace may have filled what Python keeps of a first call.
            again = program_of(jitted)
            assert program_of(jitted) is again, (
                f"{step}\ntraced although it is the same"
            )


def check_as_numpy(case: Case) -> None:
    jitted = simulate_jit(case.kernel)
    for step in case.steps():
        want, got = outcome(case.kernel, X), outcome(jitted, X)
        if isinstance(want, Exception):
            assert isinstance(got, type(want)), (step, got)
        elif not isinstance(got, Exception) or np.asarray(want).dtype.kind != "c":
            assert np.shape(got) == np.shape(want), (step, got)
            np.testing.assert_allclose(got, want, rtol=1e-5, err_msg=step)


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_each_change_is_possible_and_half_of_them_are_seen(kind):
    space = namespace()
    exec(kind.setup, space)
    answers = [repr(outcome(eval, kind.expression, space))]
    for change in kind.changes:
        exec(change, space)
        answers.append(repr(outcome(eval, kind.expression, space)))
    seen = sum(a != b for a, b in zip(answers, answers[1:]))
    assert 2 * seen >= len(kind.changes), answers


@pytest.mark.parametrize("block", range(10))
def test_programs_are_those_that_a_new_trace_would_give(block):
    for number in range(block * QUICK // 10, (block + 1) * QUICK // 10):
        check_as_traced_anew(Case(number))


@pytest.mark.parametrize("number", range(len(KINDS)), ids=[k.name for k in KINDS])
@pytest.mark.slow
def test_calls_answer_as_numpy_does(number):
    for more in range(3):
        check_as_numpy(Case(number + more * len(KINDS)))


@pytest.mark.slow
def test_more_programs_are_those_that_a_new_trace_would_give():
    seed = int(os.environ.get("NKIPY_FUZZ_SEED", "1"))
    for number in range(SLOW):
        check_as_traced_anew(Case(QUICK + seed * SLOW + number))
