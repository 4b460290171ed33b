"""What the engine raises."""

from __future__ import annotations


class EngineUnavailableError(ImportError):
    """XLA cannot be used here: jaxlib or the handler library is missing or unknown."""


class SimulationError(RuntimeError):
    """XLA refused to compile a module, or failed while it ran one."""


class SettingError(ValueError):
    """An environment variable has a value that it cannot have."""


class CompileTimeoutError(SimulationError, TimeoutError):
    """XLA takes longer to compile a module than it may."""


class ExecutionTimeoutError(SimulationError, TimeoutError):
    """A program on the emulated device runs longer than it may."""


class WorldError(SimulationError):
    """Ranks cannot exchange what a collective is for; the text says who is missing."""


class ProgramSizeError(SimulationError):
    """A module has more instructions than XLA can stand."""


class UnsupportedCustomCallError(NotImplementedError):
    """A module calls a target that has neither a lowering nor a handler."""


class OutOfBoundsError(SimulationError):
    """A program has used an index out of bounds. Its results are stored nevertheless.

    Only programs that were compiled with ``check_bounds`` raise it.
    """
