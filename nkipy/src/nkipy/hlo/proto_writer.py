"""Writes a module as bytes of XLA's ``HloModuleProto``, and identifies its content.

What neuronx-cc and XLA expect of the message:

* callees come before their callers, the entry computation ``main`` last; instruction
  ids increase over the whole module, and names are unique in it;
* entry parameters keep their names and repeat them in the frontend attribute
  ``neff_input_names``;
* the entry's root, ``result``, is added here: a ``copy`` of a single result, else a
  ``tuple``, with the names of the outputs in ``neff_output_names``.

The content hash is taken over the same fields less the names and ids of instructions,
source locations, and the names of module and computations: either none of them changes
what is compiled, or they follow from the order.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

from nkipy.hlo.arguments import checked
from nkipy.hlo.errors import HLOVerificationError
from nkipy.hlo.ir import (
    HLOComputation,
    HLOInstruction,
    HLOModule,
    ModuleState,
    Shape,
)
from nkipy.hlo.names import Names
from nkipy.hlo.proto_instructions import InstructionEncoder, any_shape_bytes
from nkipy.hlo.proto_literals import Buffer
from nkipy.hlo.wire import delimited, encode, schema_of, varint

_MODULE = schema_of("HloModuleProto")
_COMPUTATION = schema_of("HloComputationProto")
_PROGRAM_SHAPE = schema_of("ProgramShapeProto")


#: Bytes of a constant that several threads hash, of a piece of it, and threads.
_LARGE, _PIECE, _MOST_THREADS = 1 << 22, 1 << 20, 8

_PARAMETER, _RESULT, _PARAMETER_NAME = (
    _PROGRAM_SHAPE.by_name[name].tag
    for name in ("parameters", "result", "parameter_names")
)


@checked
def serialize_module(module: HLOModule) -> bytes:
    """The module as bytes of ``HloModuleProto``.

    The module is expected to be valid (:func:`verifier.verify_module`).

    Raises:
        HLOVerificationError: an operand is not in the computation, or an attribute or a
            dtype is not what the opcode needs.
    """
    return _joined(serialized_parts(module))


def serialized_parts(module: HLOModule) -> list[Buffer]:
    """What :func:`serialize_module` joins: large constants are not copied."""
    encoded = _encoded(module)
    parts = encoded.parts or _Encoder(module).encode().parts
    encoded.parts = None  # a second call is rare; do not keep every module's bytes
    assert parts is not None
    return parts


@checked
def serialize_to_run(module: HLOModule) -> bytes:
    """The module as bytes that do not say where instructions come from.

    For a compiler that has no use for that: it costs time. Instructions have the names
    that :func:`serialize_module` gives them.

    Raises:
        HLOVerificationError: as of :func:`serialize_module`.
    """
    encoded = _Encoder(module, with_sources=False).encode()
    assert encoded.parts is not None
    return _joined(encoded.parts)


def _joined(parts: list[Buffer]) -> bytes:
    """The bytes of all parts."""
    if max(map(len, parts), default=0) < _LARGE:
        return b"".join(parts)
    from nkipy.hlo.joined_bytes import join  # loads ctypes

    return join(parts)


@checked
def hash_module(module: HLOModule, compiler_args: str = "") -> str:
    """12 hex digits that identify the program and how it is compiled.

    See :func:`digest_module` for what makes two programs the same.
    """
    from hashlib import sha256

    whole = digest_module(module) + compiler_args.encode()
    return sha256(whole).hexdigest()[:12]


@checked
def digest_module(module: HLOModule) -> bytes:
    """32 bytes that identify the program.

    Opcodes, shapes, attributes, constants, structure, the names of inputs and outputs,
    aliases, and the versions of custom calls enter it. Source locations, generated
    names and the module's own name do not: the same kernel elsewhere, or under another
    name, is the same artefact.

    Raises:
        EntryPointError: an installed package has the record of a custom call, which
            cannot be loaded.
    """
    encoded = _encoded(module)
    # In this order: another thread sets the digest first, then drops what it is of.
    hashed, digest = encoded.hashed, encoded.digest
    if digest is None:
        encoded.digest = digest = _digest(hashed)
        encoded.hashed = []
    if not any(map(_calls_out, encoded.computations)):
        return digest
    # Imported here: few programs have custom calls.
    from hashlib import sha256

    from nkipy.hlo.custom_calls import targets_of, versions

    text = versions(targets_of(encoded.computations))
    return sha256(digest + text.encode()).digest()


def _digest(parts: Iterable[Buffer]) -> bytes:
    from hashlib import sha256  # loads OpenSSL

    sha = sha256()
    for part in parts:
        large = len(part) >= _LARGE
        sha.update(b"".join(_digests_of_pieces(part)) if large else part)
    return sha.digest()


def _digests_of_pieces(part: Buffer) -> list[bytes]:
    """Of a large constant, piece by piece, by all cores.

    They stand in its place: its length, which comes before, says that they do.
    """
    from hashlib import sha256

    whole = memoryview(part)
    pieces = [whole[i : i + _PIECE] for i in range(0, len(whole), _PIECE)]
    digests = [b""] * len(pieces)
    count = min(os.cpu_count() or 1, _MOST_THREADS)

    def hash_some(first: int) -> None:
        for i in range(first, len(pieces), count):
            digests[i] = sha256(pieces[i]).digest()  # which lets go of the GIL

    threads = [threading.Thread(target=hash_some, args=(i,)) for i in range(1, count)]
    started = []
    with suppress(RuntimeError):  # no more threads, or the interpreter is at its end
        for thread in threads:
            thread.start()
            started.append(thread)
    hash_some(0)
    for thread in started:
        thread.join()
    return [made or sha256(piece).digest() for made, piece in zip(digests, pieces)]


def _calls_out(computation: HLOComputation) -> bool:
    return any(inst.opcode == "custom-call" for inst in computation.instructions)


class _Encoded:
    """A module's bytes (until handed out), and what identifies them."""

    def __init__(
        self,
        computations: list[HLOComputation],
        parts: list[Buffer],
        hashed: list[Buffer],
    ) -> None:
        self.computations = computations
        self.parts: list[Buffer] | None = parts
        self.hashed = hashed
        self.digest: bytes | None = None


#: Of modules that were verified in the state given, and have fixed literals.
_encoded_modules: WeakKeyDictionary[HLOModule, tuple[ModuleState, _Encoded]]
_encoded_modules = WeakKeyDictionary()


def _encoded(module: HLOModule) -> _Encoded:
    """What a module consists of now, encoded.

    It is kept for as long as it is certain to be that: where a change would not be
    noticed, the module is encoded each time.
    """
    state, encoded = _encoded_modules.get(module, (None, None))
    if encoded is not None and state is not None and state.writes_the_same(module):
        return encoded
    state, encoded = module.verified_state, _Encoder(module).encode()
    if state is not None and state.writes_the_same(module):
        _encoded_modules[module] = state, encoded
    return encoded


#: The same few shapes, and names, come in many modules.
_field = lru_cache(maxsize=8192)(delimited)


class _Encoder:
    """One pass over a module, producing its bytes and the bytes of its identity."""

    def __init__(self, module: HLOModule, with_sources: bool = True) -> None:
        self.module = module
        self.computations = module.computations()
        self.computation_ids: dict[HLOComputation, int] = {}
        self.names = Names(self.computations)
        self.hashed: list[Buffer] = []
        self.instructions = InstructionEncoder(
            *(self.names, self.computation_ids, self.hashed, with_sources)
        )

    def encode(self) -> _Encoded:
        module = self.module
        body: list[Buffer] = []
        for computation in self.computations:
            try:
                body += self._computation(computation)
            except HLOVerificationError as e:
                raise HLOVerificationError(
                    f"computation {computation.name!r} cannot be written: {e}"
                ) from None
            except (KeyError, AttributeError, TypeError, ValueError) as e:
                raise HLOVerificationError(
                    f"computation {computation.name!r} cannot be written, since it is "
                    f"not valid ({type(e).__name__}: {e}); verify() says where"
                ) from e
        signature = self.signature
        tail = encode(_MODULE, {"entry_computation_id": len(self.computations) - 1})
        tail += delimited(_MODULE.by_name["host_program_shape"].tag, signature)
        aliases = encode(_MODULE, self._aliases())
        self.hashed.append(aliases)
        names = {
            "name": module.name,
            "entry_computation_name": self.names.computation(module.entry),
        }
        parts = [encode(_MODULE, names), *body, tail, aliases]
        return _Encoded(self.computations, parts, self.hashed)

    def _computation(self, computation: HLOComputation) -> list[Buffer]:
        is_entry = computation is self.module.entry
        ids: dict[HLOInstruction, bytes] = {}
        parts: list[Buffer] = []
        instructions = self.instructions
        instructions.encode(computation, ids, parts, is_entry)
        if is_entry:
            self._add_root(ids, parts)
            root_id = instructions.next_id - 1
        else:
            root = computation.root
            if root is None:
                raise KeyError("no root")
            index = list(ids).index(root)
            root_id = instructions.next_id - len(ids) + index
            # Field 6 is not one of an instruction, hence no mistaking it.
            self.hashed.append(encode(_COMPUTATION, {"root_id": index + 1}))
        own_id = self.computation_ids[computation] = len(self.computation_ids)
        fields = {"id": own_id, "root_id": root_id}
        signature = self.signature = self._program_shape(computation)
        key = _COMPUTATION.by_name["program_shape"].tag
        parts.append(delimited(key, signature) + encode(_COMPUTATION, fields))
        name = encode(_COMPUTATION, {"name": self.names.computation(computation)})
        size = len(name) + sum(map(len, parts))
        key = _MODULE.by_name["computations"].tag
        return [key + varint(size) + name, *parts]

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
        output_names = ",".join(self.module.output_names)
        self.instructions.encode_root(
            root, [ids[r] for r in results], output_names, parts
        )

    def _program_shape(self, computation: HLOComputation) -> bytes:
        """The signature, with layouts.

        They are what XLA compares the shapes of aliased inputs and outputs by.
        """
        root = computation.root
        if computation is self.module.entry:
            root = self.root_shape
        assert root is not None
        names = [self.names.of(p, -1) for p in computation.parameters]
        shapes = [
            _field(_PARAMETER, any_shape_bytes(p)) for p in computation.parameters
        ]
        shapes.append(delimited(_RESULT, any_shape_bytes(root)))
        return b"".join(shapes + [_field(_PARAMETER_NAME, n.encode()) for n in names])

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
