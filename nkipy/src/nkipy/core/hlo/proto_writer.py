"""Writes a module as bytes of XLA's ``HloModuleProto``, and identifies its content.

What neuronx-cc and XLA expect of the message:

* callees come before their callers, the entry computation ``main`` last; instruction
  ids increase over the whole module, and names are unique in it;
* entry parameters keep their names and repeat them in the frontend attribute
  ``neff_input_names``;
* the entry's root, ``result``, is added here: a ``copy`` of a single result, else a
  ``tuple``, with the names of the outputs in ``neff_output_names``.

The content hash is taken over the same fields less instruction names, source locations
and the names of module and computations: none of them changes what is compiled.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from functools import lru_cache
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from nkipy.core.hlo.errors import HLOVerificationError
from nkipy.core.hlo.ir import (
    HLOComputation,
    HLOInstruction,
    HLOModule,
    Shape,
    SourceLocation,
)
from nkipy.core.hlo.names import Names
from nkipy.core.hlo.opcodes import OPCODES
from nkipy.core.hlo.proto_attributes import CODECS
from nkipy.core.hlo.proto_attributes_calls import NO_CODEC, string_map
from nkipy.core.hlo.proto_literals import Buffer, literal_parts, raw_bytes
from nkipy.core.hlo.proto_shapes import shape_bytes, tuple_shape_bytes
from nkipy.core.hlo.wire import (
    VARINTS,
    delimited,
    encode,
    packed_ints,
    schema_of,
    varint,
)
from nkipy.third_party.xla import xla_data_pb2
from nkipy.third_party.xla.service import hlo_pb2

INPUT_NAMES = "neff_input_names"
OUTPUT_NAMES = "neff_output_names"
OP_TYPE = "NKIPy_Op"
OP_NAME_PREFIX = "hlo__"

_MODULE = schema_of(hlo_pb2.HloModuleProto.DESCRIPTOR)
_COMPUTATION = schema_of(hlo_pb2.HloComputationProto.DESCRIPTOR)
_INSTRUCTION = schema_of(hlo_pb2.HloInstructionProto.DESCRIPTOR)
_PROGRAM_SHAPE = schema_of(xla_data_pb2.ProgramShapeProto.DESCRIPTOR)
_METADATA = schema_of(xla_data_pb2.OpMetadata.DESCRIPTOR)


def _tag(name: str) -> bytes:
    return _INSTRUCTION.by_name[name].tag


_NAME, _OPCODE, _SHAPE_TAG = _tag("name"), _tag("opcode"), _tag("shape")
_META, _LITERAL, _ID = _tag("metadata"), _tag("literal"), _tag("id")
_OPERANDS, _CALLED = _tag("operand_ids"), _tag("called_computation_ids")
_INST = _COMPUTATION.by_name["instructions"].tag


@lru_cache(maxsize=4)
def _tables(size: int) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """For each id below `size`: its varint, its field, the end of a made-up name."""
    varints = [varint(i) for i in range(size)]
    return varints, [_ID + v for v in varints], [b"%d" % i for i in range(size)]


def serialize_module(module: HLOModule) -> bytes:
    """The module as bytes of ``HloModuleProto``.

    The module is expected to be valid (:func:`verifier.verify_module`).

    Raises:
        HLOVerificationError: an operand is not in the computation, or an attribute or a
            dtype is not what the opcode needs.
    """
    encoded = _encoded(module)
    parts = encoded.parts or _Encoder(module).encode().parts
    encoded.parts = None  # a second call is rare; do not keep every module's bytes
    assert parts is not None
    return b"".join(parts)


def hash_module(module: HLOModule, compiler_args: str = "") -> str:
    """12 hex digits that identify the program and how it is compiled.

    See :func:`digest_module` for what makes two programs the same.
    """
    whole = digest_module(module) + compiler_args.encode()
    return hashlib.sha256(whole).hexdigest()[:12]


def digest_module(module: HLOModule) -> bytes:
    """32 bytes that identify the program.

    Opcodes, shapes, attributes, constants, structure, the names of inputs and outputs,
    and aliases enter it. Source locations, generated names and the module's own name do
    not: the same kernel elsewhere, or under another name, is the same artefact.
    """
    encoded = _encoded(module)
    if encoded.digest is None:
        sha = hashlib.sha256()
        for part in _joined_runs(encoded.hashed):
            sha.update(part)
        encoded.digest, encoded.hashed = sha.digest(), []
    return encoded.digest


def _joined_runs(parts: list[Buffer]) -> list[Buffer]:
    """The same bytes in fewer pieces, large arrays left alone."""
    runs: list[Buffer] = []
    start = 0
    for i, part in enumerate(parts):
        if type(part) is np.ndarray:
            runs += (b"".join(parts[start:i]), part)
            start = i + 1
    return [*runs, b"".join(parts[start:])]


class _Encoded:
    """A module's bytes (until handed out), what identifies them, and its state then."""

    def __init__(self, state: Any, parts: list[Buffer], hashed: list[Buffer]) -> None:
        self.state = state
        self.parts: list[Buffer] | None = parts
        self.hashed = hashed
        self.digest: bytes | None = None


_encoded_modules: WeakKeyDictionary[HLOModule, _Encoded] = WeakKeyDictionary()


def _encoded(module: HLOModule) -> _Encoded:
    encoded = _encoded_modules.get(module)
    if encoded is None or encoded.state != _state(module, encoded.state.computations):
        encoded = _Encoder(module).encode()
        _encoded_modules[module] = encoded
    return encoded


class _State(NamedTuple):
    """Everything mutable that a module's bytes depend on; instructions are not."""

    name: str
    computations: list[HLOComputation]
    contents: list[tuple]
    results: list[HLOInstruction]
    output_names: list[str]
    aliases: list


def _state(module: HLOModule, computations: list[HLOComputation]) -> _State:
    # Which computations are called follows from the instructions, which are compared
    # (by identity): with the same contents, `computations` are still all.
    if module.entry is not computations[-1]:
        computations = module.computations()
    contents = [
        (c.name, list(c.instructions), list(c.parameters), c.root) for c in computations
    ]
    names, aliases = list(module.output_names), list(module.aliases)
    results = list(module.results)
    return _State(module.name, computations, contents, results, names, aliases)


class _Encoder:
    """One pass over a module, producing its bytes and the bytes of its identity."""

    def __init__(self, module: HLOModule) -> None:
        self.module = module
        self.computations = module.computations()
        self.next_id = 0
        self.frames: dict[Any, dict[str, bytes]] = defaultdict(dict)
        self.metadata: dict[Any, dict[str, bytes]] = defaultdict(dict)
        self.attributes: dict[Any, bytes] = {}
        self.computation_ids: dict[HLOComputation, int] = {}
        self.names = Names(module, self.computations)
        self.hashed: list[Buffer] = []

    def encode(self) -> _Encoded:
        module = self.module
        body: list[Buffer] = []
        for computation in self.computations:
            try:
                body += self._computation(computation)
            except (KeyError, AttributeError, TypeError) as e:
                raise HLOVerificationError(
                    f"computation {computation.name!r} cannot be written, since it is "
                    f"not valid ({type(e).__name__}: {e}); verify() says where"
                ) from e
        signature = self._program_shape(module.entry)
        tail = encode(_MODULE, {"entry_computation_id": len(self.computations) - 1})
        tail += delimited(_MODULE.by_name["host_program_shape"].tag, signature)
        aliases = encode(_MODULE, self._aliases())
        self.hashed.append(aliases)
        names = {
            "name": module.name,
            "entry_computation_name": self.names.computation(module.entry),
        }
        parts = [encode(_MODULE, names), *body, tail, aliases]
        return _Encoded(_state(module, self.computations), parts, self.hashed)

    def _computation(self, computation: HLOComputation) -> list[Buffer]:
        is_entry = computation is self.module.entry
        ids: dict[HLOInstruction, bytes] = {}
        parts: list[Buffer] = []
        self._instructions(computation, ids, parts, is_entry)
        if is_entry:
            self._add_root(ids, parts)
            root_id = self.next_id - 1
        else:
            root = computation.root
            if root is None:
                raise KeyError("no root")
            index = list(ids).index(root)
            root_id = self.next_id - len(ids) + index
            # Field 6 is not one of an instruction, hence no mistaking it.
            self.hashed.append(encode(_COMPUTATION, {"root_id": index + 1}))
        own_id = self.computation_ids[computation] = len(self.computation_ids)
        fields = {"id": own_id, "root_id": root_id}
        parts.append(
            delimited(
                _COMPUTATION.by_name["program_shape"].tag,
                self._program_shape(computation),
            )
            + encode(_COMPUTATION, fields)
        )
        name = encode(_COMPUTATION, {"name": self.names.computation(computation)})
        size = len(name) + sum(map(len, parts))
        key = _MODULE.by_name["computations"].tag
        return [key + varint(size) + name, *parts]

    def _instructions(
        self,
        computation: HLOComputation,
        ids: dict[HLOInstruction, bytes],
        parts: list[Buffer],
        is_entry: bool,
    ) -> None:
        """The loop over instructions: what repeats comes from a cache.

        Neighbours mostly share their shape and their source line, down to the same
        object, so that the caches of both are looked up only where these change.
        """
        dims = dtype = location = None
        frames: dict[str, bytes] = {}
        metadata: dict[str, bytes] = {}
        number, name_of, join = self.next_id, self.names.of, b"".join
        may_clash, prefixes = self.names.may_clash, _NAME_PREFIXES
        size = _table_size(number + len(computation.instructions))
        varints, id_fields, suffixes = _tables(size)
        emit, hashed = parts.append, self.hashed.append
        for inst in computation.instructions:
            opcode, operands = inst.opcode, inst.operands
            if inst.shape is not dims or inst.dtype is not dtype or dtype is None:
                dims, dtype = inst.shape, inst.dtype
                frames = self.frames[dtype, dims] if dtype is not None else {}
            ids[inst] = varints[number]
            frame = frames.get(opcode) or self._frame(inst, frames)
            if not operands:
                core = frame + id_fields[number]
            else:
                count = len(operands)
                if count == 1:
                    packed = ids[operands[0]]
                elif count == 2:
                    packed = ids[operands[0]] + ids[operands[1]]
                else:
                    packed = join([ids[o] for o in operands])
                size = len(packed)
                length = varints[size] if size < 2048 else varint(size)
                core = join((frame, id_fields[number], _OPERANDS, length, packed))
            literal: Buffer = b""
            if inst.attributes:
                if opcode == "constant":
                    core, literal = self._constant(inst, core)
                else:
                    core += self._attribute_fields(inst, is_entry)
            hashed(core)
            if inst.source_location is not location:
                location = inst.source_location
                metadata = self.metadata[location]
            meta = metadata.get(opcode)
            if meta is None:
                meta = metadata[opcode] = _metadata(opcode, location)
            if inst.name or may_clash:
                name = name_of(inst, number).encode()
            else:
                name = prefixes[opcode] + suffixes[number]
            emit(_named(name, meta, core, len(literal)))
            if len(literal):
                emit(literal)
                hashed(raw_bytes(inst.attributes["literal"]))
            number += 1
        self.next_id = number

    def _frame(self, inst: HLOInstruction, frames: dict[str, bytes]) -> bytes:
        """The fields of opcode and shape."""
        frame = _OPCODE_FIELDS[inst.opcode] + delimited(
            _SHAPE_TAG, _any_shape_bytes(inst)
        )
        frames[inst.opcode] = frame
        return frame

    def _constant(self, inst: HLOInstruction, core: bytes) -> tuple[bytes, Buffer]:
        """The core with the literal, or up to its data where that is large."""
        literal = inst.attributes["literal"]
        parts = literal_parts(literal)
        if len(parts) == 1:
            return delimited(core + _LITERAL, parts[0]), b""
        head, data = parts
        return b"".join((core, _LITERAL, varint(len(head) + len(data)), head)), data

    def _attribute_fields(self, inst: HLOInstruction, is_entry: bool) -> bytes:
        opcode, attributes = inst.opcode, inst.attributes
        if opcode in _HAVE_CALLEES:
            return self._called(inst)
        if opcode == "parameter":
            number = delimited_fields(opcode, attributes)
            return number + _frontend(INPUT_NAMES, inst.name) if is_entry else number
        key: Any
        if len(attributes) == 1:  # then it is the one that the opcode requires
            key = (opcode, *attributes.values())
        else:
            key = (opcode, *attributes.items())
        field = self.attributes.get(key)
        if field is None:
            field = self.attributes[key] = delimited_fields(opcode, attributes)
        return field

    def _called(self, inst: HLOInstruction) -> bytes:
        callees: list[HLOComputation] = []
        for name in _CALLEE_ORDER:
            value = inst.attributes.get(name, ())
            callees += value if isinstance(value, tuple) else (value,)
        packed = packed_ints([self.computation_ids[c] for c in callees])
        fields = delimited_fields(inst.opcode, inst.attributes)
        return fields + delimited(_CALLED, packed)

    def _add_root(self, ids: dict[HLOInstruction, bytes], parts: list[Buffer]) -> None:
        """Append ``result``, which carries the outputs and their names."""
        results = self.module.results
        shapes = tuple(Shape(r.dtype, r.shape) for r in results)
        if len(results) == 1:
            root = HLOInstruction(
                "copy", (results[0],), shapes[0].dims, shapes[0].dtype
            )
        else:
            root = HLOInstruction(
                "tuple", tuple(results), (), None, tuple_shapes=shapes
            )
        self.root_shape = root
        packed = b"".join([ids[r] for r in results])
        core = self._frame(root, {}) + _ID + varint(self.next_id)
        core += delimited(_OPERANDS, packed) if results else b""
        core += _frontend(OUTPUT_NAMES, ",".join(self.module.output_names))
        self.hashed.append(core)
        parts.append(_named(self.names.root().encode(), b"", core))
        self.next_id += 1

    def _program_shape(self, computation: HLOComputation) -> bytes:
        """The signature, with layouts.

        They are what XLA compares the shapes of aliased inputs and outputs by.
        """
        root = computation.root
        if computation is self.module.entry:
            root = self.root_shape
        assert root is not None
        names = [self.names.of(p, -1) for p in computation.parameters]
        key = _PROGRAM_SHAPE.by_name["parameters"].tag
        shapes = [delimited(key, _any_shape_bytes(p)) for p in computation.parameters]
        result = delimited(_PROGRAM_SHAPE.by_name["result"].tag, _any_shape_bytes(root))
        return b"".join(
            [*shapes, result, encode(_PROGRAM_SHAPE, {"parameter_names": names})]
        )

    def _aliases(self) -> dict[str, Any]:
        # The kind stays undefined: the suffix of the parameter's name is what tells the
        # compiler that the output has to be in the parameter's memory.
        single = len(self.module.results) == 1
        entries = [
            {
                "output_shape_index": () if single else (a.output_index,),
                "parameter_number": a.param_index,
            }
            for a in self.module.aliases
        ]
        return {"input_output_alias": {"entries": entries}} if entries else {}


_NAME_PREFIXES = {name: f"{name}.".encode() for name in OPCODES}
_OPCODE_FIELDS = {name: delimited(_OPCODE, name.encode()) for name in OPCODES}
#: The order in which XLA lists the computations that an instruction calls.
_CALLEE_ORDER = ("to_apply", "body", "condition", "branches")
_HAVE_CALLEES = frozenset(
    name
    for name, op in OPCODES.items()
    if not op.required.keys().isdisjoint(_CALLEE_ORDER)
)


def _table_size(count: int) -> int:
    """A power of two, so that few tables serve all modules."""
    return max(2048, 1 << count.bit_length())


def _named(name: bytes, meta: bytes, core: bytes, more: int = 0) -> bytes:
    """An instruction whose message ends with `more` bytes that follow."""
    size = len(name)
    if size < 128:
        length = VARINTS[size]
        size += len(meta) + len(core) + more + 2
    else:
        length = varint(size)
        size += len(meta) + len(core) + more + 1 + len(length)
    total = VARINTS[size] if size < 2048 else varint(size)
    return b"".join((_INST, total, _NAME, length, name, meta, core))


def _metadata(opcode: str, location: SourceLocation | None) -> bytes:
    if location is None:
        return b""
    fields = {
        "op_type": OP_TYPE,
        "op_name": OP_NAME_PREFIX + opcode,
        "source_file": location.filename,
        "source_line": location.line,
    }
    return delimited(_META, encode(_METADATA, fields))


def _any_shape_bytes(inst: HLOInstruction) -> bytes:
    if inst.tuple_shapes is not None:
        return tuple_shape_bytes(inst.tuple_shapes)
    assert inst.dtype is not None
    return shape_bytes(inst.dtype, inst.shape)


def delimited_fields(opcode: str, attributes: Any) -> bytes:
    """An opcode's attributes as fields of the instruction."""
    return encode(_INSTRUCTION, CODECS.get(opcode, NO_CODEC).to_fields(attributes))


def _frontend(key: str, value: str) -> bytes:
    return encode(_INSTRUCTION, {"frontend_attributes": string_map([(key, value)])})
