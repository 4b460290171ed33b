"""Names of engines, modes and generations."""

from __future__ import annotations

from enum import Enum

import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
from nkipy_nki.targets import VARIABLE


@pytest.mark.parametrize(
    "kind, values",
    [
        (nisa.reduce_cmd, "idle reset reduce reset_reduce load_reduce"),
        (nisa.dge_mode, "unknown swdge hwdge none"),
        (nisa.oob_mode, "error skip"),
        (nisa.engine, "unknown tensor scalar gpsimd dma vector sync"),
    ],
)
def test_documented_values_count_from_0(kind: type[Enum], values: str) -> None:
    assert {m.name: m.value for m in kind} == {
        name: i for i, name in enumerate(values.split())
    }
    assert repr(kind[values.split()[1]]) == f"nisa.{_name(kind)}.{values.split()[1]}"


def _name(kind: type[Enum]) -> str:
    return "engine" if kind is nisa.engine else kind.__name__


def test_engines_have_their_older_names() -> None:
    for name in ("tensor", "vector", "scalar", "gpsimd", "unknown"):
        assert getattr(nisa, f"{name}_engine") is nisa.engine[name]


@pytest.mark.parametrize("target, version", [("trn1", 2), ("gen3", 3), ("trn3", 4)])
def test_the_generation_is_the_target_s(
    target: str, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kernel() -> tuple[object, int]:
        return nisa.get_nc_version(), nisa.get_nc_sub_version()

    expected = nisa.nc_version(version)
    assert nki.simulate(kernel, target=target)() == (expected, 0)
    monkeypatch.setenv(VARIABLE, target)
    assert nisa.get_nc_version() is expected is nisa.nc_version[f"gen{version}"]
