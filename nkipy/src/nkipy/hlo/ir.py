"""The HLO intermediate representation: instructions, computations, a module.

Names are XLA's: an *instruction* is an opcode with operands, attributes and a result
shape; a *computation* is a list of instructions in dependence order with a root; a
*module* has an entry computation and what its parameters and results are called.
Attribute names are those of HLO's text form (see :mod:`nkipy.hlo.opcodes`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nkipy.hlo.dtypes import HLO_NAMES, as_dtype

if TYPE_CHECKING:
    from nkipy.third_party.xla.service import hlo_pb2

NO_ATTRIBUTES: Mapping[str, Any] = MappingProxyType({})
_new = object.__new__


class Shape(NamedTuple):
    """An array shape: element type and dimensions."""

    dtype: np.dtype
    dims: tuple[int, ...]

    def __str__(self) -> str:
        return f"{HLO_NAMES[self.dtype]}[{','.join(map(str, self.dims))}]"


class SourceLocation(NamedTuple):
    """The line of the user's program that an instruction comes from."""

    filename: str
    line: int

    def __str__(self) -> str:
        return f"{self.filename}:{self.line}"


@lru_cache(maxsize=8192)
def shape_key(shape: tuple[int, ...], dtype: np.dtype) -> str:
    """Tells shapes and dtypes apart, as they do themselves.

    It is what recipes are looked up by: a string keeps its hash, unlike a tuple.
    """
    return f"{dtype}{shape}"


class Form:
    """What equal instructions share: all but who they are and where they come from.

    Making an instruction of a form that has been used before (:meth:`HLOBuilder.place`)
    spares the work that depends on nothing else: the verifier applies an opcode's rule
    to a form once, and the writer encodes it once.

    Opcode, shape, dtype and attributes are those of the instructions, whose result is
    an array. The attributes cannot be changed.

    Attributes:
        operands: shape and dtype of each operand.
        key: :func:`shape_key` of the result.
        is_verified: whether the verifier has found an instruction of this form valid.
        encoded: the writer's bytes of it, or None.
    """

    __slots__ = (
        "opcode",
        "operands",
        "shape",
        "dtype",
        "attributes",
        "key",
        "is_verified",
        "encoded",
    )

    def __init__(
        self,
        opcode: str,
        operands: tuple[tuple[tuple[int, ...], Any], ...],
        shape: tuple[int, ...],
        dtype: np.dtype | Any,
        attributes: Mapping[str, Any] = NO_ATTRIBUTES,
    ) -> None:
        self.opcode = opcode
        self.operands = operands
        self.shape = shape
        self.dtype = dtype
        self.attributes = NO_ATTRIBUTES
        if attributes:
            self.attributes = MappingProxyType(dict(attributes))
        self.key = shape_key(shape, dtype)
        self.is_verified = False
        self.encoded: bytes | None = None

    @classmethod
    def of(cls, inst: HLOInstruction) -> Form:
        """The form of an instruction whose operands and result are arrays."""
        if inst.form is not None:
            return inst.form
        operands = tuple([(o.shape, o.dtype) for o in inst.operands])
        return cls(inst.opcode, operands, inst.shape, inst.dtype, inst.attributes)

    def fits(self, inst: HLOInstruction) -> bool:
        """Whether `inst`, which was made of this form, is still of it."""
        if (
            inst.shape is not self.shape
            or inst.dtype is not self.dtype
            or inst.opcode is not self.opcode
            or inst.attributes is not self.attributes
            or inst.tuple_shapes is not None
            or len(inst.operands) != len(self.operands)
        ):
            return False
        for operand, (shape, dtype) in zip(inst.operands, self.operands):
            if operand.dtype is not dtype or operand.shape != shape:
                return False
        return True


class HLOInstruction:
    """One HLO instruction, which is also the value that it computes.

    Identity is equality. Opcode, operands, result and attributes stay as they are once
    an instruction is in a computation; its name and source location may be set until
    the module is verified or written, which look at them. ``shape`` and
    ``dtype`` describe an array result. A tuple result (sort of several operands, a
    custom call with several results, ``tuple``) has ``tuple_shapes`` instead, with
    ``shape == ()`` and ``dtype is None``. ``form`` is the :class:`Form` that the
    instruction was made of, if any.
    """

    __slots__ = (
        "opcode",
        "operands",
        "shape",
        "dtype",
        "attributes",
        "source_location",
        "tuple_shapes",
        "name",
        "form",
        "__weakref__",
    )

    def __init__(
        self,
        opcode: str,
        operands: tuple[HLOInstruction, ...],
        shape: tuple[int, ...],
        dtype: np.dtype | None,
        attributes: Mapping[str, Any] = NO_ATTRIBUTES,
        source_location: SourceLocation | None = None,
        tuple_shapes: tuple[Shape, ...] | None = None,
        name: str = "",
        form: Form | None = None,
    ) -> None:
        self.opcode = opcode
        self.operands = operands
        self.shape = shape
        # | Any, not | None: whoever has an array result in hand need not say so again.
        self.dtype: np.dtype | Any = dtype
        self.attributes = attributes
        self.source_location = source_location
        self.tuple_shapes = tuple_shapes
        self.name = name
        self.form = form

    # The names under which the public API of nkipy knows the same things.
    op_name = property(lambda self: self.opcode)
    result_shape = property(lambda self: self.shape)
    result_dtype = property(lambda self: self.dtype)
    is_parameter = property(lambda self: self.opcode == "parameter")

    @property
    def source_op(self) -> HLOInstruction | None:
        """The instruction that makes this value; None for a parameter."""
        return None if self.is_parameter else self

    @property
    def parameter_id(self) -> int | None:
        """The parameter number, or None."""
        return self.attributes.get("parameter_number")

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __repr__(self) -> str:
        label = f" {self.name}" if self.name else ""
        return f"<HLO {self.opcode}{label} {self.shape_text()}>"

    def shape_text(self) -> str:
        """The result shape in HLO's notation, ``f32[2,3]`` or ``(f32[2], s32[2])``."""
        if self.tuple_shapes is not None:
            return f"({', '.join(map(str, self.tuple_shapes))})"
        assert self.dtype is not None
        return str(Shape(self.dtype, self.shape))


def instruction_of(
    form: Form,
    operands: tuple[HLOInstruction, ...],
    location: SourceLocation | None = None,
) -> HLOInstruction:
    """An instruction of a form, whose operands fit it."""
    made = _new(HLOInstruction)
    made.form = form
    made.opcode = form.opcode
    made.operands = operands
    made.shape = form.shape
    made.dtype = form.dtype
    made.attributes = form.attributes
    made.source_location = location
    made.tuple_shapes = None
    made.name = ""
    return made


class HLOComputation:
    """A named list of instructions in dependence order, with a root."""

    __slots__ = ("name", "instructions", "parameters", "root")

    def __init__(self, name: str) -> None:
        self.name = name
        self.instructions: list[HLOInstruction] = []
        self.parameters: list[HLOInstruction] = []
        self.root: HLOInstruction | None = None

    def add_parameter(
        self,
        shape: Sequence[int],
        dtype: Any,
        name: str = "",
        tuple_shapes: tuple[Shape, ...] | None = None,
    ) -> HLOInstruction:
        """Append the next parameter."""
        number = len(self.parameters)
        dims = tuple(map(int, shape))
        if tuple_shapes is None:
            form = _parameter_form(number, dims, as_dtype(dtype))
            inst = instruction_of(form, ())
        else:
            attributes = {"parameter_number": number}
            inst = HLOInstruction("parameter", (), dims, None, attributes)
            inst.tuple_shapes = tuple_shapes
        inst.name = name or f"p{number}"
        self.parameters.append(inst)
        self.instructions.append(inst)
        return inst

    def called(self) -> Iterator[HLOComputation]:
        """The computations that instructions of this one call, callees first."""
        seen: set[int] = set()
        stack: list[tuple[HLOComputation, Iterator[HLOComputation]]]
        stack = [(self, _callees(self))]
        while stack:
            owner, pending = stack[-1]
            for callee in pending:
                if id(callee) not in seen:
                    seen.add(id(callee))
                    stack.append((callee, _callees(callee)))
                    break
            else:
                stack.pop()
                if owner is not self:
                    yield owner


@lru_cache(maxsize=8192)
def _parameter_form(number: int, shape: tuple[int, ...], dtype: np.dtype) -> Form:
    return Form("parameter", (), shape, dtype, {"parameter_number": number})


#: The attributes that hold a computation (or, `branches`, a tuple of them).
CALLEE_ATTRIBUTES = ("to_apply", "condition", "body", "branches")


def _callees(computation: HLOComputation) -> Iterator[HLOComputation]:
    calling = [i for i in computation.instructions if i.opcode not in _CALL_NOTHING]
    for inst in calling:
        for key in CALLEE_ATTRIBUTES:
            value = inst.attributes.get(key)
            if value is not None:
                yield from value if isinstance(value, tuple) else (value,)


#: The commonest opcodes that call no computation.
_CALL_NOTHING = frozenset(
    "parameter constant broadcast reshape transpose slice concatenate dot select "
    "convert compare add subtract multiply divide maximum minimum and or power negate "
    "exponential log sqrt rsqrt tanh abs".split()
)


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


@dataclass(frozen=True)
class AliasInfo:
    """Output `output_index` is written into the memory of parameter `param_index`.

    ``is_user_returned`` tells an output that the kernel returned from one appended
    because the kernel wrote into the parameter.
    """

    output_index: int
    param_index: int
    param_name: str
    is_user_returned: bool


#: Ends the name of a parameter whose memory receives an output.
MUST_ALIAS_SUFFIX = ".must_alias_input"


class ModuleState(NamedTuple):
    """What a module consists of at one time, down to the instructions' identities.

    It is everything that a verifier or writer goes by, but for the instructions
    themselves, which are not changed once they are in use.
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
            and tuple(module.results) == self.results
            and tuple(module.output_names) == self.output_names
            and tuple(module.aliases) == self.aliases
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
        self.name = name
        self.entry = HLOComputation("main")
        self.results: list[HLOInstruction] = []
        self.output_names: list[str] = []
        self.aliases: list[AliasInfo] = []
        self._verified: ModuleState | None = None

    @property
    def parameters(self) -> list[HLOInstruction]:
        return self.entry.parameters

    @property
    def operations(self) -> list[HLOInstruction]:
        """The instructions of the entry computation that are not parameters."""
        return [i for i in self.entry.instructions if i.opcode != "parameter"]

    @property
    def inputs(self) -> list[TensorPlaceholder]:
        return [
            TensorPlaceholder(
                p.name, p.shape, p.dtype, p.name.removesuffix(MUST_ALIAS_SUFFIX)
            )
            for p in self.parameters
            if p.dtype is not None
        ]

    @property
    def outputs(self) -> list[TensorPlaceholder]:
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
        """Append an instruction whose operands are already in the module."""
        self.entry.instructions.append(op)
        return op

    def set_results(
        self,
        results: HLOInstruction | Sequence[HLOInstruction],
        names: Sequence[str] | None = None,
    ) -> None:
        """Declare the results, called ``output<i>`` unless `names` says otherwise."""
        if isinstance(results, HLOInstruction):
            results = [results]
        self.results = list(results)
        if names is None:
            names = [f"output{i}" for i in range(len(self.results))]
        self.output_names = list(names)

    def computations(self) -> list[HLOComputation]:
        """All computations, callees before callers, the entry last."""
        return [*self.entry.called(), self.entry]

    def verify(self) -> None:
        """Check every instruction against its opcode's rules, and remember that.

        Raises:
            HLOVerificationError: naming the instruction and what is wrong with it.
        """
        from nkipy.hlo.verifier import verify_module

        verify_module(self)

    def ensure_verified(self) -> None:
        """As :meth:`verify`, but for a module that is as it was when last verified.

        Comparing takes some ten nanoseconds for each instruction. What is added,
        replaced or removed is noticed, results, names and aliases included; a field
        of an instruction that is set in place is not. Who does that calls
        :meth:`verify`.

        Raises:
            HLOVerificationError: naming the instruction and what is wrong with it.
        """
        if not self.is_verified:
            self.verify()

    @property
    def is_verified(self) -> bool:
        """Whether this process has verified the module, as it is now."""
        return self._verified is not None and self._verified.is_of(self)

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
        from html import escape

        return f"<pre>{escape(self.to_text())}</pre>"
