"""Builds small modules and executes them."""

from __future__ import annotations

from tests.support.engine import engine, execute, module_of, results_of, rng

__all__ = ["engine", "execute", "module_of", "results_of", "rng"]
