"""Random calls of operators that have lowerings, in random buckets, beside the CPU's.

    python spike-torch/tests/fuzz_lowerings.py --seconds 60 --seed 1 [--only NAME ...]
    python spike-torch/tests/fuzz_lowerings.py --seed 1 --case 4711   # that one, told

A call is one of torch's samples, or of the record's own, with other sizes and values
(NaN, infinities, zeros of either sign, equal numbers), and with buckets for some of its
dimensions. It differs where the program's values are not the CPU's, or where a lowering
raises what is no answer. Each operator that does is told once, with the case that shows
it, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch._inductor.inductor_prims  # which defines operators
from torch.testing._internal.common_methods_invocations import op_db
from torch.utils import _pytree as pytree

from spike_torch.aten import OPERATORS
from spike_torch.lowering import NeedsExactSize, Unsupported

if not __package__:
    sys.path.insert(0, str(Path(__file__).parents[1]))
    __package__ = "tests"

from .lowering_cases import (
    Call,
    calls_in,
    calls_with,
    check_padded,
    check_static,
    operator_of,
)
from .op_samples import UNKNOWN_VALUES, tensors

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.int32)
DTYPES += (torch.uint8, torch.bool)
SPECIAL = (0.0, -0.0, 1.0, -1.0, torch.nan, torch.inf, -torch.inf)
#: Take sizes of memory, which have to be those of their tensor; so do gradients, whose
#: kernels believe the sizes and places that they are given.
_FIXED = ("_reshape_alias", "as_strided", "_backward", "_unpool", "embedding_bag")
#: Of equal numbers, nobody says which one's place they return.
_DISTINCT = {"kthvalue", "median", "nanmedian", "mode", "topk", "sort", "argsort"}
#: Of the least integer the CPU has no magnitude: samples do not bring it to others.
_FIXED += ("gcd", "lcm")
#: What is around the input, times a weight that is infinite, is NaN or left out: the
#: CPU's algorithms differ.
_FINITE = {"convolution", "convolution_backward", "_trilinear"}
#: Besides, the CPU's vectors take NaN for 0 there, and its single numbers do not.
_FINITE |= {"_cdist_forward"}  # of the greatest difference
_FINITE |= {"log_sigmoid_backward"}  # whose buffer is of its input
_FINITE |= {"logit_backward", "softshrink_backward", "hardshrink_backward"}
#: Samples of an operation, and the most elements that a tensor is to have.
MOST, MOST_ELEMENTS = 12, 3000


# ---- Calls ---------------------------------------------------------------------------
def _names(wanted: Sequence[str]) -> list[str]:
    known = (name for name, each in OPERATORS.items() if each.lower is not None)
    return sorted(n for n in known if not wanted or any(w in n for w in wanted))


def _packet(name: str) -> str:
    return name.partition("::")[2].partition(".")[0]


@cache
def _calls_of(operation: str, dtype: torch.dtype) -> list[Call]:
    found = []
    for op in op_db:
        if op.name.rpartition(".")[2] == operation and op.supports_dtype(dtype, "cpu"):
            found += calls_in(op, dtype, lambda op: op.name() in OPERATORS, MOST)
    return found


def _calls(name: str, dtype: torch.dtype) -> list[Call]:
    """An operator's calls that torch's samples make, or its record's."""
    known = OPERATORS[name]
    if callable(known.samples):
        return calls_with(operator_of(name), known.samples())
    own = _packet(name).strip("_")
    names = (known.samples or own).split()
    calls = (call for each in names for call in _calls_of(each, dtype))
    return [call for call in calls if call.op.name() == name]


# ---- What is random ------------------------------------------------------------------
def _varied(r: random.Random, call: Call) -> Call | None:
    """The call with other sizes and values; None if torch does not take it."""
    leaves, tree = pytree.tree_flatten((call.args, call.kwargs))
    given = [x for x in leaves if isinstance(x, torch.Tensor)]
    if any(t.numel() > MOST_ELEMENTS for t in given):
        return None
    packet = _packet(call.op.name())
    is_fixed = packet in _DISTINCT or any(part in packet for part in _FIXED)
    if r.random() < 0.6 and not is_fixed:
        leaves = _resized(r, leaves)
    if packet not in _FINITE | _DISTINCT:
        leaves = [_with_special(r, x) for x in leaves]
    args, kwargs = pytree.tree_unflatten(leaves, tree)
    try:
        returned = call.op(*pytree.tree_map(_copied, args), **kwargs)
    except Exception:  # of sizes that do not fit, of values that are out of range
        return None
    return Call(call.op, tuple(args), kwargs, pytree.tree_map(_copied, returned))


def _copied(value: Any) -> Any:
    return value.contiguous().clone() if isinstance(value, torch.Tensor) else value


def _resized(r: random.Random, leaves: Sequence[Any]) -> list[Any]:
    """All dimensions of one size get another, the same in each tensor."""
    sizes = {n for x in leaves if isinstance(x, torch.Tensor) for n in x.shape}
    sizes = {n for n in sizes if n > 1}
    if not sizes:
        return list(leaves)
    old, new = r.choice(sorted(sizes)), r.randint(1, 12)
    generator = torch.Generator().manual_seed(r.randrange(1 << 30))
    made = list(leaves)
    for i, x in enumerate(leaves):
        if isinstance(x, torch.Tensor):
            for dim, n in enumerate(x.shape):
                if n == old:
                    places = torch.randint(0, n, (new,), generator=generator)
                    x = x.index_select(dim, places)
            made[i] = x
    return made


def _with_special(r: random.Random, x: Any) -> Any:
    if not isinstance(x, torch.Tensor) or not x.is_floating_point():
        return x
    if not x.numel() or r.random() < 0.5:
        return x
    flat = x.detach().clone().reshape(-1)
    for _ in range(r.randint(1, 3)):
        flat[r.randrange(flat.numel())] = r.choice(SPECIAL)
    return flat.reshape(x.shape)


def _check(r: random.Random, call: Call) -> str:
    """What became of a call: "padded", "exact", "eager" or torch's own failure."""
    try:
        check_static(call)
    except Unsupported:
        return "eager"
    share = r.choice((0.2, 0.5, 1.0))
    chosen = {
        (n, d)
        for n, t in enumerate(tensors((call.args, call.kwargs)))
        for d in range(t.dim())
        if r.random() < share
    }
    extra, shared = r.choice((1, 3, 13)), r.random() < 0.7
    try:
        check_padded(call, lambda t, d: (t, d) in chosen, extra, shared)
    except NeedsExactSize:
        return "exact"
    except Unsupported:
        return "eager"
    except Exception as error:
        if isinstance(error, AssertionError) or _is_ours(error):
            raise
        return "torch's"
    return "padded"


def _is_ours(error: BaseException) -> bool:
    """Whether it was raised below a lowering, not where torch told what it returns."""
    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    return "_returned" not in names and "_fake" not in names


# ---- Command line --------------------------------------------------------------------
def _cases(options: argparse.Namespace) -> Iterator[int]:
    if options.case is not None:
        yield options.case
        return
    end = time.monotonic() + options.seconds
    case = 0
    while time.monotonic() < end:
        yield case
        case += 1


def _run(seed: str, names: Sequence[str], bad: set[str]) -> str:
    """What became of a case. Adds what differs to `bad`, by the operator's name."""
    r = random.Random(seed)
    torch.manual_seed(r.randrange(1 << 30))
    name, dtype = r.choice(names), r.choice(DTYPES)
    if _packet(name) in _DISTINCT:
        dtype = torch.float32
    calls = _calls(name, dtype)
    call = _varied(r, r.choice(calls)) if calls else None
    if call is None:
        return "left out"
    try:
        return _check(r, call)
    except Exception as error:
        text = str(error).strip().replace("\n", "\n    ")
        what = f"{name} {_told(call)}: {type(error).__name__}: {text}"
        if name not in bad:
            print(f"case {seed}: {what}", file=sys.stderr, flush=True)
        bad.add(name)
        return "differs"


def _told(call: Call) -> str:
    def short(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return f"{str(value.dtype).rpartition('.')[2]}{list(value.shape)}"
        return value

    args, kwargs = pytree.tree_map(short, (list(call.args), call.kwargs))
    return f"{args} {kwargs}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="run only this one")
    parser.add_argument("--only", nargs="*", default=(), help="parts of names")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)  # torch tells where its own rules raise
    names = [n for n in _names(options.only) if _packet(n) not in UNKNOWN_VALUES]
    became: Counter[str] = Counter()
    bad: set[str] = set()
    for case in _cases(options):
        seed = f"{options.seed}:{case}"
        how = _run(seed, names, bad)
        became[how] += 1
    print(f"seed {options.seed}: {dict(became)}, {len(bad)} differ")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
