"""Instructions as ``HloInstructionProto``, written.

An instruction's message is made of three pieces. The *lead* is where it comes from, a
*frame* with its opcode, shape and attributes, and its name but for the number at the
end: most instructions of a line of the user's have a lead that another had before. The
*tail* is that number and the id, and the *inputs* are the ids of the operands.

Frames and inputs identify the program: ids follow from the order.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from nkipy.hlo.instruction import (
    Form,
    HLOComputation,
    HLOInstruction,
    SourceLocation,
)
from nkipy.hlo.interface import (
    NEFF_INPUT_NAMES,
    NEFF_OUTPUT_NAMES,
    OP_NAME_PREFIX,
    OP_TYPE,
)
from nkipy.hlo.names import Names
from nkipy.hlo.opcodes import OPCODES
from nkipy.hlo.opcodes.calls import encode_strings
from nkipy.hlo.proto_literals import Buffer, literal_parts
from nkipy.hlo.proto_shapes import shape_bytes, tuple_shape_bytes
from nkipy.hlo.wire import (
    VARINTS,
    delimited,
    encode,
    packed_ints,
    schema_of,
    varint,
)

_INSTRUCTION = schema_of("HloInstructionProto")
_METADATA = schema_of("OpMetadata")


def _tag(name: str) -> bytes:
    return _INSTRUCTION.by_name[name].tag


_NAME, _OPCODE, _SHAPE_TAG = _tag("name"), _tag("opcode"), _tag("shape")
_META, _LITERAL, _ID = _tag("metadata"), _tag("literal"), _tag("id")
_OPERANDS, _CALLED = _tag("operand_ids"), _tag("called_computation_ids")
_NUMBER = _tag("parameter_number")
_INST = schema_of("HloComputationProto").by_name["instructions"].tag

#: The operand field up to the ids, by how many bytes these take.
_OPERAND_HEADS = [_OPERANDS + v for v in VARINTS[:128]]
#: The key and length of an instruction, by its size.
_KEYS = [_INST + v for v in VARINTS]


@lru_cache(maxsize=4)
def _tables(size: int) -> tuple[list[bytes], list[bytes]]:
    """For each id below `size`: its varint, and the end of a made-up name with it."""
    varints = [varint(i) for i in range(size)]
    return varints, [b"%d%b%b" % (i, _ID, v) for i, v in enumerate(varints)]


def _table_size(count: int) -> int:
    """A power of two, so that few tables serve all modules."""
    return max(2048, 1 << count.bit_length())


class InstructionEncoder:
    """Encodes the instructions of a module's computations, callees first.

    Args:
        names: the names of the module's instructions.
        computation_ids: the ids of the computations that were encoded before.
        hashed: receives the bytes that identify the program.

    Attributes:
        next_id: the id of the next instruction.
    """

    def __init__(
        self,
        names: Names,
        computation_ids: dict[HLOComputation, int],
        hashed: list[Buffer],
        with_sources: bool = True,
    ) -> None:
        self.names = names
        self._where = _where if with_sources else _nowhere
        self.computation_ids = computation_ids
        self.hashed = hashed
        self.next_id = 0
        #: What `hashed` receives when the computation, or a large constant, ends.
        self._run: list[bytes] = []
        self._frames: dict[Any, bytes] = {}
        #: By form or by frame, for each source line and length of the id in digits:
        #: where it is from, the frame, and the beginning of a name that is made up,
        #: whose number is left out; and the frame.
        self._known: dict[Any, dict[Any, tuple[bytes, bytes]]] = {}

    def encode(
        self,
        computation: HLOComputation,
        ids: dict[HLOInstruction, bytes],
        parts: list[Buffer],
        is_entry: bool,
    ) -> None:
        """Append the instructions to `parts`, and their ids to `ids`.

        The loop has as little work for each as possible. Neighbours mostly share their
        source line, down to the same object, so that what is known of a line is looked
        up only where it changes; and few lines have instructions of many forms.
        """
        instructions, first = computation.instructions, self.next_id
        self.next_id = end = first + len(instructions)
        varints, tails = _tables(_table_size(end))
        ids.update(zip(instructions, varints[first:end]))
        start = first
        while start < end:  # as long as the ids have the same number of digits
            digits = len(str(start))
            stop = min(end, 10**digits)
            some = instructions[start - first : stop - first]
            self._encode_some(some, start, tails[start:stop], ids, parts, is_entry)
            start = stop
        self.hashed.append(b"".join(self._run))
        self._run.clear()

    def _encode_some(
        self,
        instructions: list[HLOInstruction],
        number: int,
        tails: list[bytes],
        ids: dict[HLOInstruction, bytes],
        parts: list[Buffer],
        is_entry: bool,
    ) -> None:
        """As :meth:`encode`, for the instructions from `number` on, and their tails."""
        digits = len(str(number))
        location: Any = self  # of no instruction
        known: dict[Any, tuple[bytes, bytes]] = {}
        join, emit, identify = b"".join, parts.append, self._run.append
        unverified = HLOInstruction  # which may have been changed since it was made
        for inst, tail in zip(instructions, tails):
            operands = inst.operands
            if not operands:
                inputs = b""
            else:
                if len(operands) == 2:
                    packed = ids[operands[0]] + ids[operands[1]]
                elif len(operands) == 1:
                    packed = ids[operands[0]]
                else:
                    packed = join([ids[o] for o in operands])
                size = len(packed)
                head = _OPERAND_HEADS[size] if size < 128 else _OPERANDS + varint(size)
                inputs = head + packed
            if inst.source_location is not location:
                location = inst.source_location
                known = self._known.setdefault((location, digits), {})
            form = inst.form
            if form is not None and type(inst) is unverified:
                if not form.describes(inst):
                    form = None
            if form in known and not inst.name:
                lead, frame = known[form]
                identify(frame)
                identify(inputs)
            else:
                frame = self._frame(inst, form, is_entry)
                identify(frame)
                identify(inputs)
                if inst.opcode == "constant":
                    self._add_constant(inst, int(tail[:digits]), frame, parts)
                    continue
                if inst.name or self.names.may_clash:
                    name = self.names.of(inst, int(tail[:digits]))
                    lead = self._where(inst) + frame + _name_field(name)
                    tail = tail[digits:]
                else:
                    found = known.get(frame)
                    if found is None:
                        head = frame + _name_head(inst.opcode, digits)
                        found = known[frame] = self._where(inst) + head, frame
                    lead = found[0]
                    if form is not None:
                        known[form] = found
            size = len(lead) + len(tail) + len(inputs)
            key = _KEYS[size] if size < 2048 else _INST + varint(size)
            emit(join((key, lead, tail, inputs)))

    def _add_constant(
        self, inst: HLOInstruction, number: int, frame: bytes, parts: list[Buffer]
    ) -> None:
        """Append a constant, of which `_run` has the frame already."""
        array = inst.attributes["literal"]
        if (array.shape, array.dtype) != (inst.shape, inst.dtype):
            raise ValueError(f"{inst.shape_text()} of an array {array.shape}")
        head, *data = literal_parts(array)
        literal = _LITERAL + varint(len(head) + sum(map(len, data))) + head
        self._run.append(literal)
        if data:  # not copied
            self.hashed += (b"".join(self._run), *data)
            self._run.clear()
        name = _name_field(self.names.of(inst, number))
        whole = b"".join((self._where(inst), name, frame, _ID, varint(number), literal))
        parts += (_INST + varint(len(whole) + sum(map(len, data))), whole, *data)

    def encode_root(
        self,
        root: HLOInstruction,
        operands: list[bytes],
        output_names: str,
        parts: list[Buffer],
    ) -> None:
        """Append the root that the writer adds: operands' ids, names of the outputs."""
        core = _opcode_and_shape(root) + _ID + varint(self.next_id)
        core += delimited(_OPERANDS, b"".join(operands)) if operands else b""
        core += _frontend(NEFF_OUTPUT_NAMES, output_names)
        self.hashed.append(core)
        name = delimited(_NAME, self.names.root().encode())
        parts.append(delimited(_INST, name + core))
        self.next_id += 1

    def _frame(self, inst: HLOInstruction, form: Form | None, is_entry: bool) -> bytes:
        """Opcode, shape and attributes, but for the literal of a constant.

        `form` is the instruction's, if it is still of it.
        """
        opcode = inst.opcode
        if (
            opcode == "parameter"
            and inst.dtype is not None
            and len(inst.attributes) == 1
        ):
            number = inst.attributes["parameter_number"]
            name = inst.name if is_entry else None
            return _parameter_frame(inst.dtype, inst.shape, number, name)
        key: Any = form
        if form is None and inst.dtype is not None:
            key = _frame_key(inst)
        frame = self._frames.get(key) if key is not None else None
        if frame is not None:
            return frame
        if form is not None and form.encoded is not None:
            frame = form.encoded
        else:
            frame = _opcode_and_shape(inst)
            record = OPCODES[opcode]
            if inst.attributes or record.required:
                frame += encode(_INSTRUCTION, record.encode(inst.attributes))
            if form is not None:
                form.encoded = frame
        if OPCODES[opcode].callees:
            frame += self._called(inst)
        if key is not None:
            self._frames[key] = frame
        return frame

    def _called(self, inst: HLOInstruction) -> bytes:
        callees: list[HLOComputation] = []
        for name in OPCODES[inst.opcode].callees:
            value = inst.attributes[name]
            callees += value if isinstance(value, tuple) else (value,)
        packed = packed_ints([self.computation_ids[c] for c in callees])
        return delimited(_CALLED, packed)


def _where(inst: HLOInstruction) -> bytes:
    return metadata(inst.opcode, inst.source_location)


def _nowhere(inst: HLOInstruction) -> bytes:
    return b""


def _frame_key(inst: HLOInstruction) -> Any:
    """Equal for instructions without a form whose frames are; None if not known."""
    attributes = inst.attributes
    if not attributes:
        return inst.opcode, inst.dtype, inst.shape
    if inst.opcode == "constant":  # of which the frame has all but the literal
        return ("constant", inst.dtype, inst.shape) if len(attributes) == 1 else None
    return inst.opcode, inst.dtype, inst.shape, *attributes.items()


@lru_cache(maxsize=8192)
def _name_field(name: str) -> bytes:
    return delimited(_NAME, name.encode())


@lru_cache(maxsize=1024)
def _name_head(opcode: str, digits: int) -> bytes:
    """The field of a name that is made up, up to its number, which has `digits`."""
    prefix = f"{opcode}.".encode()
    return _NAME + varint(len(prefix) + digits) + prefix


@lru_cache(maxsize=8192)
def _parameter_frame(
    dtype: Any, shape: tuple[int, ...], number: int, name: str | None
) -> bytes:
    """The frame of a parameter that is an array.

    `name` is what an entry parameter is called, which it has to keep.
    """
    frame = _opcode_field("parameter")
    frame += delimited(_SHAPE_TAG, shape_bytes(dtype, shape))
    if number:
        frame += _NUMBER + varint(number)
    return frame if name is None else frame + _frontend(NEFF_INPUT_NAMES, name)


@lru_cache(maxsize=1024)
def _opcode_field(opcode: str) -> bytes:
    return delimited(_OPCODE, opcode.encode())


def _opcode_and_shape(inst: HLOInstruction) -> bytes:
    return _opcode_field(inst.opcode) + delimited(_SHAPE_TAG, any_shape_bytes(inst))


def any_shape_bytes(inst: HLOInstruction) -> bytes:
    """The message of a result's shape, be it an array or a tuple."""
    if inst.tuple_shapes is not None:
        return tuple_shape_bytes(inst.tuple_shapes)
    assert inst.dtype is not None
    return shape_bytes(inst.dtype, inst.shape)


# -- metadata --------------------------------------------------------------------------
_LINE = _METADATA.by_name["source_line"].tag


@lru_cache(maxsize=1024)
def _op_name(opcode: str) -> bytes:
    names = {"op_type": OP_TYPE, "op_name": OP_NAME_PREFIX + opcode}
    return encode(_METADATA, names)


@lru_cache(maxsize=1024)
def _file_field(filename: str) -> bytes:
    return encode(_METADATA, {"source_file": filename})


@lru_cache(maxsize=8192)
def metadata(opcode: str, location: SourceLocation | None) -> bytes:
    """The field that says which op of which line an instruction comes from."""
    if location is None:
        return b""
    payload = _op_name(opcode) + _file_field(location.filename)
    if location.line:
        payload += _LINE + varint(location.line)
    return delimited(_META, payload)


# -- frontend attributes ---------------------------------------------------------------
def _frontend(key: str, value: str) -> bytes:
    return encode(_INSTRUCTION, {"frontend_attributes": encode_strings([(key, value)])})
