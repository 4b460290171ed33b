"""Which chip is compiled for when nobody says."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from nkipy.compiler import targets
from nkipy.compiler.discovery import VARIABLE
from nkipy.compiler.targets import (
    OVERRIDE_VARIABLE,
    CompilationTarget,
    get_platform_target,
    resolve_target,
)

INSTANCE = "NKIPY_EMULATOR_INSTANCE"


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (OVERRIDE_VARIABLE, INSTANCE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(VARIABLE, "emulator")
    targets._platform_target.cache_clear()


@pytest.mark.parametrize(
    ("product", "target"),
    [
        ("trn1.2xlarge", CompilationTarget.TRN1),
        ("trn1n.32xlarge\n", CompilationTarget.TRN1),
        ("Trn2.48xlarge", CompilationTarget.TRN2),
        ("trn3.48xlarge", CompilationTarget.TRN3),
    ],
)
def test_of_the_firmware(
    product: str, target: CompilationTarget, tmp_path: Path
) -> None:
    path = tmp_path / "product_name"
    path.write_text(product)
    assert get_platform_target(path) is target


def test_of_the_emulated_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert get_platform_target(tmp_path / "none") is CompilationTarget.TRN2
        monkeypatch.setenv(INSTANCE, "trn1.2xlarge")
        assert get_platform_target(tmp_path / "none") is CompilationTarget.TRN1


def test_the_override_beats_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "product_name"
    path.write_text("trn1.2xlarge")
    monkeypatch.setenv(OVERRIDE_VARIABLE, "trn3")
    assert get_platform_target(path) is CompilationTarget.TRN3
    assert resolve_target(CompilationTarget.DEFAULT) is CompilationTarget.TRN3
    assert resolve_target(CompilationTarget.TRN1) is CompilationTarget.TRN1
    assert resolve_target("trn1") is CompilationTarget.TRN1
    monkeypatch.setenv(OVERRIDE_VARIABLE, "gen2")
    assert resolve_target(CompilationTarget.DEFAULT) is CompilationTarget.TRN1
    monkeypatch.setenv(OVERRIDE_VARIABLE, "gpu")
    with pytest.raises(ValueError, match="is 'gpu'; expected trn1, trn2 or trn3"):
        resolve_target(CompilationTarget.DEFAULT)


def test_elsewhere_it_is_trn2_with_one_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(targets, "_product", lambda path: "m5.large")
    monkeypatch.setattr(targets, "default_target", lambda: None)
    with pytest.warns(UserWarning, match="m5.large.* is no Trainium instance") as seen:
        for _ in range(3):
            resolved = resolve_target(CompilationTarget.DEFAULT)
            assert resolved is CompilationTarget.TRN2
    assert len(seen) == 1


def test_a_name_that_is_no_target_is_refused() -> None:
    with pytest.raises(ValueError, match="is one of trn1, .* received 'trn7'"):
        resolve_target("trn7")
