"""Random programs of torch's operations, on the CPU and on the device at once.

    python spike-torch/tests/fuzz_operations.py --seconds 60 --seed 1 [--transfers]
    python spike-torch/tests/fuzz_operations.py --seed 1 --case 4711   # that one, told

After each operation all tensors of the one are compared with the other's: values,
geometry, versions, gradients, which of them share a storage, and the bytes around what
was written. What raises on one raises the same on the other. The exit code is 1 after
the first program that differs. It needs neither pytest nor what the tests have around
them.
"""

from __future__ import annotations

import argparse
import math
import random
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import spike_torch

FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
INTEGERS = (torch.int64, torch.int32, torch.uint8, torch.int8)
DTYPES = (*FLOATS, *INTEGERS, torch.complex64, torch.bool)
#: Operations of a program, and the most tensors that it holds at a time.
STEPS, MOST = 25, 9
#: What no tensor is to be larger than.
MOST_ELEMENTS = 600

#: What is done to tensors of either device.
Step = Callable[..., Any]


# ---- Steps ---------------------------------------------------------------------------

VIEWS: dict[str, Callable[[random.Random], Step]] = {
    "slice": lambda r: _slice(r.randint(-4, 4), r.randint(-4, 5), r.choice((1, 2))),
    "select": lambda r: _with("select", r.randint(-2, 2), r.randint(-3, 3)),
    "transpose": lambda r: _with("transpose", r.randint(-2, 2), r.randint(-2, 2)),
    "expand": lambda r: lambda t: t.expand(2, *t.shape),
    "as_strided": lambda r: _with("as_strided", *_strided(r)),
    "flat view": lambda r: _with("view", -1),
    "other dtype": lambda r: _with("view", r.choice(DTYPES)),
    "unsqueeze": lambda r: _with("unsqueeze", r.randint(-2, 2)),
    "squeeze": lambda r: _with("squeeze"),
    "unfold": lambda r: _with("unfold", r.randint(-2, 1), r.randint(1, 3), 1),
    "diagonal": lambda r: _with("diagonal"),
    "conjugate": lambda r: _with("conj"),
    "negative": lambda r: lambda t: t.conj().imag if t.is_complex() else t.detach(),
    "split": lambda r: lambda t: list(t.split(2, -1)),
    "detach": lambda r: _with("detach"),
    "contiguous": lambda r: _with("contiguous"),
}
NEW: dict[str, Callable[[random.Random], Step]] = {
    "clone": lambda r: _with("clone"),
    "to dtype": lambda r: _with("to", r.choice(DTYPES)),
    "one": lambda r: _with(r.choice(_ONE.split())),
    "number": lambda r: _with(r.choice(_NUMBER.split()), r.choice((2, -1, 0.5, True))),
    "reduce": lambda r: _with(r.choice(_REDUCE.split()), r.randint(-2, 1)),
    "sorted": lambda r: lambda t: list(t.sort(dim=-1, stable=True)),
    "unique": lambda r: _with("unique"),
    "flipped": lambda r: _with("flip", r.randint(-2, 1)),
    "masked": lambda r: lambda t: t[t.detach() > 0],
    "softmax": lambda r: lambda t: F.softmax(t, -1),
    "padded": lambda r: lambda t: F.pad(t, (1, 1), value=2),
    "vmap": lambda r: lambda t: torch.vmap(lambda row: row * 2 + 1)(t),
    "random": lambda r: _random(r.choice(_RANDOM.split()), r.randrange(100)),
}
IN_PLACE: dict[str, Callable[[random.Random], Step]] = {
    "one_": lambda r: _with(r.choice(_ONE_.split())),
    "number_": lambda r: _with(r.choice(_NUMBER_.split()), r.choice((2, -1, 0.5))),
    "masked_fill_": lambda r: lambda t: t.masked_fill_(t.detach() > 0, 1),
    "index_put_": lambda r: _index_put(_indices(r), r.random() < 0.5),
    "transpose_": lambda r: _with("transpose_", 0, -1),
    "resize_": lambda r: _resize(tuple(_some(r, 0, 4, 2)), resizes_storage=False),
    "resize storage": lambda r: _resize((r.randint(0, 40),), resizes_storage=True),
    "shift": lambda r: lambda t: t[1:].copy_(t[:-1]),
    "requires_grad_": lambda r: _with("requires_grad_", r.random() < 0.8),
    "backward": lambda r: lambda t: t.float().sum().backward(retain_graph=True),
}
TWO: dict[str, Callable[[random.Random], Step]] = {
    "two": lambda r: _with(r.choice(_TWO.split())),
    "two_": lambda r: _with(r.choice(_TWO_.split())),
    "from the CPU": lambda r: lambda t, u: t.copy_(u.detach().cpu().clone()),
    "setitem": lambda r: _set(r.choice((..., 0, slice(None, None, 2)))),
    "one into": lambda r: lambda t, u: torch.neg(t, out=u),
    "reduce into": lambda r: lambda t, u: torch.sum(t, -1, out=u),
    "scatter_": lambda r: _scatter(r.choice(_SCATTER.split()), r.randint(0, 3)),
    "set_": lambda r: _set_(*_strided(r), whole=r.random() < 0.5),
    "lerp_": lambda r: lambda t, u: t.lerp_(u, 0.5),
    "stack": lambda r: lambda t, u: torch.stack([t, u]),
    "matmul": lambda r: torch.matmul,
    "layer norm": lambda r: lambda t, u: F.layer_norm(t, u.shape),
    "where into": lambda r: lambda t, u: torch.where(t > 0, t, u, out=t),
}
THREE: dict[str, Callable[[random.Random], Step]] = {
    "two into": lambda r: _into(r.choice(("add", "mul", "maximum", "div", "eq"))),
    "max into": lambda r: lambda t, u, v: torch.max(t, dim=-1, out=(u, v)),
    "several_": lambda r: _several(r.choice(("add", "mul", "sub")), r.random() < 0.5),
    "copies": lambda r: lambda t, u, v: torch._foreach_copy_([t, u], [u, v]),
    "addcmul_": lambda r: lambda t, u, v: t.addcmul_(u, v),
    "clamp": lambda r: lambda t, u, v: torch.clamp(t, u, v),
}
KINDS = ((VIEWS, 1), (NEW, 1), (IN_PLACE, 1), (TWO, 2), (THREE, 3))

_ONE = "neg abs exp sin sqrt sigmoid relu floor sign logical_not square isnan trunc"
_ONE_ = "neg_ abs_ exp_ sigmoid_ relu_ sign_ logical_not_ square_ zero_ conj_physical_"
_NUMBER = "add mul sub div pow gt"
_NUMBER_ = "add_ mul_ sub_ div_ fill_ clamp_ pow_"
_REDUCE = "sum mean prod amax argmax any std var cumsum logsumexp count_nonzero"
_RANDOM = "uniform_ normal_ random_ bernoulli_ exponential_ dropout"
_TWO = "add sub mul div maximum eq lt logical_and bitwise_xor pow remainder fmod"
_TWO_ = "add_ sub_ mul_ div_ eq_ lt_ logical_and_ bitwise_or_ pow_ copy_ fmod_"
_SCATTER = "scatter_ scatter_add_ gather index_add_ index_select take"


def _with(name: str, *arguments: Any) -> Step:
    return lambda t, *others: getattr(t, name)(*others, *arguments)


def _some(rng: random.Random, low: int, high: int, most: int) -> list[int]:
    return [rng.randint(low, high) for _ in range(rng.randint(0, most))]


def _strided(rng: random.Random) -> tuple[list[int], list[int], int]:
    sizes = _some(rng, 0, 3, 3)
    return sizes, [rng.randint(0, 3) for _ in sizes], rng.randint(0, 4)


def _indices(rng: random.Random) -> list[int]:
    return [rng.randint(-2, 2) for _ in range(rng.randint(1, 3))]


def _slice(begin: int, end: int, step: int) -> Step:
    return lambda t: t[..., begin:end:step]


def _set(index: Any) -> Step:
    def act(t: Tensor, value: Tensor) -> Tensor:
        # torch fills with a number that is on the CPU, and copies others, which may
        # not overlap with what they are copied to.
        t[index] = value if value.dim() else value.clone()
        return t

    return act


def _index_put(indices: list[int], accumulate: bool) -> Step:
    def act(t: Tensor) -> Tensor:
        where = torch.tensor(indices).to(t.device)
        return t.index_put_((where,), torch.ones_like(t[:1]), accumulate)

    return act


def _scatter(name: str, index: int) -> Step:
    def act(t: Tensor, u: Tensor) -> Tensor:
        where = torch.full(u.shape, index).to(t.device)
        if name == "take":
            return t.take(where)
        if name.startswith("index"):
            where = where.flatten()[:2]
        others = (u,) if name.endswith("_") else ()
        return getattr(t, name)(-1, where, *others)

    return act


def _random(name: str, seed: int) -> Step:
    def act(t: Tensor) -> Tensor:
        torch.manual_seed(seed)
        if name != "dropout":
            return getattr(t, name)()
        # That of complex numbers is there on devices only.
        return torch.dropout(t.real, 0.5, True)

    return act


def _into(name: str) -> Step:
    return lambda t, u, out: getattr(torch, name)(t, u, out=out)


def _several(name: str, has_numbers: bool) -> Step:
    act = getattr(torch, f"_foreach_{name}_")
    if has_numbers:
        return lambda t, u, v: act([t, u, v], 2)
    return lambda t, u, v: act([t, u], [v, v])


def _resize(sizes: tuple[int, ...], resizes_storage: bool) -> Step:
    def act(t: Tensor) -> Tensor:
        before = t.untyped_storage().nbytes()
        try:
            if resizes_storage:
                t.untyped_storage().resize_(*sizes)
            else:
                t.resize_(sizes)
        finally:
            _clear(t, before)
        return t

    return act


def _set_(sizes: list[int], strides: list[int], first: int, whole: bool) -> Step:
    def act(t: Tensor, u: Tensor) -> Tensor:
        with torch.no_grad():
            # What is of these sizes does not make a storage larger, on the CPU only.
            if whole or list(t.shape) == sizes:
                return t.set_(u)
            before = u.untyped_storage().nbytes()
            try:
                t.set_(u.untyped_storage(), first, sizes, strides)
            finally:
                _clear(u, before)
            return t

    return act


def _clear(tensor: Tensor, before: int) -> None:
    """Of a storage that was made larger, what nobody has written to."""
    if tensor.untyped_storage().nbytes() > before:
        _bytes_of(tensor)[before:].zero_()


# ---- Programs ------------------------------------------------------------------------


def new_tensor(rng: random.Random) -> Tensor:
    sizes = [rng.choice((0, 1, 1, 2, 3, 4, 5)) for _ in range(rng.randint(0, 4))]
    if sizes and rng.random() < 0.6:
        sizes = [max(size, 1) for size in sizes]
    numbers = [rng.randint(-4, 9) for _ in range(math.prod(sizes))]
    made = torch.tensor(numbers, dtype=torch.float64).reshape(sizes)
    dtype = rng.choice(DTYPES)
    return (made.abs() if dtype == torch.uint8 else made).to(dtype)


class Differs(Exception):
    """The device is not as the CPU is."""


class Program:
    """Tensors of the CPU's, and the same of the device's."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed)
        self.told: list[str] = []
        self.here: list[Tensor] = []
        self.there: list[Tensor] = []
        #: Versions that tensors had when they were made, which are torch's own affair.
        self.versions: list[tuple[int, int]] = []
        #: Storages of the CPU's all of which has been written to, and what keeps them.
        self.written: dict[int, Tensor] = {}
        for _ in range(3):
            self._add_new()

    def run(self) -> None:
        """Raises Differs."""
        for _ in range(STEPS):
            self._step()
            self._forget_some()
            self._compare()

    def _add_new(self) -> None:
        made = new_tensor(self.random)
        self._add(made.clone(), made.to("nkipy"))

    def _add(self, here: Tensor, there: Tensor) -> None:
        self.here.append(here)
        self.there.append(there)
        self.versions.append((_version(here), _version(there)))
        storage = here.untyped_storage()
        if here.is_contiguous() and here.nbytes == storage.nbytes():
            self.written.setdefault(storage._cdata, here)

    def _step(self) -> None:
        rng = self.random
        steps, count = rng.choice(KINDS)
        name = rng.choice(sorted(steps))
        step = steps[name](rng)
        which = [rng.randrange(len(self.here)) for _ in range(count)]
        records = rng.random() < 0.8
        of = [f"{i}: {_geometry(self.here[i])[:4]}" for i in which]
        self.told.append(f"{name}, {records=}, of {of}")
        here = _outcome(step, [self.here[i] for i in which], records)
        there = _outcome(step, [self.there[i] for i in which], records)
        if isinstance(here, str) or isinstance(there, str):
            if here != there:
                raise Differs(f"on the CPU {here!r}, on the device {there!r}")
            return
        for one, other in zip(here, there, strict=True):
            known = [i for i, tensor in enumerate(self.here) if tensor is one]
            if known != [i for i, tensor in enumerate(self.there) if tensor is other]:
                raise Differs("one returns an argument of its, the other another")
            if not known and one.numel() <= MOST_ELEMENTS:
                self._add(one, other)

    def _forget_some(self) -> None:
        for i in reversed(range(len(self.here))):
            here, there = self.here[i], self.there[i]
            if not (_is_usable(here) and _is_whole(here) and _is_whole(there)):
                self._forget(i)
        while len(self.here) > MOST:
            self._forget(self.random.randrange(len(self.here)))
        while len(self.here) < 2 or self.random.random() < 0.15:
            self._add_new()

    def _forget(self, i: int) -> None:
        del self.here[i], self.there[i], self.versions[i]

    def _compare(self) -> None:
        pairs = list(zip(self.here, self.there, self.versions, strict=True))
        for i, (here, there, versions) in enumerate(pairs):
            self._require(i, "geometry", _geometry(here), _geometry(there))
            made_here, made_there = versions
            changes = _version(here) - made_here, _version(there) - made_there
            self._require(i, "versions", *changes)
            self._require_equal(i, here.detach(), there.detach())
            if here.untyped_storage()._cdata in self.written:
                self._require_equal(i, _around(here), _around(there))
            if here.is_leaf and here.grad is not None and there.grad is not None:
                self._require(
                    i, "gradient", _geometry(here.grad), _geometry(there.grad)
                )
                self._require_equal(i, here.grad, there.grad)
        shared = [_sharing(tensors) for tensors in (self.here, self.there)]
        self._require(-1, "storages", *shared)

    def _require(self, i: int, what: str, here: Any, there: Any) -> None:
        if here != there:
            raise Differs(f"{what} of {i}: on the CPU {here}, on the device {there}")

    def _require_equal(self, i: int, here: Tensor, there: Tensor) -> None:
        one = here.resolve_conj().resolve_neg()
        other = there.resolve_conj().resolve_neg().cpu()
        wide = {True: torch.complex128, False: torch.float64}[one.is_complex()]
        coarse = one.dtype in (torch.float16, torch.bfloat16)
        rtol = 1e-2 if coarse else 2e-5
        if not torch.allclose(
            one.to(wide), other.to(wide), rtol=rtol, atol=1e-6, equal_nan=True
        ):
            raise Differs(f"values of {i}: on the CPU {one}, on the device {other}")


def _outcome(step: Step, tensors: list[Tensor], records: bool) -> list[Tensor] | str:
    """What it returns, or what it raises, without names of devices and types."""
    try:
        with torch.set_grad_enabled(records):
            result = step(*tensors)
    except Exception as error:
        text = re.sub(r"torch\.\w+Tensor|(nkipy|CPU)\w+Type", "a tensor", str(error))
        text = re.sub("nkipy:0|nkipy|PrivateUse1", "cpu", text)
        return f"{type(error).__name__}: {text.lower()}"
    results = result if isinstance(result, list | tuple) else [result]
    return [each for each in results if isinstance(each, Tensor)]


def _geometry(tensor: Tensor) -> tuple:
    gradient = tensor.grad if tensor.is_leaf else None
    return (
        *(tensor.dtype, tuple(tensor.shape), tensor.stride(), tensor.storage_offset()),
        *(tensor.requires_grad, tensor.is_leaf, gradient is not None),
        *(tensor.is_conj(), tensor.is_neg(), tensor.untyped_storage().nbytes()),
    )


def _version(tensor: Tensor) -> int:
    return tensor._version


def _sharing(tensors: Sequence[Tensor]) -> list[int]:
    """For each the first that has the same storage."""
    storages = [tensor.untyped_storage()._cdata for tensor in tensors]
    return [storages.index(storage) for storage in storages]


def _is_usable(tensor: Tensor) -> bool:
    """Whether autograd takes a view after what its base went through."""
    try:
        tensor.is_leaf  # noqa: B018
    except RuntimeError:
        return False
    return True


def _is_whole(tensor: Tensor) -> bool:
    """Whether its storage, which may have been made smaller, has all of it."""
    if tensor.is_leaf and tensor.grad is not None and not _is_whole(tensor.grad):
        return False
    if tensor.numel() == 0:
        return True
    pairs = zip(tensor.shape, tensor.stride(), strict=True)
    last = tensor.storage_offset() + sum((size - 1) * stride for size, stride in pairs)
    return (last + 1) * tensor.itemsize <= tensor.untyped_storage().nbytes()


def _bytes_of(tensor: Tensor) -> Tensor:
    """All of its storage."""
    none = torch.empty(0, dtype=torch.uint8, device=tensor.device)
    return none.set_(tensor.untyped_storage())


def _around(tensor: Tensor) -> Tensor:
    """All of its storage, in its dtype."""
    data = _bytes_of(tensor)
    return data[: data.numel() // tensor.itemsize * tensor.itemsize].view(tensor.dtype)


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


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="run only this one")
    parser.add_argument("--transfers", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    # Memory that nobody has written to would differ.
    torch.use_deterministic_algorithms(True, warn_only=True)
    spike_torch._C.reach_by_transfers(options.transfers)
    done = 0
    for case in _cases(options):
        program = Program(f"{options.seed}:{case}")
        try:
            program.run()
        except Differs as error:
            steps = "\n    ".join(program.told)
            print(f"case {case}: {error}\n    {steps}", file=sys.stderr)
            return 1
        done += 1
    print(f"seed {options.seed}: {done} programs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
