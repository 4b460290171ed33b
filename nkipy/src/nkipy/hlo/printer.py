"""Prints a module in HLO's text form, as XLA's parser reads it."""

from __future__ import annotations

from collections.abc import Iterator

import ml_dtypes
import numpy as np

from nkipy.hlo.arguments import checked
from nkipy.hlo.dtypes import bool_, is_integer
from nkipy.hlo.interface import (
    NEFF_INPUT_NAMES,
    NEFF_OUTPUT_NAMES,
    OP_NAME_PREFIX,
    OP_TYPE,
)
from nkipy.hlo.ir import (
    HLOComputation,
    HLOInstruction,
    HLOModule,
    Shape,
)
from nkipy.hlo.names import Names, identifier
from nkipy.hlo.opcodes import OPCODES
from nkipy.hlo.opcodes.text import braces, quoted, string_map

#: Constants of more elements are printed as ``constant({...})`` unless asked otherwise.
#: XLA's parser accepts that, but takes it for zeros.
MAX_LITERAL = 256


@checked
def print_module(
    module: HLOModule, *, metadata: bool = False, max_literal: int | None = MAX_LITERAL
) -> str:
    """The module in HLO's text form.

    Args:
        metadata: whether to print the source line of each instruction.
        max_literal: constants of more elements are elided; None prints all in full,
            which is what it takes to get the same program back from the text.
    """
    return "\n".join(_Printer(module, metadata, max_literal).lines()) + "\n"


class _Printer:
    def __init__(
        self, module: HLOModule, metadata: bool, max_literal: int | None
    ) -> None:
        self.module = module
        self.metadata = metadata
        self.max_literal = max_literal
        self.names = Names(module.computations())
        self.next_number = 0
        self.texts: dict[HLOInstruction, str] = {}

    def lines(self) -> Iterator[str]:
        module = self.module
        name = identifier(module.name)
        yield f"HloModule {_module_name(name)}{_alias_text(module)}"
        for computation in module.computations():
            body = [self._line(i, computation) for i in computation.instructions]
            root = computation.root
            if computation is module.entry:
                root = self._root()
                body.append(self._line(root, computation, root))
            yield ""
            yield self._header(computation, root)
            yield from body
            yield "}"

    def _header(self, computation: HLOComputation, root: HLOInstruction | None) -> str:
        parameters = ", ".join(
            f"{self.texts[p]}: {p.shape_text()}" for p in computation.parameters
        )
        entry = "ENTRY " if computation is self.module.entry else ""
        result = root.shape_text() if root is not None else "()"
        name = self.names.computation(computation)
        return f"{entry}%{name} ({parameters}) -> {result} {{"

    def _root(self) -> HLOInstruction:
        results = self.module.results
        if len(results) == 1:
            return HLOInstruction(
                "copy", (results[0],), results[0].shape, results[0].dtype
            )
        shapes = tuple(Shape(r.dtype, r.shape) for r in results)
        return HLOInstruction("tuple", tuple(results), (), None, tuple_shapes=shapes)

    def _line(
        self,
        inst: HLOInstruction,
        computation: HLOComputation,
        root: HLOInstruction | None = None,
    ) -> str:
        is_added = inst is root
        names = self.names
        name = names.root() if is_added else names.of(inst, self.next_number)
        self.texts[inst] = name
        self.next_number += 1
        is_root = is_added or (
            inst is computation.root and computation is not self.module.entry
        )
        extras = [*self._attributes(inst), *self._frontend(inst, computation, root)]
        if self.metadata and inst.source_location is not None:
            extras.append(_metadata_text(inst))
        return (
            f"  {'ROOT ' if is_root else ''}%{name} = {_shape_text(inst)} "
            f"{inst.opcode}({self._arguments(inst)}){''.join(f', {e}' for e in extras)}"
        )

    def _arguments(self, inst: HLOInstruction) -> str:
        if inst.opcode == "parameter":
            return str(inst.attributes["parameter_number"])
        if inst.opcode == "constant":
            return self._literal(inst.attributes["literal"])
        return ", ".join(f"%{self.texts[o]}" for o in inst.operands)

    def _literal(self, literal: np.ndarray) -> str:
        if self.max_literal is not None and literal.size > self.max_literal:
            return "{...}"
        return literal_text(literal)

    def _attributes(self, inst: HLOInstruction) -> Iterator[str]:
        record = OPCODES.get(inst.opcode)
        known: set[str] = set()
        if record is not None:
            yield from record.texts(inst, self.names.computation)
            known = set(record.attributes)
        for name, value in inst.attributes.items():
            if name not in known:  # not valid, but not to be hidden either
                yield f"{name}={value!r}"

    def _frontend(
        self,
        inst: HLOInstruction,
        computation: HLOComputation,
        root: HLOInstruction | None,
    ) -> Iterator[str]:
        pairs: tuple[tuple[str, str], ...] = ()
        if inst is root:
            pairs = ((NEFF_OUTPUT_NAMES, ",".join(self.module.output_names)),)
        elif inst.opcode == "parameter" and computation is self.module.entry:
            pairs = ((NEFF_INPUT_NAMES, inst.name),)
        if pairs:
            yield f"frontend_attributes={string_map(pairs)}"


#: Words of the text form, which it does not take for a module's name.
_RESERVED = frozenset(
    "HloModule ENTRY ROOT true false inf nan maximal replicated manual unknown "
    "last_tile_dims shard_as shard_like".split()
)


def _module_name(name: str) -> str:
    return f"{name}_" if name in _RESERVED else name


def _alias_text(module: HLOModule) -> str:
    if not module.aliases:
        return ""
    single = len(module.results) == 1
    entries = ", ".join(
        f"{{{'' if single else a.output_index}}}: ({a.param_index}, {{}}, must-alias)"
        for a in module.aliases
    )
    return f", input_output_alias={{ {entries} }}"


def _shape_text(inst: HLOInstruction) -> str:
    """The result's shape with its layout, always row-major."""
    if inst.tuple_shapes is not None:
        return f"({', '.join(map(_array_text, inst.tuple_shapes))})"
    assert inst.dtype is not None
    return _array_text(Shape(inst.dtype, inst.shape))


def _array_text(shape: Shape) -> str:
    if not shape.dims:
        return str(shape)
    return f"{shape}{braces(range(len(shape.dims))[::-1])}"


def _metadata_text(inst: HLOInstruction) -> str:
    location = inst.source_location
    assert location is not None
    return (
        f'metadata={{op_type="{OP_TYPE}" op_name="{OP_NAME_PREFIX}{inst.opcode}" '
        f"source_file={quoted(location.filename)} source_line={location.line}}}"
    )


def literal_text(literal: np.ndarray) -> str:
    """The elements in nested braces."""
    if literal.ndim == 0:
        return _element_text(literal)
    return "{" + ", ".join(literal_text(np.asarray(row)) for row in literal) + "}"


def _element_text(element: np.ndarray) -> str:
    if element.dtype == bool_:
        return "true" if element else "false"
    if is_integer(element.dtype):
        return str(int(element))
    with np.errstate(invalid="ignore"):  # a NaN of the signalling kind
        is_nan = bool(np.isnan(element))
    if is_nan:
        return _nan_text(element)
    if element.dtype == np.float32:
        return str(element[()])  # the shortest text that reads back as the same
    return repr(float(element))


def _bits_of(element: np.ndarray) -> int:
    return int(element.view(f"u{element.dtype.itemsize}"))


def _nan_text(element: np.ndarray) -> str:
    """``nan`` with its sign, and with its other bits where they are not the usual."""
    bits, usual = _bits_of(element), _bits_of(np.full_like(element, np.nan))
    sign_bit = 1 << (element.dtype.itemsize * 8 - 1)
    sign = "-" if bits & sign_bit else ""
    if (bits ^ usual) & (sign_bit - 1) == 0:
        return f"{sign}nan"
    payload = bits & ((1 << ml_dtypes.finfo(element.dtype).nmant) - 1)
    return f"{sign}nan({payload:#x})"
