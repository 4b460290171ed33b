"""Programs that are ready to run on NumPy arrays: XLA's code, or calls of handlers."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nkipy.hlo.ir import HLOModule
from nkipy_emulator import _xla
from nkipy_emulator.element_programs import ElementProgram
from nkipy_emulator.fast_calls import FastCalls
from nkipy_emulator.handler_programs import HandlerProgram
from nkipy_emulator.kept_code import CodeStore
from nkipy_emulator.memory import empty, maker
from nkipy_emulator.operands import in_place, lift_constants
from nkipy_emulator.own_results import blank, needs_blank, own_results
from nkipy_emulator.program_code import ProgramCode

if TYPE_CHECKING:
    from nkipy.hlo.options import SimulationOptions
    from nkipy_emulator._xla import Seat

Arrays = Sequence[np.ndarray]
DirectProgram = ElementProgram | HandlerProgram


class XlaExecutable:
    """A compiled module.

    Attributes:
        run: ``run(inputs, outputs)`` executes once. Both are sequences of C-contiguous
            arrays with the dtypes and shapes of the module's parameters and results,
            in their order. Results are written into `outputs` when all else is done; an
            output may be one of the inputs, or overlap one. It releases the GIL and may
            be called from several threads at once. Raises ValueError for a wrong number
            of arrays or a wrong size or layout (dtypes are not looked at), TypeError
            for what is no array, a scalar of NumPy's included, SimulationError for a
            failure in XLA, and what a registered custom call raises; outputs are
            untouched then.
        run_replicas: the same for all ranks, with one sequence of arrays per rank.
        runner: what has these two, and for the emulated device, whose tensors are no
            arrays, ``run_at(input_addresses, output_addresses, printer)``.
    """

    #: ``empty(shape, dtype)``: an array for results. Large ones are aligned so that
    #: XLA can read them in place if they are inputs of a later call.
    empty = staticmethod(empty)

    #: ``digest(array, keys)``: tells what a large array holds, see :mod:`._xla`.
    digest = staticmethod(_xla.digest)
    digest_keys = _xla.DIGEST_KEYS
    #: ``watch(address, nbytes)``: of pages that nobody may have written to.
    watch = _xla.MemoryWatch

    run: Callable[[Arrays, Arrays], None]
    run_replicas: Callable[[Sequence[Arrays], Sequence[Arrays]], None]

    def __init__(
        self,
        module: HLOModule,
        options: SimulationOptions | None,
        num_replicas: int,
        store: CodeStore | None = None,
        check_bounds: bool = False,
        fast_calls: FastCalls = "auto",
        makes_results: bool = True,
        seat: Seat | None = None,
        traced: HLOModule | None = None,
    ) -> None:
        self.num_replicas = num_replicas
        makes_results = makes_results and num_replicas == 1
        lifted, constants = lift_constants(module)
        own = own_results(module) if makes_results else ()
        world_size = 0 if seat is None else seat.ranks
        code = ProgramCode(
            *(traced or module, module, lifted, options, num_replicas),
            *(check_bounds, fast_calls, own, world_size),
        )
        name = code.name if store is not None and num_replicas == 1 else None
        if store is None or name is None:
            program, sliced = code.compiled()
        else:
            program, sliced = code.kept(store, name)
        first_constant = len(module.parameters)
        self._makers = [maker(r.shape, r.dtype) for r in module.results]
        self._own = own
        self.runner = program.runner(
            [p.nbytes for p in lifted.parameters],
            [r.nbytes for r in module.results],
            code.calls_python,
            steps=[
                p.dtype.itemsize if i in sliced and p.dtype is not None else 0
                for i, p in enumerate(lifted.parameters)
            ],
            constants=[
                in_place(literal, is_sliced=first_constant + i in sliced)
                for i, literal in enumerate(constants)
            ],
            own=own,
            own_shapes=[
                (module.results[i].shape, module.results[i].dtype) for i in own
            ],
            blanks=[
                blank(module.results[i].nbytes)
                for i in own
                if needs_blank(module.results[i])
            ],
        )
        if seat is not None:
            self.runner.sit(seat)
        self.run = self.runner.run
        self.run_replicas = self.runner.run_replicas
        EXECUTABLES.add(self)

    def run_new(self, inputs: Arrays) -> list[np.ndarray]:
        """As `run`, but the results are new arrays.

        Large ones are XLA's own memory, which nothing is copied from: it is free again
        when nobody has an array of it any more.
        """
        outputs: list[Any]
        if not self._own:  # as few steps as can be: small calls take as long as these
            outputs = [make() for make in self._makers]
            self.run(inputs, outputs)
            return outputs
        outputs = [
            None if i in self._own else make() for i, make in enumerate(self._makers)
        ]
        for i, made in zip(self._own, self.runner.run_for(inputs, outputs)):
            outputs[i] = made
        return outputs


class DirectExecutable(XlaExecutable):
    """One that needs no XLA, and works in a forked child.

    Args:
        module: what it computes.
        kind: of programs, as :func:`nkipy_emulator._xla.direct_runner` takes it.
        program: one of these.
    """

    def __init__(self, module: HLOModule, kind: str, program: DirectProgram) -> None:
        self.num_replicas = 1
        self._makers = [maker(r.shape, r.dtype) for r in module.results]
        self._own = ()
        self.runner = _xla.direct_runner(
            [p.nbytes for p in module.parameters],
            [r.nbytes for r in module.results],
            kind,
            program,
        )
        self.run = self.runner.run
        self.run_replicas = self.runner.run_replicas


#: All that are alive and have code of XLA's.
EXECUTABLES: weakref.WeakSet[XlaExecutable] = weakref.WeakSet()


def _disable_after_fork() -> None:
    for executable in list(EXECUTABLES):
        executable.run = executable.run_replicas = _refuse
        executable.run_new = _refuse  # type: ignore[method-assign]
        _xla.leave_alone(executable.runner)


def _refuse(inputs: Any, outputs: Any = None) -> Any:
    _xla.check_process()


os.register_at_fork(after_in_child=_disable_after_fork)
