"""Modules that come back: what this process has verified is not verified again.

A module goes from the tracer to a compiler and from there to an engine as a file, and
what comes from a file is verified. Often all three are this process. So it notes the
digests of the bytes that it has itself written of a verified module, or read and
verified. Bytes with such a digest are the same bytes: they need no second look, and
while the module is there, they need not be read either.
"""

from __future__ import annotations

import hashlib
import threading
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from nkipy.hlo.ir import HLOComputation, HLOInstruction, HLOModule, ModuleState
from nkipy.hlo.names import Names
from nkipy.hlo.proto_literals import Buffer
from nkipy.hlo.proto_writer import serialized_parts

#: How many digests are noted; the oldest go first.
MAX_NOTED = 64
#: Of more bytes, mostly constants, hashing takes longer than reading and verifying.
MAX_BYTES = 16 << 20

_Noted = tuple["weakref.ref[HLOModule]", ModuleState | None]
_noted: OrderedDict[bytes, _Noted] = OrderedDict()
_lock = threading.Lock()


def write_module(module: HLOModule) -> bytes:
    """The module as bytes of XLA's ``HloModuleProto``, verified unless it is already.

    Raises:
        HLOVerificationError: it breaks HLO's rules.
    """
    return b"".join(written_parts(module))


def written_parts(module: HLOModule) -> list[Buffer]:
    """What :func:`write_module` joins: large constants are not copied.

    Nobody may write into them until these have been used.
    """
    module.ensure_verified()
    parts = serialized_parts(module)
    _note(parts, module)
    return parts


def read_written(raw: bytes, *, to_look_at: bool = False) -> HLOModule:
    """The verified module of bytes from a file, which may be anybody's.

    Verified they are unless this process has written or read just these bytes before.

    Args:
        raw: the bytes.
        to_look_at: the very module that was written will do, if it is still there:
            its instructions need not have names, and nobody may change it.

    Raises:
        HLOProtoError: they are malformed, or describe what we do not know.
        HLOVerificationError: they are well-formed but break an opcode's rules.
    """
    with _lock:
        noted = _noted.get(_digest(raw)) if len(raw) <= MAX_BYTES else None
    if noted is not None:
        reference, state = noted
        known = reference()
        if known is not None and state is not None and state.writes_the_same(known):
            return known if to_look_at else _named_copy(known)
    # Imported here: what comes back is mostly there.
    from nkipy.hlo.proto_reader import read_module

    module = read_module(raw, verify=noted is None)
    _note([raw], module)
    return module


def _note(parts: Sequence[Buffer], module: HLOModule) -> None:
    if sum(map(len, parts)) > MAX_BYTES:
        return
    digest = _digest(*parts)
    with _lock:
        _noted[digest] = weakref.ref(module), module.verified_state
        _noted.move_to_end(digest)
        while len(_noted) > MAX_NOTED:
            _noted.popitem(last=False)


def _digest(*parts: Buffer) -> bytes:
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part)
    return sha.digest()


def _named_copy(module: HLOModule) -> HLOModule:
    """What reading `module` gives once it is written: all instructions have names.

    It shares nothing with `module` that can be changed: attributes of what has been
    verified cannot.
    """
    computations = module.computations()
    copy = _Copy(Names(computations))
    for computation in computations:
        copy.add(computation, is_entry=computation is module.entry)
    made = HLOModule(module.name)
    made.entry = copy.computations[module.entry]
    made.set_results(
        [copy.instructions[r] for r in module.results], module.output_names
    )
    made.aliases = list(module.aliases)
    made.set_verified([copy.computations[c] for c in computations])
    return made


class _Copy:
    """Instructions and computations, by those that they are copies of."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.instructions: dict[HLOInstruction, HLOInstruction] = {}
        self.computations: dict[HLOComputation, HLOComputation] = {}

    def add(self, computation: HLOComputation, *, is_entry: bool) -> None:
        made = HLOComputation(self.names.computation(computation))
        known = self.instructions
        for number, inst in enumerate(computation.instructions, len(known)):
            # Entry parameters are called what the user calls them.
            is_free = is_entry and inst.opcode == "parameter"
            name = inst.name if is_free else self.names.of(inst, number)
            known[inst] = self._instruction(inst, name)
        made.instructions = [known[i] for i in computation.instructions]
        made.parameters = [known[p] for p in computation.parameters]
        made.root = None if computation.root is None else known[computation.root]
        self.computations[computation] = made

    def _instruction(self, inst: HLOInstruction, name: str) -> HLOInstruction:
        attributes = inst.attributes
        changed = {k: self._called(v) for k, v in attributes.items() if _is_called(v)}
        return HLOInstruction(
            inst.opcode,
            tuple([self.instructions[o] for o in inst.operands]),
            inst.shape,
            inst.dtype,
            {**attributes, **changed} if changed else attributes,
            inst.source_location,
            inst.tuple_shapes,
            name,
            None if changed else inst.form,
        )

    def _called(self, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(self.computations[c] for c in value)
        return self.computations[value]


def _is_called(value: Any) -> bool:
    if isinstance(value, tuple):
        return bool(value) and isinstance(value[0], HLOComputation)
    return isinstance(value, HLOComputation)
