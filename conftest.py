"""Settings that every test shares.

Hypothesis runs the same few examples each time by default, so that a run says
something about the change and not about luck. ``HYPOTHESIS_PROFILE=ci`` looks further,
still repeatably; ``explore`` looks at random.

Each worker owns one NeuronCore: :mod:`nkipy.testing.pytest_plugin`, which pytest loads.
Each run of tests has directories of its own for compiled kernels and code, and for
Python's bytecode where that is not to be written beside the sources. Interrupts reach
what tests start, even if pytest runs in a shell's background, where they are ignored.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Generator
from importlib import import_module

import pytest
from hypothesis import settings

from tools import workspace

# Before any test is collected: pytest names spike/tests/test_x.py "spike.tests.test_x",
# and would make an empty module "spike" for it if the package were not there yet.
for member in workspace.members():
    if member.folder in member.packages:
        import_module(member.folder)

#: Built against a torch that could not be had here.
LEFT_OUT = [m for m in workspace.members() if m.torch and not m.is_installed]
collect_ignore = [f"{member.folder}/tests" for member in LEFT_OUT]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # which children would inherit
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline: a first call compiles, later ones do not.
settings.register_profile(
    "default", deadline=None, derandomize=True, max_examples=25, database=None
)
settings.register_profile("ci", settings.get_profile("default"), max_examples=100)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

_caches = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    if getattr(config, "workerinput", None) is not None:
        return  # workers inherit the directories
    directory = config.stash[_caches] = tempfile.mkdtemp(prefix="nkipy-tests-")
    for variable in ("NKIPY_CACHE_DIR", "NKIPY_EMULATOR_CODE_CACHE"):
        os.environ.setdefault(variable, os.path.join(directory, variable.lower()))
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        # Hundreds of child processes would compile each module that they import.
        os.environ.setdefault(
            "PYTHONPYCACHEPREFIX", os.path.join(directory, "bytecode")
        )


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is collected stays: no search for garbage looks at it, now or later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for member in LEFT_OUT:
        terminalreporter.write_line(
            f"LEFT OUT: all tests of {member.folder}: it is not installed, as torch "
            f"{member.torch} was not; `python3 run.py torch` says why",
            red=True,
            bold=True,
        )


def pytest_unconfigure(config: pytest.Config) -> None:
    directory = config.stash.get(_caches, None)
    if directory is not None:
        shutil.rmtree(directory, ignore_errors=True)
