"""XLA's own module of HLO, which is under another name in each release of jaxlib."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest


def xla_hlo() -> Any:
    """What has ``HloModule`` and ``hlo_module_from_text``; skips without jaxlib."""
    pytest.importorskip("jaxlib")
    try:
        return import_module("jaxlib._hlo")
    except ModuleNotFoundError:  # up to 0.6, which Python 3.10 has
        return import_module("jaxlib._jax")
