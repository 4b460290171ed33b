"""Packages say whose code they are: the user's, hidden, or internal."""

from __future__ import annotations

import inspect
import sys
from importlib import import_module
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import nkipy
import nkipy_emulator
import spike
from nkipy.core import roles
from nkipy.core.roles import Role, is_internal, role_of, role_of_frame
from nkipy.core.trace import trace_function
from nkipy.runtime import simulate_jit

HIDDEN, INTERNAL = "__nkipy_hidden__ = True\n", "__nkipy_internal__ = True\n"
CODE = """
import inspect
import numpy as np

factor = 2.0

def double(x):
    return x * factor

def filled(x):
    out = np.zeros(3, np.float32)
    out[1:] = x[1:]
    return out

def made():
    return type(np.zeros(3, np.float32))

def frame():
    return inspect.currentframe()
"""
X = np.arange(3, dtype=np.float32)


@pytest.fixture
def package(tmp_path: Path, monkeypatch):
    """Makes a package of markers, with the code in its module ``inner.code``."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made = []

    def make(outer: str = "", inner: str = "", module: str = ""):
        name = f"roles_{tmp_path.name}_{len(made)}".replace("-", "_")
        made.append(name)
        (tmp_path / name / "inner").mkdir(parents=True)
        (tmp_path / name / "__init__.py").write_text(outer)
        (tmp_path / name / "inner" / "__init__.py").write_text(inner)
        (tmp_path / name / "inner" / "code.py").write_text(module + CODE)
        return import_module(f"{name}.inner.code")

    yield make
    for name in list(sys.modules):
        if name.partition(".")[0] in made:
            del sys.modules[name]


@pytest.mark.parametrize("module", [nkipy, nkipy_emulator, spike, np, ml_dtypes])
def test_our_packages_and_numpy_are_internal(module):
    assert is_internal(module.__name__)
    assert is_internal(f"{module.__name__}.some.part")
    assert role_of(vars(module)) is Role.INTERNAL


@pytest.mark.parametrize(
    "space", [globals(), {}, {"__name__": None}, {"__name__": "numpyro.x"}]
)
def test_all_else_is_the_users(space):
    assert role_of(space) is Role.USER


@pytest.mark.parametrize(
    ("markers", "role"),
    [
        ((), Role.USER),
        ((HIDDEN,), Role.HIDDEN),
        ((INTERNAL,), Role.INTERNAL),
        ((HIDDEN + INTERNAL,), Role.INTERNAL),
        (("", HIDDEN), Role.HIDDEN),
        (("", "", INTERNAL), Role.INTERNAL),
        ((INTERNAL, HIDDEN), Role.HIDDEN),
        ((INTERNAL, "__nkipy_internal__ = False\n"), Role.USER),
        ((HIDDEN, "", "__nkipy_hidden__ = False\n"), Role.USER),
    ],
)
def test_the_nearest_marker_counts(package, markers, role):
    module = package(*markers)
    assert role_of(vars(module)) is role
    assert role_of_frame(module.frame()) is role
    assert is_internal(module.__name__) == (role is Role.INTERNAL)


def test_a_module_that_is_run_is_of_its_package(package):
    name = package(INTERNAL).__package__
    assert role_of({"__name__": "__main__", "__package__": name}) is Role.INTERNAL
    assert role_of({"__name__": "__main__", "__package__": None}) is Role.USER


def test_code_of_no_file_is_judged_by_its_module():
    code = compile("import inspect\nframe = inspect.currentframe()", "<string>", "exec")
    for name, role in (("nkipy.core", Role.INTERNAL), ("mine", Role.USER)):
        space = {"__name__": name}
        exec(code, space)
        assert role_of_frame(space["frame"]) is role


def test_what_is_known_of_files_is_bounded(monkeypatch):
    monkeypatch.setattr(roles, "BY_FILE", {})
    monkeypatch.setattr(roles, "_MAX_FILES", 3)
    for i in range(10):
        space: dict = {}
        exec(
            compile("import inspect\nf = inspect.currentframe()", f"{i}.py", "exec"),
            space,
        )
        role_of_frame(space["f"])
        assert len(roles.BY_FILE) <= 3


def line_of_product(kernel) -> tuple[str, int]:
    module = trace_function(kernel, [X], {}).module
    (inst,) = (i for i in module.operations if i.opcode == "multiply")
    return inst.source_location


def test_hidden_code_is_passed_over_in_locations(package):
    for markers, is_ours in (((), False), ((HIDDEN,), True), ((INTERNAL,), True)):
        module = package(*markers)

        def kernel(x, module=module):
            return module.double(x)

        file, line = line_of_product(kernel)
        assert (file == __file__) == is_ours
        if is_ours:
            assert line == inspect.getsourcelines(kernel)[1] + 1


def test_only_internal_code_makes_ordinary_arrays(package):
    kinds = {}
    for markers in ("", HIDDEN, INTERNAL):
        module = package(markers)
        trace_function(lambda x, m=module: kinds.setdefault(m, m.made()) and x, [X], {})
        if markers != INTERNAL:
            np.testing.assert_array_equal(simulate_jit(module.filled)(X), [0, 1, 2])
    assert [kind is np.ndarray for kind in kinds.values()] == [False, False, True]


def test_only_internal_code_is_not_watched(package):
    for markers, is_watched in (("", True), (HIDDEN, True), (INTERNAL, False)):
        module = package(markers)
        kernel = simulate_jit(lambda x, module=module: module.double(x) + 0)
        np.testing.assert_array_equal(kernel(X), X * 2)
        module.factor = 3.0
        np.testing.assert_array_equal(kernel(X), X * (3 if is_watched else 2))


@pytest.mark.parametrize("module", ["scipy.ndimage._filters", "pandas.core.frame"])
def test_an_error_inside_a_library_names_the_line_that_called_it(module):
    space = {"__name__": module, "__package__": module.rpartition(".")[0]}
    assert role_of(space) is Role.COMPILED
    source = "def smooth(x):\n    return [float(v) for v in x]"
    exec(compile(source, f"/site-packages/{module}.py", "exec"), space)
    smooth = space["smooth"]
    with pytest.raises(TypeError, match=r"at .*test_roles\.py:\d+") as caught:
        simulate_jit(lambda x: smooth(x))(X)
    assert "site-packages" not in str(caught.value)
