"""What imports what, and how torch finds the backend: in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

import spiky
import spiky.torch
import torch_to_nkipy
import torch_to_nkipy.backend
from nkipy.testing import core_released


def run(code: str, **variables: str) -> str:
    """A fresh process's output."""
    with core_released():
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_entry_point_is_the_backend() -> None:
    (found,) = entry_points(group="torch_dynamo_backends", name="nkipy")
    assert found.load() is torch_to_nkipy.backend.nkipy_backend_fn


IMPORTS = """
import sys, torch
print([name for name in sys.modules if "spiky" in name])
import spiky, spiky.torch, torch_to_nkipy.backend, spike_torch._C as c
print(c.is_open(), spiky.torch.is_nkipy_backend_initialized())
"""


@pytest.mark.parametrize("autoload", [pytest.param("0", marks=pytest.mark.slow), "1"])
def test_importing_torch_imports_nothing_and_spiky_opens_no_core(autoload: str) -> None:
    said = run(IMPORTS, TORCH_DEVICE_BACKEND_AUTOLOAD=autoload)
    assert said == "[]\nFalse False"


QUICKSTART = """
import torch
import torch.nn as nn
{}

init_nkipy_backend()

model = nn.Linear(32, 64, bias=False)
compiled = torch.compile(model, backend="nkipy")

with torch.no_grad():
    x = torch.randn(1, 32)
    out = compiled(x)
    torch.testing.assert_close(out, model(x))
print(tuple(out.shape), out.device)
"""


@pytest.mark.parametrize(
    "imported",
    [
        pytest.param(
            "from spiky.torch import init_nkipy_backend", marks=pytest.mark.smoke
        ),
        pytest.param(
            "from torch_to_nkipy import init_nkipy_backend", marks=pytest.mark.slow
        ),
    ],
)
def test_the_quickstart_runs(imported: str) -> None:
    assert run(QUICKSTART.format(imported)) == "(1, 64) cpu"


@pytest.mark.parametrize(
    "module", [spiky, spiky.torch, torch_to_nkipy, torch_to_nkipy.backend]
)
def test_every_public_name_is_there_and_documented(module: object) -> None:
    names = vars(module)["__all__"]
    assert list(names) == sorted(names)
    for name in names:
        assert getattr(module, name).__doc__, name
    assert set(names) <= set(dir(module))
    with pytest.raises(AttributeError, match="frobnicate"):
        vars(module).get("frobnicate") or module.frobnicate  # type: ignore[attr-defined]


def test_the_predecessors_names_are_the_same_objects() -> None:
    for name in torch_to_nkipy.__all__:
        ours = spiky if hasattr(spiky, name) else spiky.torch
        assert getattr(torch_to_nkipy, name) is getattr(ours, name)
    for name in set(torch_to_nkipy.backend.__all__) - {"nkipy_backend_fn"}:
        assert getattr(torch_to_nkipy.backend, name) is getattr(spiky.torch, name)
