"""Collectives as ranks run them on the emulated device, compared with NumPy.

Run as ``python -m``, as one of the ranks that `RANK` and `WORLD_SIZE` tell; prints what
differs.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from tests.support.nrt_client import Nrt, make_neff

Groups = tuple[tuple[int, ...], ...]

REDUCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "add": np.add,
    "multiply": np.multiply,
    "minimum": np.minimum,
    "maximum": np.maximum,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
}
DTYPES = tuple(
    map(
        np.dtype,
        [np.bool_, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16]
        + [np.uint32, np.uint64, np.float16, ml_dtypes.bfloat16, np.float32]
        + [ml_dtypes.float8_e4m3, ml_dtypes.float8_e5m2],
    )
)


class Case(NamedTuple):
    """One collective: what builds it, and what each rank gets of all operands."""

    text: str
    build: Callable[[Any, Any], Any]
    operands: list[np.ndarray]
    expected: Callable[[int], np.ndarray]


def operands_of(ranks: int, dtype: np.dtype, shape: tuple[int, ...]) -> list[Any]:
    """One array for each rank, among its elements zeros of both signs and NaN."""
    made = []
    for rank in range(ranks):
        rng = np.random.default_rng(rank)
        x = rng.integers(0, 100, shape) / 8 - 3
        x = rng.integers(0, 50, shape) if dtype.kind in "biu" else x
        made.append(x.astype(dtype))
    return made


def groupings(ranks: int) -> Iterator[Groups]:
    """Everyone, named and not, in reverse; and where there are so many, halves."""
    yield (tuple(range(ranks)),)
    yield ()
    yield (tuple(reversed(range(ranks))),)
    if ranks % 2 == 0:
        yield tuple(range(0, ranks, 2)), tuple(range(1, ranks, 2))


def group_of(groups: Groups, rank: int, ranks: int) -> tuple[int, ...]:
    """The one that a rank is in."""
    return next(g for g in groups or (tuple(range(ranks)),) if rank in g)


def reductions(ranks: int, groups: Groups) -> Iterator[Case]:
    """all-reduce and reduce-scatter, of each dtype."""
    for dtype in DTYPES:
        for opcode, function in REDUCTIONS.items():
            if (opcode in ("and", "or", "xor")) != (dtype.kind == "b"):
                if not (opcode == "xor" and dtype.kind in "iu"):
                    continue
            operands = operands_of(ranks, dtype, (4 * ranks, 6))
            applied = {"replica_groups": groups}

            def reduced(rank, xs=operands, f=function, groups=groups):
                first, *others = group_of(groups, rank, ranks)
                result = xs[first]
                for other in others:
                    result = f(result, xs[other]).astype(result.dtype)
                return result

            def build(b, x, opcode=opcode, applied=applied):
                attributes = {**applied, "to_apply": b.reducer(opcode, x.dtype)}
                return b.emit("all-reduce", (x,), x.shape, x.dtype, attributes)

            yield Case(
                f"all-reduce {dtype} {opcode} {groups}", build, operands, reduced
            )
            size = 4 * ranks // len(group_of(groups, 0, ranks))

            def scatter(b, x, opcode=opcode, applied=applied, size=size):
                attributes = {
                    **applied,
                    "to_apply": b.reducer(opcode, x.dtype),
                    "dimensions": (0,),
                }
                shape = (size, *x.shape[1:])
                return b.emit("reduce-scatter", (x,), shape, x.dtype, attributes)

            def scattered(rank, reduced=reduced, size=size, groups=groups):
                at = group_of(groups, rank, ranks).index(rank) * size
                return reduced(rank)[at : at + size]

            yield Case(
                f"reduce-scatter {dtype} {opcode} {groups}",
                *(scatter, operands, scattered),
            )


def movements(ranks: int, groups: Groups) -> Iterator[Case]:
    """all-gather and all-to-all along each dimension, and a permutation."""
    operands = operands_of(ranks, np.dtype(np.float32), (2 * ranks, 4 * ranks, 3))
    for d in range(2):

        def gather(b, x, d=d):
            shape = list(x.shape)
            shape[d] *= len(group_of(groups, 0, ranks))
            attributes = {"replica_groups": groups, "dimensions": (d,)}
            return b.emit("all-gather", (x,), tuple(shape), x.dtype, attributes)

        def gathered(rank, d=d):
            return np.concatenate(
                [operands[r] for r in group_of(groups, rank, ranks)], d
            )

        yield Case(f"all-gather {d} {groups}", gather, operands, gathered)

        def exchange(b, x, d=d):
            attributes = {"replica_groups": groups, "dimensions": (d,)}
            return b.emit("all-to-all", (x,), x.shape, x.dtype, attributes)

        def exchanged(rank, d=d):
            group = group_of(groups, rank, ranks)
            own = [
                np.split(operands[r], len(group), d)[group.index(rank)] for r in group
            ]
            return np.concatenate(own, d)

        yield Case(f"all-to-all {d} {groups}", exchange, operands, exchanged)
    pairs = tuple((r, (r + 1) % ranks) for r in range(ranks - 1))

    def permute(b, x):
        attributes = {"source_target_pairs": pairs}
        return b.emit("collective-permute", (x,), x.shape, x.dtype, attributes)

    def permuted(rank):
        return operands[rank - 1] if rank else np.zeros_like(operands[0])

    yield Case("collective-permute", permute, operands, permuted)


def broadcasts(ranks: int, groups: Groups) -> Iterator[Case]:
    """What the first rank of each group has, of each dtype and shape of groups."""
    uneven = ((ranks - 1, *range(ranks - 2)),)  # one rank is in no group
    for dtype in DTYPES:
        for chosen in (groups, uneven):
            operands = operands_of(ranks, dtype, (3, 5))

            def build(b, x, chosen=chosen):
                attributes = {"replica_groups": chosen}
                return b.emit(
                    "collective-broadcast", (x,), x.shape, x.dtype, attributes
                )

            def expected(rank, xs=operands, chosen=chosen):
                groups = chosen or (tuple(range(ranks)),)
                sources = [group[0] for group in groups if rank in group]
                return xs[sources[0]] if sources else np.zeros_like(xs[rank])

            text = f"collective-broadcast {dtype} {chosen}"
            yield Case(text, build, operands, expected)


def large(ranks: int) -> Iterator[Case]:
    """What does not fit into a slot of the shared memory."""
    operands = [
        np.random.default_rng(r).standard_normal((3 << 17) + 5).astype(np.float32)
        for r in range(ranks)
    ]

    def build(b, x):
        attributes = {"replica_groups": (), "to_apply": b.reducer("add", x.dtype)}
        return b.emit("all-reduce", (x,), x.shape, x.dtype, attributes)

    def total(rank):
        result = operands[0]
        for other in operands[1:]:
            result = result + other
        return result

    yield Case("large all-reduce", build, operands, total)


def computed(ranks: int) -> Iterator[Case]:
    """Of what is computed, and needed by others or not: more than a slot."""
    shape = (ranks, 150_001)
    operands = [
        np.random.default_rng(r).standard_normal(shape).astype(np.float32)
        for r in range(ranks)
    ]
    negated = [-x for x in operands]
    total = negated[0]
    for other in negated[1:]:
        total = total + other

    def reduced(b, x):
        attributes = {"replica_groups": (), "to_apply": b.reducer("add", x.dtype)}
        return b.emit("all-reduce", (x,), x.shape, x.dtype, attributes)

    def exchanged(b, x):
        attributes = {"replica_groups": (), "dimensions": (0,)}
        return b.emit("all-to-all", (x,), x.shape, x.dtype, attributes)

    def permuted(b, x):
        pairs = tuple((r, (r + 1) % ranks) for r in range(ranks - 1))
        attributes = {"source_target_pairs": pairs}
        return b.emit("collective-permute", (x,), x.shape, x.dtype, attributes)

    def moved(rank):
        return np.stack([x[rank] for x in negated])

    def shifted(rank):
        return negated[rank - 1] if rank else np.zeros(shape, np.float32)

    results: tuple[tuple[Any, Callable[[int], np.ndarray]], ...] = (
        (reduced, lambda rank: total),
        (exchanged, moved),
        (permuted, shifted),
    )
    for collective, expected in results:
        text = f"computed {collective.__name__}"

        def once(b, x, collective=collective):
            return collective(b, b.negate(x))

        def reshaped(b, x, collective=collective):
            return collective(
                b, b.reshape(b.negate(b.reshape(x, (ranks * 150_001,))), x.shape)
            )

        def twice(b, x, collective=collective):
            y = b.negate(x)
            return b.subtract(b.multiply(collective(b, y), y), collective(b, y))

        def more(rank, expected=expected):
            result = expected(rank)
            return result * negated[rank] - result

        yield Case(text, once, operands, expected)
        yield Case(f"{text}, reshaped", reshaped, operands, expected)
        yield Case(f"{text}, needed again", twice, operands, more)


def loops(ranks: int) -> Iterator[Case]:
    """A chain of collectives whose order all ranks have to keep."""
    operands = operands_of(ranks, np.dtype(np.float32), (8,))

    def build(b, x):
        attributes = {"replica_groups": (), "to_apply": b.reducer("maximum", x.dtype)}
        total = {"replica_groups": (), "to_apply": b.reducer("add", x.dtype)}
        parts = [
            b.emit("all-reduce", (x,), x.shape, x.dtype, chosen)
            for chosen in (attributes, total) * 8
        ]
        result = parts[0]
        for part in parts[1:]:
            result = b.subtract(part, result)
        return result

    def expected(rank):
        most, total = operands[0], operands[0]
        for other in operands[1:]:
            most, total = np.maximum(most, other), total + other
        result = most
        for part in [total, most] * 7 + [total]:
            result = part - result
        return result

    yield Case("many at once", build, operands, expected)


def cases(ranks: int, every: int) -> list[Case]:
    """Each `every`-th of them."""
    made: list[Case] = []
    for groups in groupings(ranks):
        made += [*reductions(ranks, groups), *movements(ranks, groups)]
        made += broadcasts(ranks, groups)
    made = made[::every]
    return made + [*large(ranks), *computed(ranks), *loops(ranks)]


def run(nrt: Nrt, case: Case, rank: int, ranks: int) -> str:
    """What differs in a case; nothing if nothing does."""
    x, expected = case.operands[rank], case.expected(rank)
    model = nrt.load(make_neff(case.build, x), rank=rank, world_size=ranks)
    inputs = nrt.tensor_set({"x0": nrt.tensor(x)})
    out = nrt.empty(expected.nbytes)
    outputs = nrt.tensor_set({"output0": out})
    for _ in range(2):
        nrt.execute(model, inputs, outputs)
    result = nrt.read(out, expected.shape, expected.dtype)
    nrt.unload(model)
    if np.array_equal(result.view(np.uint8), expected.view(np.uint8)):
        return ""
    return f"{case.text}: {result.ravel()[:6]} and not {expected.ravel()[:6]}"


def main(every: int) -> None:
    """Run the cases as the rank that the environment tells."""
    rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    wrong = 0
    with tempfile.TemporaryDirectory() as directory:
        os.environ.setdefault("NKIPY_EMULATOR_LOCK_DIR", str(Path(directory)))
        with Nrt().running() as nrt:
            for case in cases(ranks, every):
                difference = run(nrt, case, rank, ranks)
                if difference:
                    wrong += 1
                    sys.stdout.write(difference + "\n")
    sys.stdout.write(f"rank {rank}: {wrong} wrong\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
