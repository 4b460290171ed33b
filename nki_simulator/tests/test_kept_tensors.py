"""What a kernel keeps of another run is refused, at the line that uses it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
import nkipy_nki.neuronxcc.nki as first_nki
import nkipy_nki.neuronxcc.nki.language as first_nl

X = np.arange(128 * 16, dtype=np.float32).reshape(128, 16)


def tile(dtype: Any = nl.float32, shape: Any = (128, 16)) -> Any:
    made = nl.ndarray(shape, dtype)
    nisa.memset(made, 1.0 if made.dtype.is_float else 1)
    return made


def kept_by(make: Callable[[Any], Any]) -> Any:
    """What a run has made, and a kernel has kept."""
    held: list[Any] = []

    def kernel(x: Any) -> None:
        held.append(make(x))

    nki.simulate(kernel).run(X.copy())
    return held[0]


def tiles(_: Any) -> Any:
    return tile()


def in_hbm(_: Any) -> Any:
    return nl.ndarray(X.shape, nl.float32, buffer=nl.private_hbm)


def constant(_: Any) -> Any:
    return nl.shared_constant(X)


def index(_: Any) -> Any:
    return tile(nl.uint32, (1, 1))


def register(_: Any) -> Any:
    return nisa.register_alloc(1)


def sources(kept: Any, x: Any) -> None:
    nisa.dma_copy(tile(), kept)


def destinations(kept: Any, x: Any) -> None:
    nisa.dma_copy(kept, x)


def views(kept: Any, x: Any) -> None:
    nisa.dma_copy(tile(shape=(128, 4)), kept.reshape((128, 4, 4))[:, 1])


def in_a_list(kept: Any, x: Any) -> None:
    nisa.dma_compute(tile(), (kept, tile()), nl.add)


def indices(kept: Any, x: Any) -> None:
    nisa.dma_copy(tile(shape=(1, 16)), x[nl.ds(kept, 1)])


def selections(kept: Any, x: Any) -> None:
    nisa.dma_copy(tile(shape=(1, 16)), x.select(0, kept).expand_dim(0))


def patterns(kept: Any, x: Any) -> None:
    nisa.dma_copy(tile(shape=(4, 16)), x.ap([[16, 4], [1, 16]], scalar_offset=kept))


def bounds(kept: Any, x: Any) -> None:
    nl.fori_loop(0, kept, lambda i: None)


def conditions(kept: Any, x: Any) -> None:
    nl.while_loop(kept, lambda r: r)


def moves(kept: Any, x: Any) -> None:
    nisa.register_move(nisa.register_alloc(0), kept)


def language(kept: Any, x: Any) -> None:
    nl.add(kept, tile())


USES = [
    *[(made, use) for made in (tiles, in_hbm, constant) for use in (sources, views)],
    *[(made, use) for made in (tiles, in_hbm) for use in (destinations, in_a_list)],
    *[(index, use) for use in (indices, selections, patterns)],
    *[(register, use) for use in (indices, selections, patterns)],
    *[(register, use) for use in (bounds, conditions, moves)],
    (tiles, language),
]


@pytest.mark.parametrize("make, use", USES)
def test_what_another_run_makes_is_refused(
    make: Callable[[Any], Any], use: Callable[[Any, Any], None]
) -> None:
    kept = kept_by(make)
    with pytest.raises(nki.NkiValidationError, match="another run makes") as raised:
        nki.simulate(lambda x: use(kept, x)).run(X.copy())
    assert f"{__file__}:{use.__code__.co_firstlineno + 1}" in str(raised.value)


@pytest.mark.parametrize("make, use", USES)
def test_what_the_run_itself_makes_is_taken(
    make: Callable[[Any], Any], use: Callable[[Any, Any], None]
) -> None:
    def kernel(x: Any) -> None:
        made = make(x)
        if make is in_hbm:
            nisa.dma_copy(made, x)
        if use is not conditions:  # which would go on without end
            use(made, x)

    nki.simulate(kernel).run(X.copy())


def test_a_kept_tensor_is_no_result() -> None:
    kept = kept_by(lambda x: nl.shared_constant(X))
    with pytest.raises(nki.NkiValidationError, match="another run makes"):
        nki.simulate(lambda x: kept).run(X.copy())


def test_a_kept_argument_is_refused() -> None:
    kept = kept_by(lambda x: x)
    with pytest.raises(nki.NkiValidationError, match="is x .* another run makes"):
        nki.simulate(lambda y: sources(kept, y)).run(X.copy())


def test_the_first_generation_refuses_it_too() -> None:
    held: list[Any] = []

    def first(x: Any) -> None:
        held.append(first_nl.load(x))

    def second(x: Any, out: Any) -> None:
        first_nl.store(out, held[0])

    first_nki.simulate_kernel(first, X)
    with pytest.raises(nki.NkiValidationError, match="another run makes"):
        first_nki.simulate_kernel(second, X, np.zeros_like(X))


def test_cores_have_tensors_of_their_own() -> None:
    held: list[Any] = []

    def kernel(x: Any) -> None:
        held.append(tile())
        nisa.dma_copy(tile(), held[0])

    with pytest.raises(nki.NkiValidationError, match="another run makes"):
        nki.simulate(nki.jit(kernel)[2]).run(X.copy())
