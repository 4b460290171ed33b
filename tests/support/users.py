"""Other users of this machine, for tests that root runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nkipy.testing import run_python

#: Nobody: a user that owns nothing.
OTHER = 65534

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="takes root to make what another user owns"
)

_BECOME_OTHER = f"""
import os
os.setgroups([])
os.setresgid({OTHER}, {OTHER}, {OTHER})
os.setresuid({OTHER}, {OTHER}, {OTHER})
"""


def run_as_other(
    imports: str, code: str, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run code in a process of the other user.

    It becomes that after its imports: the interpreter's packages may lie where the
    other user cannot read them.
    """
    script = "\n".join([textwrap.dedent(imports), _BECOME_OTHER, textwrap.dedent(code)])
    return run_python("-c", script, env=env)


@contextmanager
def shared_place(mode: int = 0o1777) -> Iterator[Path]:
    """A directory below ``/tmp`` that all users can reach."""
    place = Path(tempfile.mkdtemp(prefix="nkipy-tests-"))
    place.chmod(mode)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
