"""Compiles HLO modules for the CPU, in the way that suits each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nkipy.hlo.ir import HLOModule
from nkipy.hlo.rewrites.joining import join_stores
from nkipy.hlo.rewrites.packing import pack_scalars
from nkipy.hlo.rewrites.rolling import roll_steps
from nkipy.hlo.rewrites.stores import forward_stores
from nkipy_emulator import _xla
from nkipy_emulator.code_cache import cache_of_simulations
from nkipy_emulator.element_programs import element_program, is_faster
from nkipy_emulator.executables import (
    EXECUTABLES,
    DirectExecutable,
    DirectProgram,
    XlaExecutable,
)
from nkipy_emulator.fast_calls import FastCalls, chosen
from nkipy_emulator.handler_programs import handler_program
from nkipy_emulator.kept_code import CodeStore, cpu_features
from nkipy_emulator.memory_maps import check_maps
from nkipy_emulator.program_size import check_size
from nkipy_emulator.progress import telling

if TYPE_CHECKING:
    from nkipy.hlo.options import Meeting, SimulationOptions
    from nkipy_emulator._xla import Seat

#: Of a module that takes long to rewrite for XLA: a terminal is told from then on.
_MANY_INSTRUCTIONS = 1000


class XlaCpuEngine:
    """XLA on the CPU.

    Every operation rounds as its dtype says, one by one, in the order of the module;
    transcendental functions are within a few units in the last place of NumPy's, or
    NumPy's (:mod:`nkipy_emulator.function_calls`), and sums add in an order of XLA's,
    or of NumPy's. Subnormal float32 and bfloat16 numbers are flushed to zero, as XLA
    does on CPUs, but in functions that are NumPy's, handlers in Python, running sums
    and products of :mod:`nkipy_emulator.array_calls`, and programs of a few cheap steps
    (:mod:`nkipy_emulator.plain_calls`). One replica runs in the calling thread and on
    XLA's.
    """

    def __init__(
        self, store: CodeStore | None = None, fast_calls: FastCalls | None = None
    ) -> None:
        """An engine.

        Args:
            store: keeps compiled code from one process to the next.
            fast_calls: where NumPy's loops are called in the place of XLA's code
                (:mod:`nkipy_emulator.fast_calls`): ``"auto"`` where they are faster,
                ``"always"`` or ``"never"``. The default is what the environment
                variable `NKIPY_EMULATOR_FAST_CALLS` says, else ``"auto"``.
        """
        self._store = store
        self._fast_calls = fast_calls

    def _code_store(self) -> CodeStore | None:
        return self._store

    @property
    def identity(self) -> str:
        """Names the engine, its libraries and the CPU: what results may depend on."""
        versions = f"jaxlib-{_xla.VERSION} numpy-{np.__version__}"
        return f"xla-cpu {versions} {cpu_features()}"

    def compile(
        self,
        module: HLOModule,
        *,
        options: SimulationOptions | None = None,
        num_replicas: int = 1,
        check_bounds: bool = False,
        makes_results: bool = True,
        seat: Seat | None = None,
    ) -> XlaExecutable:
        """Compile `module`, to run on `num_replicas` ranks at once.

        With a `seat` in a world, one rank runs it, and its collectives are among all
        ranks of the world, which other processes may run.

        With `check_bounds`, an execution raises OutOfBoundsError if an index of a
        gather, scatter or dynamic slice leaves its array; see
        :mod:`nkipy.hlo.rewrites.bounds`. Without `makes_results`, all results are for
        memory of the caller's, and none for :meth:`XlaExecutable.run_new`.

        Raises:
            HLOVerificationError: the module breaks HLO's rules.
            UnsupportedCustomCallError: it calls what can neither be lowered to plain
                HLO nor is registered (:func:`register_custom_call`).
            ProgramSizeError: it has too many instructions, see
                :mod:`nkipy_emulator.program_size`, or too many programs are alive. It
                is a SimulationError.
            CompileTimeoutError: XLA takes longer than `NKIPY_EMULATOR_COMPILE_TIMEOUT`
                says. It is a SimulationError.
            SimulationError: XLA refuses it; the text says which instruction, and the
                line of the kernel that it comes from.
        """
        if num_replicas < 1:
            raise ValueError(f"num_replicas must be at least 1, not {num_replicas}")
        choices = (options, num_replicas, check_bounds, makes_results, seat)
        if len(module.entry.instructions) < _MANY_INSTRUCTIONS:
            return self._compile(module, *choices)
        with telling(f"compiling {module.name!r}"):
            return self._compile(module, *choices)

    def _compile(
        self,
        module: HLOModule,
        options: SimulationOptions | None,
        num_replicas: int,
        check_bounds: bool,
        makes_results: bool,
        seat: Seat | None,
    ) -> XlaExecutable:
        module.ensure_verified()
        module = pack_scalars(forward_stores(module))
        traced, module = module, join_stores(roll_steps(module, check_bounds))
        check_size(module)
        check_maps(len(EXECUTABLES))
        store = self._code_store()
        fast_calls = chosen(self._fast_calls)
        rounds_functions = options is not None and options.auto_cast == "all"
        if fast_calls == "auto" and num_replicas == 1 and not rounds_functions:
            direct = _direct_program(module, options, check_bounds)
            if direct is not None:
                return DirectExecutable(module, *direct)
        return XlaExecutable(
            *(module, options, num_replicas, store, check_bounds),
            *(fast_calls, makes_results, seat, traced),
        )


class XlaCpuSimulator(XlaCpuEngine):
    """The engine behind the entry point group ``nkipy.simulators``.

    It keeps compiled code where the emulated device does, and asks the environment for
    the place at each compile: :func:`nkipy_emulator.code_cache.cache_of_simulations`.
    """

    def _code_store(self) -> CodeStore | None:
        return cache_of_simulations()

    def compile(  # type: ignore[override]  # the place is found by the address
        self,
        module: HLOModule,
        *,
        options: SimulationOptions | None = None,
        num_replicas: int = 1,
        meeting: Meeting | None = None,
    ) -> XlaExecutable:
        """As of the engine; with a `meeting`, its collectives are among processes.

        Raises:
            WorldError: this rank cannot join the others. It is a SimulationError.
        """
        if meeting is None:
            return super().compile(module, options=options, num_replicas=num_replicas)
        # Imported here, as most simulations are of one rank.
        from nkipy_emulator.simulated_ranks import take_seat

        seat = take_seat(meeting)
        made = super().compile(module, options=options, seat=seat)
        made.runner.sit(seat, meeting.seconds)
        return made


def _direct_program(
    module: HLOModule, options: SimulationOptions | None, check_bounds: bool
) -> tuple[str, DirectProgram] | None:
    """What needs no XLA: its kind, and what that is."""
    elements = element_program(module)
    if elements is not None and is_faster(elements):
        return "elements", elements
    if check_bounds and any(i.opcode == "gather" for i in module.entry.instructions):
        return None
    handlers = handler_program(module, options)
    return None if handlers is None else ("handlers", handlers)
