"""Compiles HLO modules for the CPU, and runs them on NumPy arrays."""

from __future__ import annotations

import os
import re
import weakref
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from nkipy.hlo.custom_calls import targets_of, versions
from nkipy.hlo.ir import HLOModule
from nkipy.hlo.proto_writer import serialize_to_run
from nkipy.hlo.rewrites.joining import join_stores
from nkipy.hlo.rewrites.packing import pack_scalars
from nkipy.hlo.rewrites.rolling import roll_steps
from nkipy.hlo.rewrites.stores import forward_stores
from nkipy.hlo.vendor_calls import VENDOR_CALLS
from nkipy_emulator import _xla
from nkipy_emulator.apart import VARIABLE, NotDoneError, compile_seconds
from nkipy_emulator.call_sites import CustomCalls
from nkipy_emulator.care import care_for
from nkipy_emulator.code_cache import cache_of_simulations
from nkipy_emulator.element_programs import ElementProgram, element_program, is_faster
from nkipy_emulator.errors import CompileTimeoutError, SimulationError
from nkipy_emulator.fast_calls import (
    BY_NAME,
    FastCalls,
    chosen,
    know_all_functions,
)
from nkipy_emulator.handler_programs import HandlerProgram, handler_program
from nkipy_emulator.kept_code import CodeStore, KeptCode, cpu_features, name_of
from nkipy_emulator.memory import empty, maker
from nkipy_emulator.memory_maps import check_maps
from nkipy_emulator.operands import in_place, lift_constants
from nkipy_emulator.own_results import blank, needs_blank, own_results
from nkipy_emulator.program_size import check_size
from nkipy_emulator.progress import telling

if TYPE_CHECKING:
    from nkipy.hlo.options import Meeting, SimulationOptions
    from nkipy_emulator._xla import Seat

Arrays = Sequence[np.ndarray]

#: Bytes of a module whose code is kept: code has the constants in it.
_MOST_KEPT = 16 << 20
#: Of a module that takes long to rewrite for XLA: a terminal is told from then on.
_MANY_INSTRUCTIONS = 1000


class XlaCpuEngine:
    """XLA on the CPU.

    Every operation rounds as its dtype says, one by one, in the order of the module;
    transcendental functions are within a few units in the last place of NumPy's, or
    NumPy's (:mod:`nkipy_emulator.fast_calls`), and sums add in an order of XLA's, or
    of NumPy's. Subnormal float32 and bfloat16 numbers are
    flushed to zero, as XLA does on CPUs, but in functions that are NumPy's, handlers in
    Python, running sums and products of :mod:`nkipy_emulator.array_calls`, and programs
    of a few cheap steps (:mod:`nkipy_emulator.plain_calls`). One replica runs in the
    calling thread and on XLA's.
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
        check_maps(len(_executables))
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
        compilation = _Compilation(
            *(traced or module, module, lifted, options, num_replicas),
            *(check_bounds, fast_calls, own, world_size),
        )
        name = compilation.name if store is not None and num_replicas == 1 else None
        if store is None or name is None:
            program, sliced = compilation.compiled()
        else:
            program, sliced = compilation.kept(store, name)
        first_constant = len(module.parameters)
        self._makers = [maker(r.shape, r.dtype) for r in module.results]
        self._own = own
        self.runner = program.runner(
            [p.nbytes for p in lifted.parameters],
            [r.nbytes for r in module.results],
            compilation.calls_python,
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
        _executables.add(self)

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


DirectProgram = ElementProgram | HandlerProgram


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


class _Compilation:
    """What becomes of one module.

    Attributes:
        calls_python: whether the program calls functions in Python.
    """

    def __init__(
        self,
        traced: HLOModule,
        module: HLOModule,
        lifted: HLOModule,
        options: SimulationOptions | None,
        num_replicas: int,
        check_bounds: bool,
        fast_calls: FastCalls,
        own: Sequence[int],
        world_size: int,
    ) -> None:
        self.calls_python = False
        self._traced = traced
        self._module = module
        self._lifted = lifted
        self._options = options
        self._choices = (check_bounds, num_replicas, fast_calls, own, world_size)

    @property
    def name(self) -> str | None:
        """What its code is kept by.

        What others have written rewrites the calls of it, whatever it says it is. So of
        a module with such calls it is what has been made of them that tells.
        """
        lifted, targets = self._lifted, targets_of(self._lifted.computations())
        if all(target in VENDOR_CALLS for target in targets):
            return name_of(lifted, self._options, *self._choices)
        prepared, _, calls = self._prepared
        if calls.sites:
            return None
        return name_of(prepared, versions(targets), self._options, *self._choices)

    @cached_property
    def _prepared(self) -> tuple[HLOModule, frozenset[int], CustomCalls]:
        calls = CustomCalls()
        made = _with_store(self._lifted, self._options, calls, *self._choices)
        return *made, calls

    def kept(self, store: CodeStore, name: str) -> tuple[_xla.Program, frozenset[int]]:
        """The program, of code that is kept, else compiled and kept; what is sliced."""
        entry = KeptCode.of(store.get(name))
        program = None if entry is None else _xla.load_code(entry.code)
        if entry is None or program is None:
            return self.compiled(partial(store.keep, name))
        if entry.calls_numpy:
            know_all_functions()
        return program, entry.sliced

    def compiled(
        self, keep: Callable[[Callable[[], bytes]], None] | None = None
    ) -> tuple[_xla.Program, frozenset[int]]:
        """The program, compiled, and which parameters are sliced."""
        module, options = self._module, self._options
        _, num_replicas, *_ = self._choices
        prepared, sliced, calls = self._prepared
        proto = serialize_to_run(prepared)
        wanted = options is not None and options.fast_compile
        care = care_for(module, self._traced, prepared, wanted)
        seconds = compile_seconds(check_size(prepared))
        try:
            program = _xla.compile_proto(
                *(proto, num_replicas, care, seconds, module.name)
            )
        except NotDoneError:
            raise CompileTimeoutError(_too_long(module, seconds)) from None
        except SimulationError as e:
            calls.release()
            raise SimulationError(_located(str(e), prepared)) from None
        calls.release_with(program)  # which `run` keeps, even without this object
        self.calls_python = bool(calls.sites)
        # Numbers of handlers are those of this process alone.
        if keep is not None and not calls.sites and len(proto) <= _MOST_KEPT:
            calls_numpy = any(name.encode() in proto for name in BY_NAME)
            keep(lambda: KeptCode(sliced, calls_numpy, program.code()).to_bytes())
        return program, sliced


def _too_long(module: HLOModule, seconds: float | None) -> str:
    return (
        f"XLA has not compiled module {module.name!r} in {seconds:.0f} seconds, and "
        f"goes on in the background; {VARIABLE} sets how many it has for 1000 "
        "instructions"
    )


_executables: weakref.WeakSet[XlaExecutable] = weakref.WeakSet()


def _disable_after_fork() -> None:
    for executable in list(_executables):
        executable.run = executable.run_replicas = _refuse
        executable.run_new = _refuse  # type: ignore[method-assign]
        _xla.leave_alone(executable.runner)


def _refuse(inputs: Any, outputs: Any = None) -> Any:
    _xla.check_process()


os.register_at_fork(after_in_child=_disable_after_fork)


def _with_store(*given: Any, **named: Any) -> tuple[HLOModule, frozenset[int]]:
    """As :func:`nkipy_emulator.preparation.with_store`.

    What rewrites programs is imported here: a process that finds its code on disk needs
    nothing of it.
    """
    from nkipy_emulator.preparation import with_store

    return with_store(*given, **named)


# ------------------------------------------------------------------------- error text


#: How XLA says what is wrong with an instruction.
_PLACED = re.compile(r'(?:<unknown>:0: )?(error|note): loc\("([\w.-]+)"\)')


def _located(text: str, module: HLOModule) -> str:
    """XLA's error with the source line of each instruction that it names."""
    lines = _source_lines(module)

    def with_line(found: re.Match[str]) -> str:
        kind, name = found.groups()
        where = f"{lines[name]}: " if name in lines else ""
        return f"{where}{kind}: {name}"

    text = _PLACED.sub(with_line, text)
    words = re.findall(r"[\w.-]+", text)
    found = {name: lines[name] for name in words if name in lines}
    if not found:
        return text
    where = "\n".join(f"  {name} comes from {line}" for name, line in found.items())
    return f"{text}\n{where}"


def _source_lines(module: HLOModule) -> dict[str, str]:
    return {
        inst.name: f"{inst.metadata.source_file}:{inst.metadata.source_line}"
        for computation in module.to_proto().computations
        for inst in computation.instructions
        if inst.metadata.source_file
    }
