"""Loads and executes programs for the emulated runtime, ``libnrt.so.1``.

The library reaches this package in the process that it lives in (:mod:`.api`), or in a
child process of its own (:mod:`.server`). Both go through :mod:`.service`.
"""

from __future__ import annotations
