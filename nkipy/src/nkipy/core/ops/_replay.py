"""Replays what an op emitted before, for operands of the same shapes and dtypes.

Most lowerings see nothing of their operands but shapes and dtypes. Such an op is
lowered once onto placeholders; what it emits there is its *recipe*, and later calls
with the same signature emit the same instructions again. A lowering that does look at
how an operand was made (whether it is a constant, say) gives itself away, since a
placeholder was not made, and is never replayed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, NoReturn

import numpy as np

from nkipy.core.backend import tracing
from nkipy.core.backend.hlo import HLOTraceContext
from nkipy.core.tensor import NO_KEYWORDS, NKIPyTensorRef, View, tensor_of
from nkipy.hlo.builder import Value, is_shared, stretching
from nkipy.hlo.ir import (
    CALLEE_ATTRIBUTES,
    Form,
    HLOInstruction,
    HLOModule,
    SourceLocation,
    instruction_of,
    shape_key,
)

Key = tuple[Any, ...]
#: Emits, or finds, a value from those before it.
Step = Callable[[HLOTraceContext, list[Value]], Value]

_VIEW = object()  # in a key, before the shape and dtype of a view
_INTS, _BOUNDS = frozenset((int,)), frozenset((int, type(None)))
_SCALARS = frozenset((float, bool, str, type(np._NoValue)))


# -- calls -----------------------------------------------------------------------------
#: What tells a call from others, its tensors in order, and their present values.
Call = tuple[Key, list[NKIPyTensorRef], list[Value]]


def described(
    ctx: HLOTraceContext, args: Iterable[Any], kwargs: dict[str, Any] = NO_KEYWORDS
) -> Call | None:
    """What a lowering may depend on, besides the op.

    Returns:
        The key is equal for calls that emit the same. None for a call that nothing
        short tells from others: one with arrays, tensors of another trace, or static
        arguments that are no Python scalars or sequences of them.
    """
    key: list[Any] = []
    tensors: list[NKIPyTensorRef] = []
    values: list[Value] = []
    if kwargs:
        key.append(tuple(kwargs))
        args = (*args, *kwargs.values())
    if _describe(ctx, args, key, tensors, values):
        return tuple(key), tensors, values
    return None


def _describe(
    ctx: HLOTraceContext,
    args: Iterable[Any],
    key: list[Any],
    tensors: list[NKIPyTensorRef],
    values: list[Value],
) -> bool:
    """Append what tells each of `args` from others. False if nothing short does.

    The commonest kinds are told apart by what is appended: a string for a tensor, an
    int, None, a tuple of ints. Of others, whose values may be equal to one of those or
    of each other, the type comes before.
    """
    for arg in args:
        kind = type(arg)
        if kind is NKIPyTensorRef:
            if arg._ctx is not ctx:
                return False
            value = arg._value
            if arg._base is not None:
                value = arg.backend_tensor
                key.append(_VIEW)
            form = value.form
            if form is not None:
                key.append(form.key)
            else:
                key.append(shape_key(value.shape, value.dtype))
            tensors.append(arg)
            values.append(value)
        elif kind is int or arg is None:
            key.append(arg)
        elif kind is tuple and _INTS.issuperset(map(type, arg)):
            key.append(arg)
        elif kind in _SCALARS:
            # 0.0 and -0.0 are equal, but not the same constant.
            key += (kind, arg if arg or kind is not float else str(arg))
        elif kind is tuple or kind is list:
            key += (kind, len(arg))
            if not _describe(ctx, arg, key, tensors, values):
                return False
        elif kind is slice:
            bounds = (arg.start, arg.stop, arg.step)
            if not _BOUNDS.issuperset(map(type, bounds)):
                return False
            key += (kind, bounds)
        elif arg is Ellipsis or isinstance(arg, (type, np.dtype)):
            key += (kind, arg)
        else:
            return False
    return True


def layouts(tensors: list[NKIPyTensorRef]) -> Key:
    """How those of the tensors that are views lie in memory."""
    return tuple([t._layout().strides for t in tensors if t._base is not None])


# -- placeholders ----------------------------------------------------------------------
class _LooksInside(Exception):
    """A lowering depends on more than its operands' shapes and dtypes."""


class LooksAtLayout(_LooksInside):
    """A lowering depends on how a view lies in memory."""


def _refuse(self: Any, *args: Any) -> NoReturn:
    raise _LooksInside


class _Placeholder(HLOInstruction):
    """A value of which shape and dtype are known, and nothing else."""

    __slots__ = ()
    opcode = property(_refuse)
    operands = property(_refuse)
    attributes = property(_refuse)
    source_location = property(_refuse)
    name = property(_refuse)

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.shape, self.dtype = shape, dtype
        self.tuple_shapes = self.form = None


def _hide_layout(array: Any) -> NoReturn:
    raise LooksAtLayout


def _placeholder(
    ctx: HLOTraceContext, tensor: NKIPyTensorRef, with_layout: bool
) -> NKIPyTensorRef:
    made = tensor_of(ctx, _Placeholder(tensor.shape, tensor.dtype))
    if tensor._base is not None:
        show: Callable[[Any], Any] = _hide_layout
        if with_layout:
            layout = tensor._layout()
            show = lambda array: layout  # noqa: E731
        made._base = tensor_of(ctx, made._value)  # unlike the real one
        made._view = View(_refuse, _refuse, show)
    return made


class _Substitution:
    """Arguments with placeholders for their tensors."""

    def __init__(self, ctx: HLOTraceContext, with_layout: bool) -> None:
        self.ctx = ctx
        self.with_layout = with_layout
        self.tensors: list[NKIPyTensorRef] = []

    def __call__(self, arg: Any) -> Any:
        if type(arg) is NKIPyTensorRef:
            self.tensors.append(_placeholder(self.ctx, arg, self.with_layout))
            return self.tensors[-1]
        if type(arg) in (tuple, list):
            return type(arg)(map(self, arg))
        return arg


# -- recipes ---------------------------------------------------------------------------
class _Result(NamedTuple):
    """One tensor that an op returns.

    Attributes:
        slot: its value's.
        base, view: the number of the operand that it is a view of, and which, or None.
    """

    slot: int
    base: int | None = None
    view: View | None = None


class Recipe:
    """What an op emits for operands of certain shapes and dtypes.

    Values are numbered: first the operands, then one for each step.

    Args:
        steps: each a form with the numbers of its operands, or None with a
            :data:`Step`.
        results: what the op returns.
        container: tuple or list, if it returns one of tensors.
    """

    __slots__ = ("steps", "results", "container", "form", "base", "view")

    def __init__(
        self,
        steps: list[tuple[Form | None, Any]],
        results: list[_Result],
        container: type | None,
    ) -> None:
        self.steps = steps
        self.results = results
        self.container = container
        #: The only step, if it takes the operands as they come and is the result.
        self.form = self._single_form()
        _, self.base, self.view = results[0]

    def _single_form(self) -> Form | None:
        if len(self.steps) != 1 or self.container is not None:
            return None
        ((form, source),) = self.steps
        if form is None or self.results[0].slot != len(source):
            return None
        return form if source == tuple(range(len(source))) else None

    @property
    def is_single(self) -> bool:
        """Whether the op returns one tensor, which is no view."""
        return self.container is None and self.results[0].base is None

    def value(self, ctx: HLOTraceContext, values: list[Value]) -> Value:
        """Emit for operands of these values, and return that of the first result."""
        if self.form is not None:
            location = ctx.current_source_location
            made = instruction_of(self.form, tuple(values), location)
            ctx.computation.instructions.append(made)
            return made
        self._emit(ctx, values)
        return values[self.results[0].slot]

    def replay(self, ctx: HLOTraceContext, call: Call) -> Any:
        """Emit for the operands of `call`, and return what the op returns."""
        _, tensors, values = call
        if self.container is None:
            made = tensor_of(ctx, self.value(ctx, values))
            if self.base is not None and self.view is not None:
                made._share(tensors[self.base], self.view)
            return made
        self._emit(ctx, values)
        results = [_wrapped(ctx, r, tensors, values[r.slot]) for r in self.results]
        return self.container(results)

    def _emit(self, ctx: HLOTraceContext, values: list[Value]) -> None:
        """Append the value of each step to `values`, which are the operands'."""
        location, append = ctx.current_source_location, ctx.append
        for form, source in self.steps:
            if form is None:
                values.append(source(ctx, values))
                continue
            if len(source) == 1:
                operands: tuple[Value, ...] = (values[source[0]],)
            elif len(source) == 2:
                operands = (values[source[0]], values[source[1]])
            else:
                operands = tuple([values[i] for i in source])
            made = instruction_of(form, operands, location)
            append(made)
            values.append(made)


def _wrapped(
    ctx: HLOTraceContext, result: _Result, tensors: list[NKIPyTensorRef], value: Value
) -> NKIPyTensorRef:
    made = tensor_of(ctx, value)
    if result.base is not None and result.view is not None:
        made._share(tensors[result.base], result.view)
    return made


class _Constant:
    """A step that finds or makes a constant."""

    __slots__ = ("literal",)

    def __init__(self, literal: np.ndarray) -> None:
        self.literal = literal

    def find(self, ctx: HLOTraceContext, values: list[Value]) -> Value:
        found = ctx.steps.get(self)
        if found is None:
            found = ctx.steps[self] = ctx.constant(self.literal)
        return found


class _Stretch:
    """A step that finds or makes a value broadcast to a shape."""

    __slots__ = ("slot", "shape", "forms")

    def __init__(self, slot: int, source: Value, shape: tuple[int, ...]) -> None:
        self.slot, self.shape = slot, shape
        self.forms = stretching(source.shape, source.dtype, shape)

    def find(self, ctx: HLOTraceContext, values: list[Value]) -> Value:
        value = values[self.slot]
        key = (id(value), self.shape)
        found = ctx.stretched.get(key)
        if found is None:
            for form in self.forms:
                value = ctx.place(form, (value,))
            found = ctx.stretched[key] = value
        return found


# -- learning --------------------------------------------------------------------------
def learn(
    lower: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    with_layout: bool = False,
) -> Recipe | None:
    """The recipe of a lowering for arguments that it accepts; None if it has none.

    Args:
        with_layout: the recipe is for views that lie in memory as these do.

    Raises:
        LooksAtLayout: there is a recipe only for that.
    """
    scratch = HLOTraceContext(HLOModule("recipe"))
    scratch.current_source_location = SourceLocation("", 0)  # nobody's
    substitute = _Substitution(scratch, with_layout)
    args = substitute(args)
    kwargs = {name: substitute(arg) for name, arg in kwargs.items()}
    try:
        with tracing(scratch):
            returned = lower(*args, **kwargs)
    except LooksAtLayout:
        raise
    except Exception:  # _LooksInside, or what comes of looking
        return None
    return _Learner(scratch, substitute.tensors).recipe(returned)


class _Learner:
    """Makes a recipe of what a scratch trace holds.

    Dead instructions stay: the first of several traces has them too, and a constant
    that an op made in vain may be found by a later one.
    """

    def __init__(self, scratch: HLOTraceContext, tensors: list[NKIPyTensorRef]) -> None:
        self.ctx = scratch
        self.tensors = tensors
        self.values = [t._value for t in tensors]
        instructions = scratch.computation.instructions
        by_id = {id(v): v for v in (*self.values, *instructions)}
        #: What was made by broadcasting: of what. It is found again, if it is there.
        self.stretched = {
            id(made): by_id[source] for (source, _), made in scratch.stretched.items()
        }
        self.slots = {id(v): i for i, v in enumerate(self.values)}
        self.steps: list[Any] = []
        inner = self._inside_stretches(scratch.stretched.values())
        self.instructions = [i for i in instructions if id(i) not in inner]

    def _inside_stretches(self, made: Iterable[HLOInstruction]) -> set[int]:
        """The ids of instructions that stand between a value and it broadcast."""
        inner = {id(i.operands[0]) for i in made}
        return inner - {id(v) for v in self.stretched.values()}

    def recipe(self, returned: Any) -> Recipe | None:
        container = type(returned) if type(returned) in (tuple, list) else None
        outputs = [returned] if container is None else list(returned)
        if not outputs or not all(map(self._is_ours, outputs)):
            return None
        pairs = zip(self.tensors, self.values)
        if any(t._version or t._value is not value for t, value in pairs):
            return None  # an operand was written
        for inst in self.instructions:
            step = self._step(inst)
            if step is None:
                return None
            self.slots[id(inst)] = len(self.values) + len(self.steps)
            self.steps.append(step)
        return Recipe(self.steps, list(map(self._result, outputs)), container)

    def _is_ours(self, output: Any) -> bool:
        """Whether `output` is a tensor made here, a view of nothing or an operand."""
        return (
            type(output) is NKIPyTensorRef
            and output._ctx is self.ctx
            and not output._version
            and output not in _Identity(self.tensors)
            and (output._base is None or output._base in _Identity(self.tensors))
        )

    def _step(self, inst: HLOInstruction) -> tuple[Form | None, Any] | None:
        if inst.tuple_shapes is not None:
            return None
        source = self.stretched.get(id(inst))
        if source is not None:
            return None, _Stretch(self.slots[id(source)], source, inst.shape).find
        if inst.opcode == "constant":
            return None, _Constant(inst.attributes["literal"]).find
        callees = [inst.attributes.get(name) for name in CALLEE_ATTRIBUTES]
        if any(c is not None and not is_shared(c) for c in callees):
            return None
        return Form.of(inst), tuple([self.slots[id(o)] for o in inst.operands])

    def _result(self, output: NKIPyTensorRef) -> _Result:
        slot = self.slots[id(output._value)]
        if output._base is None:
            return _Result(slot)
        return _Result(slot, _Identity(self.tensors).index(output._base), output._view)


class _Identity:
    """Tensors by who they are: ``==`` of tensors is element-wise."""

    def __init__(self, tensors: list[NKIPyTensorRef]) -> None:
        self.ids = list(map(id, tensors))

    def __contains__(self, tensor: Any) -> bool:
        return id(tensor) in self.ids

    def index(self, tensor: Any) -> int:
        return self.ids.index(id(tensor))
