"""What the device is called, and what may be said of what the CPU computes for it."""

from __future__ import annotations

NAME = "nkipy"

#: What an operation says that falls back to the CPU, and the variable that chooses.
POLICIES = ("log", "warn", "silent", "error")
DEFAULT_POLICY = "log"
POLICY_VARIABLE = "NKIPY_TORCH_FALLBACK"
