"""The record of a custom call's target: all that is known of it, in one place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from nkipy.hlo.arguments import describe, expect
from nkipy.hlo.custom_call_costs import AsHLO, Cost, EngineTimes, Lowering, Passes, View
from nkipy.hlo.errors import CustomCallError, HLOArgumentError
from nkipy.hlo.instruction import HLOInstruction, Shape

if TYPE_CHECKING:
    import numpy as np

    from nkipy.hlo.builder import HLOBuilder

#: ``run(inputs, outputs, backend_config)``.
Run = Callable[[Sequence["np.ndarray"], Sequence["np.ndarray"], bytes], None]


class Refusal(NamedTuple):
    """Why a compiler does not take a call.

    Attributes:
        code: the compiler's, ``NCC_EVRF013`` for example.
        message: what is wrong, what was received, and what helps.
    """

    code: str
    message: str


#: ``check(call, target)``, with the value of the compiler's ``--target``.
Check = Callable[[HLOInstruction, str], Iterable[Refusal]]


def accept(inst: HLOInstruction, target: str) -> Iterable[Refusal]:
    """The check of a call that every compiler takes, whatever its operands."""
    return ()


def _no_problem(inst: HLOInstruction) -> str | None:
    return None


@dataclass(frozen=True)
class RankedRun:
    """How calls are run in which ranks exchange something.

    Attributes:
        groups: ``groups(call)``: the lists of ranks that it names; None of a call that
            each rank runs alone, as ``run`` does.
        run: as :attr:`CustomCall.run`, for all ranks at once: each array has a further
            first dimension, of ranks.
    """

    groups: Callable[[HLOInstruction], tuple[tuple[int, ...], ...] | None]
    run: Run


@dataclass(frozen=True, kw_only=True, eq=False)
class CustomCall:
    """All that is known of a target of custom calls.

    Attributes:
        target: the call's ``custom_call_target``.
        version: of what the record says. It enters every hash of a module with such a
            call, so that what was compiled for another version is not found.
        run: ``run(inputs, outputs, backend_config)`` computes it on the host: lists of
            arrays of the call's shapes and dtypes, and the call's bytes. Inputs are
            read-only. It fills every output, keeps no reference to any array, and may
            be called from several threads at a time. What it raises, a simulation
            raises; on an emulated device, NrtError is raised from it. No result is
            written then.
        lowering: ``lowering(call, operands, builder)`` builds plain HLO of the same
            result in the call's place, with `operands` for the call's own. It comes
            before `run`.
        check: ``check(call, target)``: what the compiler for that ``--target`` refuses.
        cost: what an execution costs: :class:`Passes`, :class:`View`, :class:`AsHLO` or
            :class:`EngineTimes`.
        aliases: output to operand, by their indices: such an output is the operand,
            updated in place. Its array holds the operand's values when `run` begins.
        only_compiled: the vendor's compiler knows the target, and nothing here computes
            it: a program with such a call compiles, and does not run.
        problem: why `run` cannot compute a call, or None: a program with a call that it
            cannot compute is not loaded.
        ranked: how those calls are run in which ranks exchange something; None if there
            are none.

    Raises:
        CustomCallError: something is missing or of the wrong kind.
    """

    target: str
    version: str
    check: Check
    cost: Cost
    run: Run | None = None
    lowering: Lowering | None = None
    aliases: Mapping[int, int] = field(default_factory=dict)
    only_compiled: bool = False
    problem: Callable[[HLOInstruction], str | None] = _no_problem
    ranked: RankedRun | None = None

    def __post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            raise CustomCallError(f"custom call {self.target!r}: {'; '.join(problems)}")
        aliases = MappingProxyType(dict(self.aliases))
        object.__setattr__(self, "aliases", aliases)

    @property
    def is_computed(self) -> bool:
        """Whether something here can compute it."""
        return not self.only_compiled

    def lower(
        self,
        inst: HLOInstruction,
        operands: tuple[HLOInstruction, ...],
        builder: HLOBuilder,
    ) -> HLOInstruction:
        """What `lowering` puts in the place of `inst`.

        Raises:
            CustomCallError: it is of another shape or dtype than the call.
        """
        assert self.lowering is not None
        return self._build(self.lowering, inst, operands, builder)

    def costed_as(
        self,
        inst: HLOInstruction,
        operands: tuple[HLOInstruction, ...],
        builder: HLOBuilder,
    ) -> HLOInstruction | None:
        """The HLO that `inst` is costed as; None if it is costed in another way.

        Raises:
            CustomCallError: it is of another shape or dtype than the call.
        """
        if not isinstance(self.cost, AsHLO):
            return None
        build = self.cost.build or self.lowering
        assert build is not None
        return self._build(build, inst, operands, builder)

    def _build(
        self,
        build: Lowering,
        inst: HLOInstruction,
        operands: tuple[HLOInstruction, ...],
        builder: HLOBuilder,
    ) -> HLOInstruction:
        made = build(inst, operands, builder)
        if shapes_of(made) != shapes_of(inst):
            raise CustomCallError(
                f"custom call {self.target!r} has the result {inst.shape_text()}; the "
                f"HLO that its record puts in its place has {made.shape_text()}"
            )
        return made

    def groups_in(self, inst: HLOInstruction) -> tuple[tuple[int, ...], ...] | None:
        """The lists of ranks that exchange something in a call; None if none do."""
        return None if self.ranked is None else self.ranked.groups(inst)

    def aliases_in(self, inst: HLOInstruction) -> dict[int, int]:
        """Output to operand, as the record and the call itself say.

        Raises:
            CustomCallError: the call has no such output or operand, they differ in
                shape or dtype, or the call says something else than the record.
        """
        own = inst.attributes.get("output_operand_aliasing", ())
        pairs = (*self.aliases.items(), *((out or 0, i) for out, i in own))
        return self._aliases(pairs, inst.operands, shapes_of(inst))

    def _aliases(
        self,
        pairs: Iterable[tuple[int, int]],
        operands: Sequence[HLOInstruction],
        outputs: Sequence[Shape],
    ) -> dict[int, int]:
        aliases: dict[int, int] = {}
        for out, i in pairs:
            fits = out < len(outputs) and i < len(operands)
            fits = fits and shapes_of(operands[i]) == (outputs[out],)
            if not fits or aliases.setdefault(out, i) != i:
                received = ", ".join(o.shape_text() for o in operands)
                raise CustomCallError(
                    f"custom call {self.target!r}: output {out} cannot be operand {i} "
                    f"of ({', '.join(map(str, outputs))}) custom-call({received})"
                )
        return aliases


def _problems(record: CustomCall) -> Iterable[str]:
    """What is wrong with a record."""
    for name in ("target", "version"):
        value = getattr(record, name)
        if not isinstance(value, str) or not value:
            yield f"{name} must be a text, not {value!r}"
    for name in ("run", "lowering"):
        value = getattr(record, name)
        if value is not None and not callable(value):
            yield f"{name} must be a function, not {value!r}"
    if not callable(record.check):
        yield f"check must be a function (accept, if nothing), not {record.check!r}"
    if record.only_compiled == (record.run is not None or record.lowering is not None):
        yield "it needs a run or a lowering, or else only_compiled"
    yield from _cost_problems(record)
    aliases = record.aliases
    if not isinstance(aliases, Mapping) or not all(map(_is_index, _flat(aliases))):
        yield f"aliases must map indices of outputs to those of operands: {aliases!r}"


def _cost_problems(record: CustomCall) -> Iterable[str]:
    cost = record.cost
    if not isinstance(cost, (Passes, View, AsHLO, EngineTimes)):
        yield f"cost must be Passes, View, AsHLO or EngineTimes, not {cost!r}"
    if isinstance(cost, AsHLO) and (cost.build or record.lowering) is None:
        yield "cost is that of a lowering, and there is none"


def _flat(aliases: Mapping[int, int]) -> Iterable[Any]:
    return [index for pair in aliases.items() for index in pair]


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and value >= 0


def shapes_of(inst: HLOInstruction) -> tuple[Shape, ...]:
    """Dtype and shape of each array of an instruction's result."""
    if inst.tuple_shapes is not None:
        return inst.tuple_shapes
    return (Shape(inst.dtype, inst.shape),)


def emit(
    builder: HLOBuilder,
    record: CustomCall,
    operands: Sequence[HLOInstruction],
    results: Shape | Sequence[Shape],
    backend_config: bytes = b"",
    *,
    has_side_effect: bool = False,
) -> HLOInstruction:
    """Append a call, which names the record's target and its aliases.

    Args:
        results: shape and dtype of the result; a sequence of them for a tuple.
        backend_config: what `run` gets with the arrays.
        has_side_effect: the call stays, even if nobody uses its result.

    Raises:
        HLOArgumentError: an argument is of a wrong kind.
        CustomCallError: outputs and operands do not fit the record's aliases.
    """
    if not hasattr(builder, "emit"):
        raise HLOArgumentError(
            "emit() takes an HLOBuilder for 'builder', but received "
            f"{describe(builder)}"
        )
    expect(record, CustomCall, "emit", "record")
    expect(operands, Sequence[HLOInstruction], "emit", "operands")
    expect(results, Shape | Sequence[Shape], "emit", "results")
    expect(backend_config, bytes, "emit", "backend_config")
    single = isinstance(results, tuple) and hasattr(results, "dims")
    shapes: Any = (results,) if single else tuple(results)
    aliases = record._aliases(record.aliases.items(), operands, shapes)
    aliasing = tuple((None if single else out, i) for out, i in aliases.items())
    attributes = {
        "custom_call_target": record.target,
        "backend_config": backend_config,
        **({"has_side_effect": True} if has_side_effect else {}),
        **({"output_operand_aliasing": aliasing} if aliasing else {}),
    }
    dims, dtype = (shapes[0].dims, shapes[0].dtype) if single else ((), None)
    return builder.emit(
        *("custom-call", tuple(operands), dims, dtype, MappingProxyType(attributes)),
        tuple_shapes=None if single else shapes,
    )
