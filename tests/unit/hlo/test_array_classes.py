"""Which subclasses of ndarray mean what an ndarray of their memory does."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.hlo.array_classes import other_meaning
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.errors import HLOArgumentError
from nkipy.hlo.ir import HLOModule

X = np.ones((2, 2), np.float32)


def subclass(*bases, **members):
    return type("Sub", bases or (np.ndarray,), members)


@pytest.mark.parametrize(
    "member",
    ["__mul__", "__rmatmul__", "__iadd__", "__eq__", "__getitem__", "__setitem__"]
    + ["__array_ufunc__", "__array_function__", "__array_wrap__", "__array__"]
    + ["__getattribute__", "__len__", "sum", "T", "shape", "reshape"],
)
def test_what_overrides_an_ndarrays_members_has_another_meaning(member):
    override = getattr(np.ndarray, member)
    kind = subclass(**{member: override})
    match = f"is of class Sub, whose own {member} would be lost; pass np.asarray"
    assert match in str(other_meaning(X.view(kind)))
    assert match in str(other_meaning(X.view(subclass(kind))))


def test_mixins_count_and_long_lists_are_cut():
    mixin = type("Mixin", (), dict.fromkeys(("min", "max", "sum", "mean"), None))
    problem = other_meaning(X.view(subclass(mixin, np.ndarray)))
    assert "max, mean, min, ..." in str(problem)


def test_what_only_adds_names_has_none(tmp_path):
    harmless = dict.fromkeys(("__repr__", "__reduce__", "unit", "in_feet", "__call__"))
    mapped = np.memmap(tmp_path / "x", np.float32, "w+", shape=(2,))
    kinds = np.ndarray, subclass(**harmless), np.recarray, subclass(np.recarray)
    for array in (mapped, *map(X.view, kinds), X[0, 0], [1], None):
        assert other_meaning(array) is None


def test_matrices_and_masked_arrays_are_told_by_their_names():
    assert "np.matrix, whose * and **" in str(other_meaning(X.view(np.matrix)))
    assert "whose mask would be lost" in str(other_meaning(np.ma.masked_array(X)))
    assert "np.matrix" in str(other_meaning(X.view(subclass(np.matrix))))


def test_the_builder_takes_none_for_a_constant():
    builder = HLOBuilder(HLOModule("m").entry)
    with pytest.raises(HLOArgumentError, match="a constant's value is a masked array"):
        builder.constant(np.ma.masked_array(X, mask=X > 0))
