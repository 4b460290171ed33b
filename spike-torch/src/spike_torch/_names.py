"""What the device is called, and what may be chosen about its operations."""

from __future__ import annotations

NAME = "nkipy"

#: What an operation says that falls back to the CPU, and the variable that chooses.
POLICIES = ("log", "warn", "silent", "error")
DEFAULT_POLICY = "log"
POLICY_VARIABLE = "NKIPY_TORCH_FALLBACK"

#: Who computes operations one at a time, and the variable that chooses.
EXECUTIONS = ("fallback", "device", "auto")
DEFAULT_EXECUTION = "auto"
EXECUTION_VARIABLE = "NKIPY_TORCH_EXECUTION"
