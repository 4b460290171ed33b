"""Which programs stay loaded."""

from __future__ import annotations

import gc

import pytest

from nkipy.execution.residency import Residency
from nkipy.testing import run_python


class Program:
    def __init__(self):
        self.busy = False
        self.loaded = True

    def unload_if_idle(self):
        if self.busy:
            return False
        self.loaded = False
        return True


def loaded(programs):
    return [p.loaded for p in programs]


def test_the_least_recently_used_is_unloaded():
    programs = [Program() for _ in range(3)]
    residency = Residency(2)
    residency.use(programs[0])
    residency.use(programs[1])
    residency.use(programs[0])
    residency.use(programs[2])
    assert loaded(programs) == [True, False, True]
    assert len(residency) == 2


def test_a_running_program_is_not_unloaded():
    programs = [Program() for _ in range(3)]
    programs[0].busy = True
    residency = Residency(2)
    for program in programs:
        residency.use(program)
    assert loaded(programs) == [True, False, True]


class Once:
    """A program that cannot load again: it goes when nobody has it."""

    def __init__(self, kept):
        self.kept = kept
        kept.append(self)

    def unload_if_idle(self):
        self.kept.remove(self)
        return False


def test_what_cannot_load_again_goes_when_its_owner_lets_go_of_it():
    kept, residency = [], Residency(2)
    program = Program()
    residency.use(Once(kept))
    residency.use(program)
    residency.use(Program())
    assert not kept and program.loaded and len(residency) == 1


def test_what_somebody_has_counts_until_it_goes():
    kept, residency = [], Residency(2)
    held, programs = Once(kept), [Program(), Program()]
    for each in (held, *programs):
        residency.use(each)
    assert not kept and loaded(programs) == [False, True] and len(residency) == 2
    del held
    assert len(residency) == 1


def test_a_lower_limit_takes_effect_at_once():
    programs = [Program() for _ in range(4)]
    residency = Residency(4)
    for program in programs:
        residency.use(program)
    residency.limit = 1
    assert loaded(programs) == [False, False, False, True]
    assert residency.limit == 1
    with pytest.raises(ValueError, match="at least 1"):
        residency.limit = 0


def test_evict_spares_the_one_that_needs_the_room():
    programs = [Program() for _ in range(3)]
    residency = Residency(4)
    for program in programs:
        residency.use(program)
    assert residency.evict(keep=programs[1]) == 2
    assert loaded(programs) == [False, True, False]


def test_programs_are_not_kept_alive():
    residency = Residency(4)
    program = Program()
    residency.use(program)
    assert residency.newest == id(program)
    del program
    gc.collect()
    assert len(residency) == 0 and residency.newest == 0


def test_the_limit_comes_from_the_environment(monkeypatch):
    monkeypatch.delenv("NKIPY_MAX_LOADED_KERNELS", raising=False)
    assert Residency().limit == 256
    monkeypatch.setenv("NKIPY_MAX_LOADED_KERNELS", "3")
    assert Residency().limit == 3


@pytest.mark.parametrize("text", ["many", "0", "-1", "1.5", "²"])
def test_a_limit_that_is_none_is_told_when_it_is_used(monkeypatch, text):
    monkeypatch.setenv("NKIPY_MAX_LOADED_KERNELS", text)
    residency = Residency()
    told = f"NKIPY_MAX_LOADED_KERNELS must be a number from 1 up, but is '{text}'"
    for _ in range(2):
        with pytest.raises(ValueError, match=f"^{told}$"):
            residency.use(Program())
    assert len(residency) == 0
    residency.limit = 2
    residency.use(Program())


@pytest.mark.device
def test_importing_does_not_look_at_the_limit():
    done = run_python(
        "-c",
        "import nkipy, numpy as np; from nkipy.runtime import *\n"
        "baremetal_jit(lambda x: x + x)(np.ones(3, np.float32))",
        env={"NKIPY_MAX_LOADED_KERNELS": "x"},
    )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ValueError: NKIPY_MAX_LOADED_KERNELS must be a number")
    assert "in __call__" in done.stderr
