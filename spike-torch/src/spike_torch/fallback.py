"""Operations that the CPU computes: what is said of them, and how often."""

from __future__ import annotations

import logging

import spike_torch._C as _C
from spike_torch._names import POLICIES

_log = logging.getLogger(__name__)


def get_fallback() -> str:
    """``"log"``, ``"warn"``, ``"silent"`` or ``"error"``."""
    return str(_C.fallback_policy())


def set_fallback(policy: str) -> None:
    """Choose what an operation says that falls back to the CPU, in this process.

    Args:
        policy: ``"log"``, the default, logs each operator once, to the logger
            ``spike_torch.fallback`` at level INFO; ``"warn"`` warns once of each;
            ``"silent"`` does neither; ``"error"`` raises NotImplementedError.

    Raises:
        ValueError: it is none of these.
    """
    if policy not in POLICIES:
        raise ValueError(f"a fallback is one of {', '.join(POLICIES)}: got {policy!r}")
    _C.set_fallback_policy(policy)


def fallback_counts() -> dict[str, int]:
    """How often each operator fell back, by names as ``"aten::add.out"``."""
    return dict(_C.fallback_counts())


def reset_fallback_counts() -> None:
    """Count from 0, and tell of each operator again."""
    _C.reset_fallback_counts()


def log_operator(name: str) -> None:
    """Log that an operator falls back, with the line that called it."""
    _log.info("%r is computed by the CPU", name, stacklevel=2)
