"""np.einsum: sums of products named by subscripts."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Any, NamedTuple

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import HLOTraceContext, get_hlo_context
from nkipy.core.ops._cases import A, X, call, cases
from nkipy.core.ops._contract import (
    Label,
    Labelled,
    accumulator,
    arrange,
    contract,
    rounded,
    single_precision,
    sum_out,
)
from nkipy.core.ops._registry import Op, supports
from nkipy.core.ops._samples import ErrorSample
from nkipy.core.ops._ufunc import require_layout
from nkipy.core.promotion import can_cast, result_type
from nkipy.core.tensor import NKIPyTensorRef, View, as_tensor, store_out
from nkipy.hlo.builder import HLOBuilder, Value

Tensor = NKIPyTensorRef
ELLIPSIS = "..."


class Subscripts(NamedTuple):
    """Labels of each operand's dimensions, and of the result's.

    A letter, or for what an ellipsis stands for, a number counted from the right.
    """

    inputs: list[tuple[Label, ...]]
    output: tuple[Label, ...]


# -- subscripts ------------------------------------------------------------------------
def parse(subscripts: str, ranks: Sequence[int]) -> Subscripts:
    """Read ``"ij,jk->ik"`` for operands of these ranks.

    Raises:
        ValueError: it is malformed, or does not fit the ranks.
    """
    left, arrow, right = subscripts.replace(" ", "").partition("->")
    terms = [_letters(term, f"operand {i}") for i, term in enumerate(left.split(","))]
    output = _letters(right, "the output") if arrow else None
    return resolve(terms, output, ranks)


def _letters(term: str, what: str) -> list[str]:
    head, dots, tail = term.partition(ELLIPSIS)
    for letter in head + tail:
        if not (letter.isascii() and letter.isalpha()):
            raise ValueError(
                f"invalid subscript {letter!r} of {what} in the einsum subscripts: "
                "letters, and one '...', are valid"
            )
    return [*head, *([ELLIPSIS] if dots else []), *tail]


def resolve(
    terms: Sequence[Sequence[Label]],
    output: Sequence[Label] | None,
    ranks: Sequence[int],
) -> Subscripts:
    """Subscripts with every ellipsis spelt out and the output made explicit.

    Raises:
        ValueError: terms and ranks do not fit each other.
    """
    if len(terms) != len(ranks):
        raise ValueError(
            f"{len(ranks)} operands, but the einsum subscripts are for {len(terms)}"
        )
    inputs = [_spell(t, r, i) for i, (t, r) in enumerate(zip(terms, ranks))]
    widest = max((sum(type(k) is int for k in t) for t in inputs), default=0)
    dots = tuple(range(widest - 1, -1, -1))
    letters = [k for term in inputs for k in term if type(k) is not int]
    if output is None:
        once = sorted({k for k in letters if letters.count(k) == 1}, key=str)
        return Subscripts(inputs, (*dots, *once))
    spelt: list[Label] = []
    for label in output:
        spelt.extend(dots if label == ELLIPSIS else (label,))
    _check_output(spelt, letters, widest, ELLIPSIS in output)
    return Subscripts(inputs, tuple(spelt))


def _spell(term: Sequence[Label], rank: int, operand: int) -> tuple[Label, ...]:
    named = [k for k in term if k != ELLIPSIS]
    rest = rank - len(named)
    if rest < 0:
        raise ValueError(
            f"einsum subscripts contain too many subscripts for operand {operand}, "
            f"which has {rank} dimensions"
        )
    if rest and ELLIPSIS not in term:
        raise ValueError(
            f"operand {operand} has {rank} dimensions, more than its einsum subscripts "
            "name, and they have no '...'"
        )
    spelt: list[Label] = []
    for label in term:
        spelt.extend(range(rest - 1, -1, -1) if label == ELLIPSIS else (label,))
    return tuple(spelt)


def _check_output(
    spelt: list[Label], letters: list[Label], widest: int, has_dots: bool
) -> None:
    for label in spelt:
        if spelt.count(label) > 1:
            raise ValueError(f"the einsum output has subscript {label!r} twice")
        if type(label) is not int and label not in letters:
            raise ValueError(
                f"the einsum output has subscript {label!r}, which no operand has"
            )
    if widest and not has_dots:
        raise ValueError(
            "an ellipsis has dimensions, but the einsum output has no '...'"
        )


class Numbered(NamedTuple):
    """A label given as a number, in ``einsum(a, [0, 1], b, [1, 2])``."""

    number: int

    def __str__(self) -> str:  # numbers order as NumPy's letters for them do
        return f"{self.number:09d}"


def _interleaved(args: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any] | None]:
    """Operands, their labels and the output's, from the form without a string."""
    operands, lists = list(args[:-1:2]), list(args[1::2])
    output = _numbered(args[-1]) if len(args) % 2 else None
    return operands, [_numbered(entry) for entry in lists], output


def _numbered(entry: Any) -> list[Label]:
    return [ELLIPSIS if k is Ellipsis else Numbered(index(k)) for k in entry]


# -- lowering --------------------------------------------------------------------------
def _check_sizes(subscripts: Subscripts, operands: Sequence[Tensor]) -> None:
    sizes: dict[Label, int] = {}
    for i, (labels, x) in enumerate(zip(subscripts.inputs, operands)):
        for label in labels:
            own = {n for k, n in zip(labels, x.shape) if k == label}
            if len(own) > 1:
                raise ValueError(
                    f"dimensions of operand {i} for subscript {str(label)!r} don't "
                    f"match: {' != '.join(map(str, sorted(own)))}"
                )
        for label, size in zip(labels, x.shape):
            known = sizes.setdefault(label, size)
            if size != known and 1 not in (size, known):
                raise ValueError(
                    f"einsum subscript {str(label)!r} has size {size} in operand {i}, "
                    f"of shape {x.shape}, but {known} before"
                )
            sizes[label] = size if known == 1 else known


def _diagonals(b: HLOBuilder, x: Value, labels: Sequence[Label]) -> Labelled:
    """`x` with each label only once: the diagonal of the dimensions that share one."""
    for label in dict.fromkeys(labels):
        if labels.count(label) > 1:
            x, labels = _diagonal(b, x, labels, label)
    return Labelled(x, tuple(labels))


def _diagonal(
    b: HLOBuilder, x: Value, labels: Sequence[Label], label: Label
) -> tuple[Value, tuple[Label, ...]]:
    same = [i for i, k in enumerate(labels) if k == label]
    rest = [i for i, k in enumerate(labels) if k != label]
    n = x.shape[same[0]]
    x = b.transpose(x, rest + same)
    lead = x.shape[: len(rest)]
    # Laid out row by row, the diagonal is every (1 + n + n**2 + ...)-th element.
    step = sum(n**j for j in range(len(same)))
    flat = b.reshape(x, (*lead, n ** len(same)))
    taken = b.slice_dim(flat, len(lead), 0, n ** len(same), step) if n else flat
    return taken, (*(labels[i] for i in rest), label)


def _path(
    subscripts: Subscripts, shapes: Sequence[tuple[int, ...]], optimize: Any
) -> list[tuple[int, ...]]:
    """The order of contractions, as np.einsum_path gives it."""
    count = len(shapes)
    if count <= 2:
        return [tuple(range(count))]
    numbers: dict[Label, int] = {}
    interleaved: list[Any] = []
    for labels, shape in zip(subscripts.inputs, shapes):
        ids = [numbers.setdefault(k, len(numbers)) for k in labels]
        interleaved += [np.broadcast_to(np.float32(0), shape), ids]
    interleaved.append([numbers[k] for k in subscripts.output])
    chosen = "greedy" if optimize is True or optimize is False else optimize
    return np.einsum_path(*interleaved, optimize=chosen)[0][1:]


def _evaluate(
    b: HLOBuilder,
    terms: list[Labelled],
    output: tuple[Label, ...],
    path: Sequence[tuple[int, ...]],
    accumulate: np.dtype,
) -> Value:
    for step in path:
        group = [terms[i] for i in step]
        terms = [t for i, t in enumerate(terms) if i not in step]
        while len(group) > 1:
            x, y = group[:2]
            wanted = {*output, *(k for t in (*terms, *group[2:]) for k in t.labels)}
            kept = tuple(k for k in dict.fromkeys(x.labels + y.labels) if k in wanted)
            if not terms and len(group) == 2:
                kept = output
            group[:2] = [Labelled(contract(b, x, y, kept, accumulate), kept)]
        terms.append(group[0])
    (last,) = terms
    return arrange(b, sum_out(b, last, set(output), accumulate), output)


einsum = Op(
    "einsum",
    numpy=np.einsum,
    memory_order="own",
    dtypes=supports(dt.FLOATS, dt.FP8, dt.INTEGERS, dt.bool_),
    reference=single_precision(np.einsum),
    samples=cases(
        call("ij,jk->ik", A(2, 3), A(3, 4)),
        call("ij->", A(2, 3)),
        call("i,j->ij", A(2), A(3)),
        call("ij,jk", A(2, 3), A(3, 4)),
        call("ij->ji", A(2, 3)),
        call("ba", A(2, 3)),
        call("ii->i", A(3, 3)),
        call("ii", A(3, 3)),
        call("iji->j", A(3, 2, 3)),
        call("iii->i", A(3, 3, 3)),
        call("iijj->ij", A(2, 2, 3, 3)),
        call("i,i->i", A(3), A(3)),
        call("ij,ij", A(2, 3), A(2, 3)),
        call("bhqd,bhkd->bhqk", A(2, 2, 3, 4), A(2, 2, 5, 4)),
        call("...ij,...jk->...ik", A(2, 2, 3), A(3, 4)),
        call("...i,i...->...", A(2, 3), A(3, 2)),
        call("i...->...", A(3, 2)),
        call("ij,jk->ik", A(2, 1), A(3, 4)),
        call("ij,kl->il", A(2, 3), A(3, 4)),
        call("ij,jk,kl->il", A(2, 3), A(3, 4), A(4, 2)),
        call("ij,jk,kl,l", A(2, 3), A(3, 2), A(2, 2), A(2), optimize=True),
        call("i,i,i->", A(3), A(3), A(3), optimize="optimal"),
        call(
            "ij,jk,kl->il",
            A(2, 2),
            A(2, 2),
            A(2, 2),
            optimize=["einsum_path", (0, 1), (0, 1)],
        ),
        call(A(2, 3), [0, 1], A(3, 4), [1, 2], [0, 2]),
        call("ij,jk->ik", A(2, 0), A(0, 4)),
        call("ii->i", A(0, 0)),
        call(",->", A(), A()),
        call("ab,bc->ca", A(67, 5), A(5, 3)),
    ),
    errors=(
        ErrorSample(("ij,jk->ik", X, X), match="size 2"),
        ErrorSample(("ij,jk", X), match="operands"),
        ErrorSample(("ijk", X), match="too many subscripts"),
        ErrorSample(("i", X), match="more than"),
        ErrorSample(("ij->ii", X), match="twice"),
        ErrorSample(("ij->k", X), match="no operand has"),
        ErrorSample(("i1->i", X), match="invalid subscript"),
        ErrorSample(("..j", X), match="invalid subscript"),
        ErrorSample(("i...->i", X), match="ellipsis"),
        ErrorSample(("ii->i", X), match="don't match"),
        ErrorSample(("ij->ij", X), {"dtype": np.int8}, error=TypeError),
    ),
    note="NumPy refuses bfloat16 and fp8 here; traced, they work as in tensordot",
)


@einsum.impl("hlo")
def _einsum(
    *operands: Any,
    out: Any = None,
    optimize: Any = False,
    dtype: Any = None,
    order: str = "K",
    casting: str = "safe",
) -> Tensor:
    if not operands:
        raise ValueError("must specify the einsum subscripts and at least one operand")
    require_layout(order)
    tensors, subscripts = _arguments(operands)
    _check_sizes(subscripts, tensors)
    result_dtype = _result_dtype(tensors, dtype, casting)
    ctx = get_hlo_context()
    moves = out is None and bool(tensors[0].shape) and _only_moves(subscripts)
    if moves and result_dtype == tensors[0].dtype:
        return _moved(tensors[0], subscripts)
    value = _lower(ctx, tensors, subscripts, result_dtype, optimize)
    if out is None:
        return Tensor._wrap(ctx, value)
    if getattr(out, "shape", value.shape) != value.shape:
        raise ValueError(
            f"out= has shape {out.shape}, but the result has {value.shape}"
        )
    return store_out(ctx, value, out, True, casting)


def _arguments(operands: Sequence[Any]) -> tuple[list[Tensor], Subscripts]:
    if isinstance(operands[0], str):
        tensors = [as_tensor(x) for x in operands[1:]]
        return tensors, parse(operands[0], [x.ndim for x in tensors])
    values, terms, output = _interleaved(operands)
    tensors = [as_tensor(x) for x in values]
    return tensors, resolve(terms, output, [x.ndim for x in tensors])


def _result_dtype(tensors: Sequence[Tensor], dtype: Any, casting: Any) -> np.dtype:
    if dtype is None:
        can_cast(dt.float32, dt.float32, casting)  # refuses what is no rule
        return result_type(*[x.dtype for x in tensors])
    wanted = dt.narrow(dtype)
    for x in tensors:
        if not can_cast(x.dtype, wanted, casting):
            raise TypeError(
                f"cannot cast an operand from {x.dtype.name} to {wanted.name} with "
                f"casting rule '{casting}'"
            )
    return wanted


def _lower(
    ctx: HLOTraceContext,
    tensors: Sequence[Tensor],
    subscripts: Subscripts,
    dtype: np.dtype,
    optimize: Any,
) -> Value:
    accumulate = accumulator(dtype)
    terms = [
        _diagonals(ctx, ctx.convert(x.backend_tensor, dtype), labels)
        for x, labels in zip(tensors, subscripts.inputs)
    ]
    path = _path(subscripts, [x.shape for x in tensors], optimize)
    value = _evaluate(ctx, terms, subscripts.output, path, accumulate)
    return rounded(ctx, value, dtype)


# -- views -----------------------------------------------------------------------------
def _only_moves(subscripts: Subscripts) -> bool:
    """Whether NumPy gives a view of the one operand: nothing is summed."""
    return len(subscripts.inputs) == 1 and set(subscripts.inputs[0]) == set(
        subscripts.output
    )


def _moved(x: Tensor, subscripts: Subscripts) -> Tensor:
    (labels,), output = subscripts

    def read(b: HLOBuilder, base: Value) -> Value:
        return arrange(b, _diagonals(b, base, labels), output)

    def write(b: HLOBuilder, old: Value, new: Value) -> Value:
        # In both operands of the selection, an element lies where its labels say.
        dims = [output.index(label) for label in labels]
        if len(set(dims)) == len(dims):
            return b.transpose(new, dims)
        return _store_diagonals(b, old, new, labels, output)

    def layout(a: np.ndarray) -> np.ndarray:
        numbers = {label: i for i, label in enumerate(output)}
        return np.einsum(a, [numbers[k] for k in labels], list(range(len(output))))

    return x._make_view(View(read, write, layout))


def _store_diagonals(
    b: HLOBuilder,
    old: Value,
    new: Value,
    labels: Sequence[Label],
    output: Sequence[Label],
) -> Value:
    """`old` with `new` where the indices of dimensions that share a label are equal."""
    first = [labels.index(label) for label in output]
    order = sorted(range(len(output)), key=first.__getitem__)
    spread = b.broadcast_in_dim(b.transpose(new, order), old.shape, sorted(first))
    mask = None
    for i, label in enumerate(labels):
        if labels.index(label) != i:
            here = b.iota(old.shape, i)
            there = b.iota(old.shape, labels.index(label))
            equal = b.compare(here, there, "EQ")
            mask = equal if mask is None else b.and_(mask, equal)
    assert mask is not None
    return b.select(mask, spread, old)
