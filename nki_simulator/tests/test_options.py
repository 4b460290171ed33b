"""Keywords of ``nki.jit``: those that have an effect, that have none, and others."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.neuronxcc.nki as first_nki
from nkipy_nki.findings import NkiWarning

X = np.ones((2, 2), np.float32)


def _generation(x: Any) -> int:
    return int(nisa.get_nc_version().value)


def _made(jit: Any, **options: Any) -> tuple[Any, list[warnings.WarningMessage]]:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        kernel = jit(**options)(_generation)
    assert all(warning.filename == __file__ for warning in seen)
    return kernel, seen


@pytest.mark.parametrize("jit", [nki.jit, first_nki.jit])
def test_platform_target_is_the_target_unless_another_is_asked_for(jit: Any) -> None:
    kernel, seen = _made(jit, platform_target="trn1")
    assert kernel(X) == 2
    assert nki.simulate(kernel, target="trn3")(X) == 4
    deprecated = [issubclass(warning.category, DeprecationWarning) for warning in seen]
    assert deprecated == ([True] if jit is nki.jit else [])
    with pytest.raises(nki.NkiValidationError, match="must be a chip") as raised:
        jit(platform_target="trn9")
    assert "test_options.py" in str(raised.value)


@pytest.mark.parametrize(
    "jit, name", [(nki.jit, "mode"), (first_nki.jit, "show_compiler_tb")]
)
def test_what_has_no_effect_is_said_to_have_none(jit: Any, name: str) -> None:
    kernel, (seen,) = _made(jit, **{name: "auto"})
    assert issubclass(seen.category, DeprecationWarning)
    assert f"{name}='auto' has no effect" in str(seen.message)
    assert kernel(X) == 3


@pytest.mark.parametrize("jit", [nki.jit, first_nki.jit])
def test_a_misspelled_keyword_is_warned_of(jit: Any) -> None:
    _, (seen,) = _made(jit, platfrom_target="trn1")
    assert issubclass(seen.category, NkiWarning)
    assert "did you mean platform_target?" in str(seen.message)


def test_a_configuration_must_be_one() -> None:
    with pytest.raises(nki.NkiValidationError, match="CompileConfig"):
        nki.jit(compile_config={"dead_code_elim": True})


@pytest.mark.parametrize("target", ["trn9", 3])
def test_a_target_that_is_no_chip(target: Any) -> None:
    with pytest.raises(nki.NkiValidationError, match="no chip has .* trn1, .*trn2"):
        nki.simulate(nki.jit(_generation), target=target)(X)


@pytest.mark.parametrize("core", [-1, 1, "first"])
def test_a_report_is_on_a_core_that_ran(core: Any) -> None:
    with pytest.raises(ValueError, match="was run on 1, counted from 0"):
        nki.simulate(nki.jit(_generation)).run(X).report(core)
