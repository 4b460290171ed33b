"""Reads a module from the bytes of XLA's ``HloModuleProto``, trusting none of them.

Read is what the writer writes, and what XLA writes for the same opcodes. A field that
could change what the program means and that we do not know is an error; time and memory
are bounded by the limits below.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from nkipy.hlo.arguments import describe
from nkipy.hlo.errors import (
    HLOArgumentError,
    HLOProtoError,
    HLOUnsupportedError,
    HLOVerificationError,
)
from nkipy.hlo.interface import NEFF_INPUT_NAMES, NEFF_OUTPUT_NAMES
from nkipy.hlo.ir import (
    NO_ATTRIBUTES,
    AliasInfo,
    HLOComputation,
    HLOInstruction,
    HLOModule,
    Shape,
    SourceLocation,
)
from nkipy.hlo.opcodes import OPCODES, Opcode
from nkipy.hlo.opcodes.calls import decode_strings
from nkipy.hlo.opcodes.kinds import COMPUTATIONS
from nkipy.hlo.proto_literals import read_literal
from nkipy.hlo.proto_shapes import AnyShape, read_shape
from nkipy.hlo.verifier import MAX_ELEMENTS, MAX_RANK, verify_module
from nkipy.hlo.wire import schema_of
from nkipy.hlo.wire_reader import Reader

#: Greatest size of a module; protobuf's own limit.
MAX_MODULE_BYTES = (1 << 31) - 1
#: Greatest number of instructions, over all computations.
MAX_INSTRUCTIONS = 1 << 17
#: Greatest number of protobuf fields, and of numbers in their lists (not literals).
MAX_FIELDS = 1 << 22

_MODULE = schema_of("HloModuleProto")

Fields = dict[str, Any]

# Fields that are not in our .proto files, by XLA's numbers, and do not change results:
# schedules, prefetches and buffers of a compiled module, shardings, profiles, frames.
_HARMLESS_IN_MODULE = frozenset({7, 10, 12, 13, 14, 15, 16, 17, 18})
# parameter_replication, async_execution_thread, statistics_viz, original_value,
# result_accuracy.
_HARMLESS_IN_INSTRUCTION = frozenset({61, 79, 82, 88, 91})
_HARMLESS = frozenset(
    {
        "sharding",
        "precision_config",
        "frontend_attributes",
        "backend_config",
        "custom_call_schedule",
        "constrain_layout",  # layouts are row-major or refused
        "operand_shapes_with_layout",
    }
)
_ALWAYS = frozenset(
    {
        "name",
        "opcode",
        "shape",
        "metadata",
        "id",
        "operand_ids",
        "called_computation_ids",
        # XLA writes these two for every instruction of some kinds.
        "feature_group_count",
        "batch_group_count",
    }
)


def read_module(proto: Any, *, verify: bool = True) -> HLOModule:
    """The verified module of an ``HloModuleProto`` or of its bytes.

    Args:
        proto: the message, or its bytes.
        verify: False: this process has verified a module of just these bytes before.

    Raises:
        HLOArgumentError: `proto` is neither bytes nor a message.
        HLOProtoError: it is malformed, or describes what we do not know.
        HLOVerificationError: it is well-formed but breaks an opcode's rules.
        HLOUnsupportedError, which is both: it may be valid, but nkipy lacks something.
    """
    if hasattr(proto, "SerializeToString"):
        proto = proto.SerializeToString()
    if not isinstance(proto, (bytes, bytearray, memoryview)):
        raise HLOArgumentError(
            "read_module() takes an HloModuleProto or its bytes for 'proto', but "
            f"received {describe(proto)}"
        )
    if len(proto) > MAX_MODULE_BYTES:
        raise HLOUnsupportedError(
            f"a module of {len(proto)} bytes; {MAX_MODULE_BYTES} is most"
        )
    reader = Reader(MAX_FIELDS, repetitive=("ShapeProto", "OpMetadata"))
    fields = reader.decode(_MODULE, memoryview(proto).cast("B"))
    reading = _ModuleReader(reader, fields)
    module = reading.read()
    if verify:
        verify_module(module)
        # Afterwards: of an operand that is wrong itself, that is said.
        if reading.wrapper is not None:
            _check_root(reading.wrapper)
    else:
        module.set_verified(module.computations())
    return module


class _Computation(NamedTuple):
    """A computation that was read, and its instructions by id."""

    computation: HLOComputation
    by_id: dict[int, HLOInstruction]
    root: Fields


class _ModuleReader:
    def __init__(self, reader: Reader, fields: Fields) -> None:
        self.reader = reader
        self.fields = fields
        self.computations: dict[int, _Computation] = {}
        self.instruction_ids: set[int] = set()
        self.shapes: dict[int, AnyShape] = {}
        #: The root, if it only puts the results together and is not kept.
        self.wrapper: HLOInstruction | None = None

    def read(self) -> HLOModule:
        fields = self.fields
        _refuse_unknown(fields, _HARMLESS_IN_MODULE, "the module")
        if fields.get("is_dynamic"):
            raise HLOUnsupportedError("the module has dynamic shapes")
        computations = fields.get("computations", ())
        total = sum(len(c.get("instructions", ())) for c in computations)
        if total > MAX_INSTRUCTIONS:
            raise HLOUnsupportedError(
                f"{total} instructions; {MAX_INSTRUCTIONS} is most"
            )
        for proto in computations:
            self._computation(proto)
        entry_id = fields.get("entry_computation_id", 0)
        if entry_id not in self.computations:
            raise HLOProtoError(f"no entry computation of id {entry_id}")
        module = HLOModule(fields.get("name", ""))
        self._entry(module, self.computations[entry_id])
        self._aliases(module)
        return module

    def _computation(self, proto: Fields) -> None:
        name, own_id = proto.get("name", ""), proto.get("id", 0)
        what = f"computation {name!r}"
        _refuse_unknown(proto, frozenset(), what)
        if own_id in self.computations:
            raise HLOProtoError(f"{what}: a second computation of id {own_id}")
        if proto.get("is_fusion_computation"):
            raise HLOUnsupportedError(f"{what} is the body of a fusion")
        if proto.get("execution_thread", "") not in ("", "main"):
            raise HLOUnsupportedError(f"{what} runs on another thread")
        computation = HLOComputation(name)
        by_id: dict[int, HLOInstruction] = {}
        root_id, root = proto.get("root_id", 0), None
        for fields in proto.get("instructions", ()):
            inst = self._instruction(fields, by_id)
            computation.instructions.append(inst)
            if fields.get("id", 0) == root_id:
                computation.root, root = inst, fields
        if root is None:
            raise HLOProtoError(f"{what} has no root: no instruction of id {root_id}")
        computation.parameters = _parameters(computation)
        what = f"the program shape of {what}"
        _check_program_shape(proto.get("program_shape"), computation, what)
        self.computations[own_id] = _Computation(computation, by_id, root)

    def _instruction(
        self, fields: Fields, by_id: dict[int, HLOInstruction]
    ) -> HLOInstruction:
        try:
            inst = self._read_instruction(fields, by_id)
        except HLOProtoError as e:
            name, opcode = fields.get("name", ""), fields.get("opcode", "")
            raise type(e)(f"instruction {name!r} ({opcode}): {e}") from None
        own_id = fields.get("id", 0)
        if own_id in self.instruction_ids:
            raise HLOProtoError(f"instruction {inst.name!r}: id {own_id} occurs twice")
        self.instruction_ids.add(own_id)
        by_id[own_id] = inst
        return inst

    def _read_instruction(
        self, fields: Fields, by_id: dict[int, HLOInstruction]
    ) -> HLOInstruction:
        opcode = fields.get("opcode", "")
        record = OPCODES.get(opcode)
        if record is None:
            raise HLOUnsupportedError("unknown opcode")
        _check_fields(record, fields)
        if "shape" not in fields:
            raise HLOProtoError("no shape")
        shape = self._shape(fields["shape"])
        attributes = record.decode(fields, self.reader)
        if "literal" in record.attributes:
            attributes["literal"] = self._literal(fields, shape)
        attributes.update(self._callees(record, fields))
        array = shape if isinstance(shape, Shape) else None
        return HLOInstruction(
            opcode,
            self._operands(fields, by_id),
            array.dims if array else (),
            array.dtype if array else None,
            attributes or NO_ATTRIBUTES,
            _location(fields.get("metadata", {})),
            None if isinstance(shape, Shape) else shape,
            fields.get("name", ""),
        )

    def _shape(self, fields: Fields) -> AnyShape:
        # The reader shares (and keeps) what it decodes from equal bytes.
        shape = self.shapes.get(id(fields))
        if shape is None:
            shape = self.shapes[id(fields)] = read_shape(self.reader, fields)
        return shape

    def _operands(
        self, fields: Fields, by_id: dict[int, HLOInstruction]
    ) -> tuple[HLOInstruction, ...]:
        ids = self.reader.ints(fields, "operand_ids")
        for i in ids:
            if i not in by_id:
                raise HLOProtoError(f"no instruction of id {i} comes before it")
        return tuple(by_id[i] for i in ids)

    def _literal(self, fields: Fields, shape: AnyShape) -> Any:
        literal = fields.get("literal")
        if literal is None or not isinstance(shape, Shape):
            raise HLOProtoError("a constant without an array literal")
        if "shape" in literal and self._shape(literal["shape"]) != shape:
            raise HLOProtoError(f"the literal's shape is not {shape}")
        if len(shape.dims) > MAX_RANK:
            raise HLOUnsupportedError(f"rank {len(shape.dims)}, over {MAX_RANK}")
        total = 1
        for d in shape.dims:
            total *= d
            if not 0 <= total <= MAX_ELEMENTS:
                raise HLOProtoError(f"a literal of shape {shape}")
        return read_literal(literal, shape.dtype, shape.dims, self.reader)

    def _callees(self, record: Opcode, fields: Fields) -> dict[str, Any]:
        ids = self.reader.ints(fields, "called_computation_ids")
        for i in ids:
            if i not in self.computations:
                raise HLOProtoError(f"no computation of id {i} comes before it")
        callees = tuple(self.computations[i].computation for i in ids)
        names = record.callees
        if names and record.attributes[names[0]].kind is COMPUTATIONS:
            return {names[0]: callees}
        if len(names) != len(callees):
            raise HLOProtoError(f"{len(callees)} callees instead of {len(names)}")
        return dict(zip(names, callees))

    def _entry(self, module: HLOModule, entry: _Computation) -> None:
        """Make a computation the module's entry, less the root that the writer adds."""
        computation, root = entry.computation, entry.computation.root
        assert root is not None
        host = self.fields.get("host_program_shape")
        _check_program_shape(host, computation, "the host program shape")
        self._name_parameters(entry)
        strings = decode_strings(entry.root.get("frontend_attributes", {}))
        names = strings.get(NEFF_OUTPUT_NAMES)
        is_used = any(root in i.operands for i in computation.instructions)
        if root.opcode == "tuple":
            results, wrapper = list(root.operands), True
        elif names is not None and root.opcode == "copy":
            results, wrapper = list(root.operands), True
        else:
            results, wrapper = _elements(computation, root), False
        if wrapper:
            self.wrapper = root
        if wrapper and not is_used:
            computation.instructions.remove(root)
        computation.root = None
        module.entry = computation
        module.set_results(results, _output_names(names, len(results)))

    def _name_parameters(self, entry: _Computation) -> None:
        protos = {
            proto.get("id", 0): proto
            for computation in self.fields["computations"]
            for proto in computation.get("instructions", ())
        }
        for own_id, inst in entry.by_id.items():
            if inst.opcode == "parameter":
                attributes = protos[own_id].get("frontend_attributes", {})
                name = decode_strings(attributes).get(NEFF_INPUT_NAMES)
                inst.name = name or inst.name

    def _aliases(self, module: HLOModule) -> None:
        config = self.fields.get("input_output_alias", {})
        is_tuple = len(module.results) != 1
        for entry in config.get("entries", ()):
            index = self.reader.ints(entry, "output_shape_index")
            number = entry.get("parameter_number", 0)
            if self.reader.ints(entry, "parameter_shape_index"):
                raise HLOUnsupportedError("an alias of a part of a parameter")
            if len(index) > 1:
                raise HLOUnsupportedError(f"an alias of output {list(index)}")
            if is_tuple and not index:
                raise HLOProtoError("an alias of all outputs together")
            if not 0 <= number < len(module.parameters):
                raise HLOProtoError(f"an alias of parameter {number}")
            name = module.parameters[number].name
            output = index[0] if index else 0
            # Who asked for the alias is not in the proto.
            module.aliases.append(AliasInfo(output, number, name, True))


def _refuse_unknown(fields: Fields, harmless: frozenset[int], what: str) -> None:
    unknown = set(fields.get(None, ())) - harmless  # type: ignore[call-overload]
    if unknown:
        numbers = ", ".join(map(str, sorted(unknown)))
        raise HLOUnsupportedError(
            f"{what} has fields that are not supported: {numbers}"
        )


def _check_fields(record: Opcode, fields: Fields) -> None:
    """Refuse fields that have a value and no meaning for the opcode."""
    _refuse_unknown(fields, _HARMLESS_IN_INSTRUCTION, "it")
    for name in fields.keys() - _ALWAYS - _HARMLESS - record.fields:
        if name is not None and fields[name]:
            raise HLOUnsupportedError(f"{name} is not supported here")


def _location(metadata: Fields) -> SourceLocation | None:
    filename = metadata.get("source_file")
    if not filename:
        return None
    return SourceLocation(filename, metadata.get("source_line", 0))


def _parameters(computation: HLOComputation) -> list[HLOInstruction]:
    found = [i for i in computation.instructions if i.opcode == "parameter"]
    found.sort(key=lambda p: p.attributes["parameter_number"])
    numbers = [p.attributes["parameter_number"] for p in found]
    if numbers != list(range(len(found))):
        raise HLOProtoError(
            f"computation {computation.name!r}: parameters are numbered {numbers[:20]}"
        )
    return found


def _any_shape(inst: HLOInstruction) -> AnyShape:
    if inst.tuple_shapes is not None:
        return inst.tuple_shapes
    assert inst.dtype is not None
    return Shape(inst.dtype, inst.shape)


def _check_program_shape(
    fields: Fields | None, computation: HLOComputation, what: str
) -> None:
    if fields is None:
        raise HLOProtoError(f"{what} is missing")
    reader = Reader(MAX_FIELDS)
    declared = [read_shape(reader, s) for s in fields.get("parameters", ())]
    assert computation.root is not None
    wanted = [_any_shape(p) for p in computation.parameters]
    if declared != wanted:
        raise HLOProtoError(f"{what} declares other parameters than there are")
    if read_shape(reader, fields.get("result", {})) != _any_shape(computation.root):
        raise HLOProtoError(f"{what} declares another result than there is")


def _elements(
    computation: HLOComputation, root: HLOInstruction
) -> list[HLOInstruction]:
    """The root itself, or the elements of the tuple that it returns."""
    if root.tuple_shapes is None:
        return [root]
    elements = [
        HLOInstruction("get-tuple-element", (root,), s.dims, s.dtype, {"index": i})
        for i, s in enumerate(root.tuple_shapes)
    ]
    computation.instructions += elements
    return elements


def _check_root(root: HLOInstruction) -> None:
    """That a root which is not kept has the shape that its operands make.

    Raises:
        HLOVerificationError: it has another.
    """
    shapes = tuple(map(_any_shape, root.operands))
    made = shapes if root.opcode == "tuple" else shapes[0] if len(shapes) == 1 else None
    if _any_shape(root) != made:
        raise HLOVerificationError(
            f"the root %{root.name} is declared as {root.shape_text()}, which is not "
            f"what {root.opcode} makes of its {len(shapes)} operands"
        )


def _output_names(joined: str | None, count: int) -> list[str] | None:
    if joined is None:
        return None
    names = joined.split(",") if joined else []
    if len(names) != count:
        raise HLOProtoError(f"{len(names)} names of outputs for {count} results")
    return names
