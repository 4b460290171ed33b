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


@pytest.mark.smoke
def test_imports_open_nothing_and_the_quickstart_runs() -> None:
    """Nor does torch import what it has found by name alone."""
    ours = "from spiky.torch import init_nkipy_backend"
    said = run(IMPORTS + QUICKSTART.format(ours))
    assert said == "[]\nFalse False\n(1, 64) cpu"


THREADS = """
import threading, torch
from spiky.torch import init_nkipy_backend
init_nkipy_backend()
start, right = threading.Barrier(4), []

def call():
    start.wait()
    compiled = torch.compile(torch.neg, backend="nkipy")
    right.append(torch.equal(compiled(torch.ones(2)), -torch.ones(2)))

threads = [threading.Thread(target=call) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(right)
"""


@pytest.mark.slow
def test_threads_may_be_the_first_together() -> None:
    assert run(THREADS) == "[True, True, True, True]"


@pytest.mark.slow
def test_neither_do_they_where_torch_does_not_look_for_devices() -> None:
    said = run(IMPORTS, TORCH_DEVICE_BACKEND_AUTOLOAD="0")
    assert said == "[]\nFalse False"


@pytest.mark.slow
def test_the_quickstart_runs_by_the_predecessors_name() -> None:
    theirs = "from torch_to_nkipy import init_nkipy_backend"
    assert run(QUICKSTART.format(theirs)) == "(1, 64) cpu"


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
