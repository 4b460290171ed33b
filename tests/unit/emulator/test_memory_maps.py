"""Many compiled programs in one process."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy_emulator import engine as engine_module
from nkipy_emulator import memory_maps
from nkipy_emulator.errors import ProgramSizeError


def test_nearly_no_mapping_left_is_an_error(engine, module_of, monkeypatch):
    x = np.ones(3, np.float32)
    module = module_of(lambda b, p: b.negate(p), x)
    monkeypatch.setattr(memory_maps, "_limit", lambda: memory_maps._count())
    engine.compile(module)  # there are few programs: none is looked for
    monkeypatch.setattr(engine_module, "EXECUTABLES", range(1 << 14))
    with pytest.raises(ProgramSizeError, match="max_map_count"):
        engine.compile(module)


def test_enough_left_and_unknown_limits_are_none(monkeypatch):
    memory_maps.check_maps(1 << 14)
    monkeypatch.setattr(memory_maps, "_limit", lambda: 0)
    memory_maps.check_maps(1 << 14)
    memory_maps.check_maps(0)


def test_a_program_that_is_dropped_gives_its_mappings_back(engine, module_of):
    module = module_of(lambda b, p: b.negate(p), np.ones(3, np.float32))
    engine.compile(module)
    before = memory_maps._count()
    programs = [engine.compile(module) for _ in range(20)]
    del programs
    assert memory_maps._count() < before + 20
