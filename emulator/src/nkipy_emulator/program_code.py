"""XLA's code of a program: as it is kept on disk, else as it is compiled."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from nkipy.hlo.custom_calls import targets_of, versions
from nkipy.hlo.ir import HLOModule
from nkipy.hlo.proto_writer import serialize_to_run
from nkipy.hlo.vendor_calls import VENDOR_CALLS
from nkipy_emulator import _xla
from nkipy_emulator.apart import VARIABLE, NotDoneError, compile_seconds
from nkipy_emulator.call_sites import CustomCalls
from nkipy_emulator.care import care_for
from nkipy_emulator.errors import CompileTimeoutError, SimulationError
from nkipy_emulator.fast_calls import FastCalls, know_functions
from nkipy_emulator.kept_code import CodeStore, KeptCode, name_of
from nkipy_emulator.program_size import check_size

if TYPE_CHECKING:
    from nkipy.hlo.options import SimulationOptions

#: Bytes of a module whose code is kept: code has the constants in it.
_MOST_KEPT = 16 << 20


class ProgramCode:
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
        self._world_size = world_size
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
        """The program, of code that is kept, else compiled and kept; what is sliced.

        Ranks of several processes come here at the same time, mostly with the same
        program: then one compiles, and the others wait for what it keeps.
        """
        found = _found(store, name)
        if found is None and self._world_size > 0:
            seconds = compile_seconds(check_size(self._lifted))
            with store.turn(name, seconds) as others_had_it:
                found = _found(store, name)
                if found is None and not others_had_it:
                    return self.compiled(partial(store.keep, name, now=True))
        return found or self.compiled(partial(store.keep, name))

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
            names = _functions(prepared)
            keep(lambda: KeptCode(sliced, names, program.code()).to_bytes())
        return program, sliced


def _found(store: CodeStore, name: str) -> tuple[_xla.Program, frozenset[int]] | None:
    """The program of code that is kept, and what is sliced."""
    entry = KeptCode.of(store.get(name))
    if entry is None or not know_functions(entry.functions):
        return None
    program = _xla.load_code(entry.code)
    return None if program is None else (program, entry.sliced)


def _functions(module: HLOModule) -> tuple[str, ...]:
    """NumPy's functions that handlers call in a program, by their names."""
    from nkipy_emulator.handler_calls import attributes_of

    made = (inst for c in module.computations() for inst in c.instructions)
    calls = [inst for inst in made if inst.attributes.get("backend_config")]
    found = {attributes_of(call).get("function") for call in calls}
    return tuple(sorted(str(name) for name in found if name is not None))


def _too_long(module: HLOModule, seconds: float | None) -> str:
    return (
        f"XLA has not compiled module {module.name!r} in {seconds:.0f} seconds, and "
        f"goes on in the background; {VARIABLE} sets how many it has for 1000 "
        "instructions"
    )


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
