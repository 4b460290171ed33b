"""The HLO intermediate representation: instructions, computations, a module.

Names are XLA's: an *instruction* is an opcode with operands, attributes and a result
shape; a *computation* is a list of instructions in dependence order with a root; a
*module* has an entry computation and what its parameters and results are called.
Attribute names are those of HLO's text form (see :mod:`nkipy.hlo.opcodes`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import index
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nkipy.hlo.arguments import checked, expect
from nkipy.hlo.errors import HLOArgumentIndexError
from nkipy.hlo.instruction import (
    NO_ATTRIBUTES,
    Form,
    HLOComputation,
    HLOInstruction,
    Shape,
    SourceLocation,
    are_kept,
    callees,
    callees_of,
    have_fixed_literals,
    instruction_of,
    keep,
    with_callees,
)
from nkipy.hlo.interface import MUST_ALIAS_SUFFIX

if TYPE_CHECKING:
    from nkipy.third_party.xla.service import hlo_pb2

__all__ = [
    "MUST_ALIAS_SUFFIX",
    "NO_ATTRIBUTES",
    "AliasInfo",
    "Form",
    "HLOComputation",
    "HLOInstruction",
    "HLOModule",
    "ModuleState",
    "Shape",
    "SourceLocation",
    "TensorPlaceholder",
    "callees",
    "callees_of",
    "instruction_of",
    "with_callees",
]


@dataclass(frozen=True)
class TensorPlaceholder:
    """Name, shape and dtype of an input or output of a module.

    ``original_name`` is the name in the user's signature, without the suffix that marks
    an aliased parameter.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    original_name: str = ""

    def __post_init__(self) -> None:
        if not self.original_name:
            object.__setattr__(self, "original_name", self.name)


class AliasInfo(NamedTuple):
    """Output `output_index` is written into the memory of parameter `param_index`.

    ``is_user_returned`` tells an output that the kernel returned from one appended
    because the kernel wrote into the parameter.
    """

    output_index: int
    param_index: int
    param_name: str
    is_user_returned: bool


class ModuleState(NamedTuple):
    """What a verified module consists of, down to the instructions' identities.

    These tell themselves whether they have changed since. So it is everything that a
    verifier goes by; what a writer writes depends on the elements of constants too.
    """

    name: str
    computations: tuple[HLOComputation, ...]
    contents: tuple[_Contents, ...]
    results: tuple[HLOInstruction, ...]
    output_names: tuple[str, ...]
    aliases: tuple[AliasInfo, ...]

    @classmethod
    def of(
        cls, module: HLOModule, computations: Sequence[HLOComputation]
    ) -> ModuleState:
        """The state of a module with these computations, the entry the last."""
        for computation in computations:
            keep(computation.instructions)
        return cls(
            module.name,
            tuple(computations),
            tuple(map(_contents, computations)),
            tuple(module.results),
            tuple(module.output_names),
            tuple(module.aliases),
        )

    def is_of(self, module: HLOModule) -> bool:
        """Whether the module is still in this state."""
        # Which computations are called follows from the instructions, which are
        # compared: with the same contents, `computations` are still all.
        return (
            module.entry is self.computations[-1]
            and module.name == self.name
            and tuple(map(_contents, self.computations)) == self.contents
            and all(are_kept(c.instructions) for c in self.computations)
            and tuple(module.results) == self.results
            and tuple(module.output_names) == self.output_names
            and tuple(module.aliases) == self.aliases
        )

    def writes_the_same(self, module: HLOModule) -> bool:
        """Whether the module has the bytes that it had in this state.

        It has others if it is not in this state, and perhaps if it has constants whose
        arrays can be written into.
        """
        return self.is_of(module) and all(
            have_fixed_literals(c.instructions) for c in self.computations
        )


_Contents = tuple[
    str,
    tuple[HLOInstruction, ...],
    tuple[HLOInstruction, ...],
    HLOInstruction | None,
]


def _contents(computation: HLOComputation) -> _Contents:
    instructions, parameters = computation.instructions, computation.parameters
    return computation.name, tuple(instructions), tuple(parameters), computation.root


class HLOModule:
    """A program: an entry computation, its results, and the aliases between them.

    Args:
        name: the module's name, by custom that of the traced function.
    """

    def __init__(self, name: str = "main") -> None:
        if type(name) is not str:
            expect(name, str, "HLOModule", "name")
        self.name = name
        self.entry = HLOComputation("main")
        self.results: list[HLOInstruction] = []
        self.output_names: list[str] = []
        self.aliases: list[AliasInfo] = []
        self._verified: ModuleState | None = None

    @property
    def parameters(self) -> list[HLOInstruction]:
        """The parameters of the entry computation, in their order."""
        return self.entry.parameters

    @property
    def operations(self) -> list[HLOInstruction]:
        """The instructions of the entry computation that are not parameters."""
        return [i for i in self.entry.instructions if i.opcode != "parameter"]

    @property
    def inputs(self) -> list[TensorPlaceholder]:
        """Name, shape and dtype of each parameter."""
        return [
            TensorPlaceholder(
                p.name, p.shape, p.dtype, p.name.removesuffix(MUST_ALIAS_SUFFIX)
            )
            for p in self.parameters
            if p.dtype is not None
        ]

    @property
    def outputs(self) -> list[TensorPlaceholder]:
        """Name, shape and dtype of each result."""
        return [
            TensorPlaceholder(name, r.shape, r.dtype)
            for name, r in zip(self.output_names, self.results)
            if r.dtype is not None
        ]

    @property
    def input_output_alias(self) -> dict[int, int]:
        """Output index to the index of the parameter whose memory it takes."""
        return {a.output_index: a.param_index for a in self.aliases}

    @property
    def auto_aliased_indices(self) -> set[int]:
        """Outputs that the kernel did not return: parameters that it wrote into."""
        return {a.output_index for a in self.aliases if not a.is_user_returned}

    def add_parameter(
        self, shape: Sequence[int], dtype: Any, name: str = ""
    ) -> HLOInstruction:
        """Append a parameter to the entry computation."""
        return self.entry.add_parameter(shape, dtype, name)

    def add_operation(self, op: HLOInstruction) -> HLOInstruction:
        """Append an instruction whose operands are already in the module.

        Raises:
            HLOArgumentError: `op` is no instruction.
        """
        if not isinstance(op, HLOInstruction):
            expect(op, HLOInstruction, "add_operation", "op")
        self.entry.instructions.append(op)
        return op

    @checked
    def set_results(
        self,
        results: HLOInstruction | Sequence[HLOInstruction],
        names: Sequence[str] | None = None,
    ) -> None:
        """Declare the results, called ``output<i>`` unless `names` says otherwise.

        Raises:
            HLOArgumentError: a result is no instruction, or a name no text.
        """
        if isinstance(results, HLOInstruction):
            results = [results]
        self.results = list(results)
        if names is None:
            names = [f"output{i}" for i in range(len(self.results))]
        self.output_names = list(names)

    @checked
    def alias(
        self, output_index: int, param_index: int, *, is_user_returned: bool = True
    ) -> None:
        """Have an output written into the memory of a parameter.

        The parameter's name gets :data:`MUST_ALIAS_SUFFIX`, which is what tells the
        compiler. Verifying the module checks that both have one shape and dtype.

        Args:
            output_index: which of the results.
            param_index: which of the parameters.
            is_user_returned: see :class:`AliasInfo`.

        Raises:
            HLOArgumentError: an index is no int.
            HLOArgumentIndexError: there is no such parameter. It is an IndexError.
        """
        if not 0 <= param_index < len(self.parameters):
            raise HLOArgumentIndexError(
                f"alias() received {param_index} for 'param_index', but the module has "
                f"{len(self.parameters)} parameters"
            )
        output_index, param_index = index(output_index), index(param_index)
        parameter = self.parameters[param_index]
        name = parameter.name.removesuffix(MUST_ALIAS_SUFFIX)
        parameter.name = name + MUST_ALIAS_SUFFIX
        info = AliasInfo(output_index, param_index, name, is_user_returned)
        self.aliases.append(info)

    def computations(self) -> list[HLOComputation]:
        """All computations, callees before callers, the entry last."""
        if self._verified is not None and self._verified.is_of(self):
            return list(self._verified.computations)
        return [*self.entry.called(), self.entry]

    def instructions(self) -> Iterator[HLOInstruction]:
        """The instructions of all computations, in the order of those."""
        for computation in self.computations():
            yield from computation.instructions

    def verify(self) -> None:
        """Check every instruction against its opcode's rules, and remember that.

        Raises:
            HLOVerificationError: naming the instruction and what is wrong with it.
        """
        from nkipy.hlo.verifier import verify_module

        verify_module(self)

    def ensure_verified(self) -> None:
        """As :meth:`verify`, but for a module that is as it was when last verified.

        Comparing takes some tens of nanoseconds for each instruction. What is added,
        replaced or removed is noticed, results, names and aliases included, and so is
        a field of an instruction that is set in place. A module with such an
        instruction is verified each time.

        Raises:
            HLOVerificationError: naming the instruction and what is wrong with it.
        """
        if not self.is_verified:
            self.verify()

    @property
    def is_verified(self) -> bool:
        """Whether this process has verified the module, as it is now."""
        return self._verified is not None and self._verified.is_of(self)

    @property
    def verified_state(self) -> ModuleState | None:
        """What the module was when it was last verified; None: it has not been."""
        return self._verified

    def set_verified(self, computations: Sequence[HLOComputation] | None) -> None:
        """For the verifier: these are all computations and valid; None forgets."""
        self._verified = None
        if computations is not None:
            self._verified = ModuleState.of(self, computations)

    def serialize(self) -> bytes:
        """The module as bytes of XLA's ``HloModuleProto``."""
        from nkipy.hlo.proto_writer import serialize_module

        return serialize_module(self)

    def to_proto(self) -> hlo_pb2.HloModuleProto:
        """The module as an ``HloModuleProto`` message."""
        from nkipy.third_party.xla.service import hlo_pb2

        return hlo_pb2.HloModuleProto.FromString(self.serialize())

    @classmethod
    def from_proto(cls, proto: hlo_pb2.HloModuleProto | bytes) -> HLOModule:
        """Read and verify a module from a message or its bytes.

        Raises:
            HLOProtoError: the message is malformed, or describes what we do not know.
            HLOVerificationError: it is well-formed but breaks an opcode's rules.
        """
        from nkipy.hlo.proto_reader import read_module

        return read_module(proto)

    def to_text(self) -> str:
        """The module in HLO's text form, which XLA's own parser accepts."""
        from nkipy.hlo.printer import print_module

        return print_module(self)

    def content_hash(self, compiler_args: str = "") -> str:
        """12 hex digits that identify the program and `compiler_args`.

        Source paths and line numbers do not enter it.
        """
        from nkipy.hlo.proto_writer import hash_module

        return hash_module(self, compiler_args)

    def __repr__(self) -> str:
        return (
            f"<HLOModule {self.name!r}: {len(self.parameters)} parameters, "
            f"{len(self.operations)} operations, {len(self.results)} results>"
        )

    def __str__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        from nkipy.hlo.notebook import fixed_width

        return fixed_width(self.to_text())
