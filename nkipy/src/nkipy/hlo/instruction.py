"""Instructions and computations.

An *instruction* is an opcode with operands, attributes and a result shape; a
*computation* is a list of instructions in dependence order with a root.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from math import prod
from operator import index
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from nkipy.hlo.arguments import describe, expect
from nkipy.hlo.dtypes import HLO_NAMES, as_dtype
from nkipy.hlo.errors import HLOArgumentError
from nkipy.hlo.notebook import place

NO_ATTRIBUTES: Mapping[str, Any] = MappingProxyType({})
_new = object.__new__


class Shape(NamedTuple):
    """An array shape: element type and dimensions."""

    dtype: np.dtype
    dims: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """The size of such an array, in bytes."""
        return prod(self.dims) * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{HLO_NAMES[self.dtype]}[{','.join(map(str, self.dims))}]"


class SourceLocation(NamedTuple):
    """The line of the user's program that an instruction comes from."""

    filename: str
    line: int

    def __str__(self) -> str:
        return place(self.filename, self.line)


#: By opcode, what finds an attribute by the name that clients have for it. The records
#: of opcodes, which are made of instructions, put it here.
SHOWN_ATTRIBUTES: dict[str, Callable[[Mapping[str, Any], str], Any]] = {}


class Attributes(dict):
    """An instruction's attributes.

    They are also found under the names that nkipy's clients have for them (see
    :class:`nkipy.hlo.opcodes.attribute.PublicName`), which are not among the keys.
    """

    __slots__ = ("opcode",)

    def __init__(self, opcode: str, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.opcode = opcode

    def __missing__(self, name: str) -> Any:
        shown = SHOWN_ATTRIBUTES.get(self.opcode)
        if shown is None:
            raise KeyError(name)
        return shown(self, name)

    def __contains__(self, name: object) -> bool:
        return self.get(name, self) is not self

    def get(self, name: Any, default: Any = None) -> Any:
        """The attribute, or `default` if there is none."""
        try:
            return self[name]
        except KeyError:
            return default


class Form:
    """What equal instructions share: all but who they are and where they come from.

    Making an instruction of a form that has been used before (:meth:`HLOBuilder.place`)
    spares the work that depends on nothing else: the verifier applies an opcode's rule
    to a form once, and the writer encodes it once.

    Opcode, shape, dtype and attributes are those of the instructions, whose result is
    an array. The attributes cannot be changed.

    Attributes:
        operands: shape and dtype of each operand.
        callees: the computations among the attributes.
        is_verified: whether the verifier has found an instruction of this form valid.
        encoded: the writer's bytes of it, or None.
    """

    __slots__ = (
        "opcode",
        "operands",
        "shape",
        "dtype",
        "attributes",
        "callees",
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
            self.attributes = MappingProxyType(Attributes(opcode, attributes))
        self.callees = callees_of(attributes)
        self.is_verified = False
        self.encoded: bytes | None = None

    def describes(self, inst: HLOInstruction) -> bool:
        """As :meth:`fits`, but operands are not looked at."""
        return (
            inst.shape is self.shape
            and inst.dtype is self.dtype
            and inst.opcode is self.opcode
            and inst.attributes is self.attributes
            and inst.tuple_shapes is None
        )

    def fits(self, inst: HLOInstruction) -> bool:
        """Whether `inst`, which was made of this form, is still of it."""
        if not self.describes(inst) or len(inst.operands) != len(self.operands):
            return False
        for operand, (shape, dtype) in zip(inst.operands, self.operands):
            if operand.dtype is not dtype or operand.shape != shape:
                return False
        return True


class HLOInstruction:
    """One HLO instruction, which is also the value that it computes.

    Identity is equality. An instruction is not changed once it is in use: build another
    one. A field that is set in place all the same is noticed (see :func:`keep`), and
    what is set before the module is verified is verified. Verifying makes the
    attributes a copy that cannot be changed. ``shape`` and ``dtype`` describe an array
    result. A tuple result (sort of several operands, a
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
    def id(self) -> int:
        """A number that no other instruction has while this one is alive."""
        return id(self)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """The size of the result in bytes, of all elements if it is a tuple."""
        if self.tuple_shapes is not None:
            return sum(shape.nbytes for shape in self.tuple_shapes)
        return Shape(self.dtype, self.shape).nbytes

    def __repr__(self) -> str:
        label = f" {self.name}" if self.name else ""
        return f"<HLO {self.opcode}{label} {self.shape_text()}>"

    def shape_text(self) -> str:
        """The result shape in HLO's notation, ``f32[2,3]`` or ``(f32[2], s32[2])``."""
        if self.tuple_shapes is not None:
            return f"({', '.join(map(str, self.tuple_shapes))})"
        assert self.dtype is not None
        return str(Shape(self.dtype, self.shape))


class _Kept(HLOInstruction):
    """An instruction that has not changed since its module was verified."""

    __slots__ = ()

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, "__class__", _Changed)
        self.form = None  # it need not be of it any more
        setattr(self, name, value)


class _Changed(HLOInstruction):
    """One that has. It stays one: each module that has it is verified each time."""

    __slots__ = ()


class _Fixed(HLOInstruction):
    """One of a computation that does not change: see :meth:`HLOComputation.fix`."""

    __slots__ = ()

    def __setattr__(self, name: str, value: Any) -> None:
        raise TypeError(
            f"{name} of {self!r} cannot be set: modules share its computation"
        )


def keep(instructions: Sequence[HLOInstruction]) -> None:
    """For who has verified instructions: have them tell when they change.

    Those that have a form are of it. What can be changed without setting a field is
    replaced: attributes by a copy that is read-only, the array of a constant by a view
    of its own, which no one else can give another shape. Its elements may still be
    another's, and change. Several threads may keep the same instructions.
    """
    put = object.__setattr__  # another thread's success is no change
    for inst in instructions:
        if type(inst) is HLOInstruction:
            if inst.form is None and inst.attributes is not NO_ATTRIBUTES:
                put(inst, "attributes", _own(inst.opcode, inst.attributes))
            if type(inst.operands) is not tuple:
                put(inst, "operands", tuple(inst.operands))
            put(inst, "__class__", _Kept)


def are_kept(instructions: Sequence[HLOInstruction]) -> bool:
    """Whether none has changed since :func:`keep`."""
    return _ONLY_KEPT.issuperset(map(type, instructions))


def have_fixed_literals(instructions: Sequence[HLOInstruction]) -> bool:
    """Whether nobody can write into the arrays of the constants among these."""
    constants = [i for i in instructions if i.opcode == "constant"]
    return all(has_fixed_memory(i.attributes["literal"]) for i in constants)


def has_fixed_memory(array: Any) -> bool:
    """Whether nobody can write to an array's elements: Python's bytes, or a copy."""
    # That an array is read-only is not enough: its owner can make it writeable.
    while isinstance(array, np.ndarray):
        array = array.base
    return type(array) in (bytes, _FixedMemory)


class _FixedMemory:
    """A copy of an array, which has no reference to it that could make it writeable.

    It is in memory of NumPy's, which the system gives large pages: to write to that for
    the first time takes a quarter of what it takes with Python's bytes.
    """

    def __init__(self, array: np.ndarray) -> None:
        owner = array.copy().reshape(-1).view(np.uint8)
        address, _ = owner.__array_interface__["data"]
        self._owner = owner
        self.__array_interface__ = owner.__array_interface__ | {"data": (address, True)}


def fixed_copy(array: np.ndarray) -> np.ndarray:
    """A C-contiguous copy that nobody can ever write to."""
    if array.nbytes < _LARGE_PAGES:
        return np.ndarray(array.shape, array.dtype, array.tobytes())
    flat = np.asarray(_FixedMemory(array))
    return flat.view(array.dtype).reshape(array.shape)


#: Bytes from which on NumPy asks for large pages.
_LARGE_PAGES = 4 << 20


_ONLY_KEPT = frozenset({_Kept, _Fixed})


def _own(opcode: str, attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    own = Attributes(opcode, attributes)
    if opcode == "constant":
        own["literal"] = literal = own["literal"].view()
        literal.flags.writeable = False
    return MappingProxyType(own)


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
    """A named list of instructions in dependence order, with a root.

    Attributes:
        is_fixed: whether it cannot be changed; see :meth:`fix`.
    """

    __slots__ = ("name", "instructions", "parameters", "root", "is_fixed")
    is_fixed: bool

    def __init__(self, name: str) -> None:
        if type(name) is not str:
            expect(name, str, "HLOComputation", "name")
        object.__setattr__(self, "is_fixed", False)
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
        """Append the next parameter.

        Raises:
            HLOArgumentError: HLO has no such dtype, or a dimension is no int.
            TypeError: the computation is fixed.
        """
        self.refuse_if_fixed()
        number = len(self.parameters)
        dims = _dims(shape)
        if type(name) is not str:
            expect(name, str, "add_parameter", "name")
        if tuple_shapes is None:
            form = _parameter_form(number, dims, _element_type(dtype))
            inst = instruction_of(form, ())
        else:
            attributes = {"parameter_number": number}
            inst = HLOInstruction("parameter", (), dims, None, attributes)
            inst.tuple_shapes = tuple_shapes
        inst.name = name or f"p{number}"
        self.parameters.append(inst)
        self.instructions.append(inst)
        return inst

    def fix(self) -> HLOComputation:
        """Let nobody change it any more, so that modules can share it. Returns it.

        Instructions and parameters are tuples then; setting a field of it, or of one of
        its instructions, raises TypeError. Only for those whose instructions have no
        arrays and call nothing.
        """
        put = object.__setattr__
        for inst in self.instructions:
            put(inst, "__class__", _Fixed)
        put(self, "instructions", tuple(self.instructions))
        put(self, "parameters", tuple(self.parameters))
        put(self, "is_fixed", True)
        return self

    def refuse_if_fixed(self) -> None:
        """For who is about to change it. Raises TypeError."""
        if self.is_fixed:
            raise TypeError(
                f"computation {self.name!r} cannot be changed: modules share it; make "
                "another one"
            )

    def __setattr__(self, name: str, value: Any) -> None:
        self.refuse_if_fixed()
        object.__setattr__(self, name, value)

    def walk(self) -> Iterator[HLOInstruction]:
        """All instructions, those of called computations first, each once."""
        for computation in (*self.called(), self):
            yield from computation.instructions

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


def _dims(shape: Sequence[int]) -> tuple[int, ...]:
    try:
        if not isinstance(shape, (str, bytes)):
            return tuple(map(index, shape))
    except TypeError:
        pass
    expect(shape, Sequence[int], "add_parameter", "shape")
    raise HLOArgumentError(f"add_parameter() cannot take {shape!r} for 'shape'")


def _element_type(dtype: Any) -> np.dtype:
    try:
        made = as_dtype(dtype) if dtype is not None else None
    except (TypeError, ValueError):
        made = None
    if made not in HLO_NAMES:
        raise HLOArgumentError(
            "add_parameter() takes one of HLO's element types for 'dtype' "
            f"({', '.join(d.name for d in HLO_NAMES)}), but received {describe(dtype)}"
        )
    return made


@lru_cache(maxsize=8192)
def _parameter_form(number: int, shape: tuple[int, ...], dtype: np.dtype) -> Form:
    return Form("parameter", (), shape, dtype, {"parameter_number": number})


def callees(inst: HLOInstruction) -> tuple[HLOComputation, ...]:
    """The computations that an instruction calls, as :func:`callees_of` has them.

    An instruction's form, if it has one, knows them.
    """
    attributes, form = inst.attributes, inst.form
    if attributes is NO_ATTRIBUTES:
        return ()
    if form is not None and form.attributes is attributes:
        return form.callees
    return callees_of(attributes)


def callees_of(attributes: Mapping[str, Any]) -> tuple[HLOComputation, ...]:
    """The computations among attributes, by name: those that an instruction calls."""
    for value in attributes.values():
        if _is_callee(value):
            break
    else:  # of most
        return ()
    names = [name for name, value in attributes.items() if _is_callee(value)]
    found: list[HLOComputation] = []
    for name in sorted(names):  # the order in which they were given means nothing
        value = attributes[name]
        found += (value,) if type(value) is HLOComputation else value
    return tuple([c for c in found if type(c) is HLOComputation])


def _is_callee(value: Any) -> bool:
    """Whether an attribute's value is a computation, or a tuple of some."""
    kind = type(value)
    if kind is tuple:
        return bool(value) and type(value[0]) is HLOComputation
    return kind is HLOComputation


def with_callees(
    attributes: Mapping[str, Any], copies: Mapping[HLOComputation, HLOComputation]
) -> Mapping[str, Any]:
    """The attributes with the copy of each computation in its place."""
    changed = dict(attributes)
    for name, value in attributes.items():
        if type(value) is HLOComputation:
            changed[name] = copies[value]
        elif _is_callee(value):
            changed[name] = tuple([copies[c] for c in value])
    return MappingProxyType(changed)


def _callees(computation: HLOComputation) -> Iterator[HLOComputation]:
    # Most instructions have no attributes, or are of a form that calls nothing.
    calling = [
        inst
        for inst in computation.instructions
        if inst.attributes is not NO_ATTRIBUTES
        and (inst.form is None or inst.form.callees)
    ]
    for inst in calling:
        yield from callees(inst)
