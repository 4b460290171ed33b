"""The bytes of tiles: let go with the last view that a kernel has, and used again."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nkipy_nki.memory import _Spare
from nkipy_nki.replaying import replay
from nkipy_nki.running import current
from nkipy_nki.watching import Watch, watching
from nkipy_nki.wire import decode, encode

X = np.arange(128 * 64, dtype=np.float32).reshape(128, 64)


def _held() -> int:
    """How many tensors have bytes in the run of this kernel."""
    machine = current("a test").machine
    assert machine is not None
    return len(machine.memory._storages)


@nki.jit
def many(x: Any) -> Any:
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    total = nl.zeros(x.shape, x.dtype)
    for _ in range(20):
        tile = nl.load(x)
        total = nl.add(total, tile)
    assert _held() < 8
    nl.store(result, total)
    return result


def test_tiles_that_a_kernel_has_no_more_take_no_memory() -> None:
    ran = nki.simulate(many).run(X)
    np.testing.assert_array_equal(ran.values, 20 * X)
    (again,) = replay(decode(encode(ran.programs)), [X])
    assert again.tobytes() == ran.values.tobytes()


@pytest.mark.parametrize("columns", [1 << 14, 1 << 17])  # 8 MiB and 64 MiB
@pytest.mark.parametrize("level", ["error", "off"])
def test_a_partly_written_result_takes_its_own_memory_and_its_marks(
    columns: int, level: str
) -> None:
    def kernel(x: Any) -> Any:
        result = nl.ndarray((128, columns), x.dtype, buffer=nl.shared_hbm)
        nl.store(result[0:128, 3:67], nl.load(x))
        nl.store(result[0:128:2, 80:144], nl.load(x[0:64]))
        return result

    simulator = nki.simulate(kernel, findings={"output-not-written": level})
    expected = np.zeros((128, columns), np.float32)
    expected[:, 3:67], expected[::2, 80:144] = X, X[:64]
    tracemalloc.start()
    try:
        if level == "off":
            np.testing.assert_array_equal(simulator(X)[:, :200], expected[:, :200])
        else:
            with pytest.raises(nki.NkiValidationError, match=r"first at \[0, 0\]"):
                simulator(X)
        assert tracemalloc.get_traced_memory()[1] < 1.6 * expected.nbytes
    finally:
        tracemalloc.stop()


def test_a_view_keeps_its_tile() -> None:
    @nki.jit
    def kernel(x: Any) -> Any:
        result = nl.ndarray((128, 8), x.dtype, buffer=nl.shared_hbm)
        part = nl.load(x)[:, 8:16]
        others = [nl.load(x) for _ in range(3)]
        del others
        nl.store(result, part)
        return result

    np.testing.assert_array_equal(kernel(X), X[:, 8:16])


def test_bytes_that_are_used_again_are_not_written_for_the_checks() -> None:
    @nki.jit
    def kernel(x: Any) -> Any:
        result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        first = nl.load(x)
        nl.store(result, first)
        del first
        second = nl.ndarray(x.shape, x.dtype)
        nl.store(result, second)
        return result

    with pytest.raises(nki.NkiValidationError, match="never written"):
        kernel(X)


def test_bytes_of_another_run_are_not_seen() -> None:
    nki.simulate(many).run(X)

    @nki.jit
    def kernel(x: Any) -> Any:
        result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        tile = nl.ndarray(x.shape, x.dtype)
        nisa.dma_copy(tile[:, :8], x[:, :8])
        nl.store(result, tile)
        return result

    given = nki.simulate(kernel, findings={"uninitialized-read": "off"})(X)
    np.testing.assert_array_equal(given[:, :8], X[:, :8])
    assert not given[:, 8:].any()


def test_few_bytes_are_kept_for_tiles_to_come() -> None:
    spare = _Spare()
    spare.most = 100
    for count in (40, 40, 40, 30, 101, 10, 90):
        spare.give(np.empty(count, np.uint8))
        kept = [size * len(parts) for size, parts in spare._by_size.items()]
        assert sum(kept) == spare._total <= 100
    assert spare.take(90).size == 90
    assert spare.take(91).size == 91


def test_spare_bytes_given_in_the_midst_of_giving_are_counted_right() -> None:
    class Collects(_Spare):
        def _keep(self, data: np.ndarray) -> None:
            self.give(np.empty(data.size, np.uint8))  # as a collection may
            super()._keep(data)

    spare = Collects()
    for count in (40, 40, 30):
        spare.give(np.empty(count, np.uint8))
    kept = {size: len(parts) for size, parts in spare._by_size.items()}
    assert kept == {40: 2, 30: 1} and spare._total == 110


def test_a_loops_tile_is_there_in_every_iteration() -> None:
    @nki.jit
    def kernel(x: Any) -> Any:
        result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        total = nl.zeros(x.shape, x.dtype)

        def body(i: Any) -> None:
            tile = nl.load(x)
            nisa.tensor_tensor(total, total, tile, op=nl.add)

        nl.fori_loop(0, 3, body)
        nl.store(result, total)
        return result

    ran = nki.simulate(kernel).run(X)
    np.testing.assert_array_equal(ran.values, 3 * X)
    (again,) = replay(decode(encode(ran.programs)), [X])
    np.testing.assert_array_equal(again, 3 * X)


def test_a_watch_finds_tiles_at_the_end() -> None:
    @nki.jit
    def kernel(x: Any) -> Any:
        result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        tile = nl.ndarray(x.shape, x.dtype, name="tile")
        nisa.dma_copy(tile, x)
        nl.store(result, tile)
        del tile
        nl.load(x)
        return result

    watch = Watch(name="tile", reference=X)
    with watching(watch):
        kernel(X)
    assert watch.divergence is None
