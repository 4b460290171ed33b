"""One bounded cache of calls, for all functions of a process."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest

from nkipy.execution.call_cache import CALLS, CallCache
from nkipy.runtime import simulate_jit
from nkipy.runtime.guards import Guards


def test_the_least_recently_used_call_of_all_functions_goes_first():
    cache = CallCache(3)
    first, second = cache.table(), cache.table()
    first.put("a", 1)
    second.put("a", 2)
    first.put("b", 3)
    assert first.find("a") == 1
    second.put("b", 4)
    assert len(cache) == 3
    assert second.find("a") is None and second.find("b") == 4
    assert [first.find(k) for k in "ab"] == [1, 3]
    cache.limit = 1
    assert len(cache) == 1 and first.find("b") == 3
    with pytest.raises(ValueError, match="at least 1, but received 0"):
        cache.limit = 0


def test_a_guard_decides_whether_a_value_may_be_used():
    table = CallCache(2).table()
    state = [1]
    table.put("a", "old", lambda: state == [1])
    assert table.find("a") == "old"
    state[0] = 2
    assert table.find("a") is None and table.stale("a") == "old"
    table.put("a", "new", lambda: state == [2])
    assert table.find("a") == "new" and len(table) == 1


def test_calls_go_with_their_function_and_when_told_to():
    cache = CallCache(4)
    table, other = cache.table(), cache.table()
    table.put("a", 1)
    other.put("a", 2)
    assert len(cache) == 2
    del other
    gc.collect()
    assert len(cache) == 1 and table.values() == [1]
    table.clear()
    assert len(cache) == len(table) == 0 and table.newest_key() is None


def test_the_limit_comes_from_the_environment_when_it_is_needed(monkeypatch):
    monkeypatch.delenv("NKIPY_CALL_CACHE_SIZE", raising=False)
    assert CallCache().limit == 1024
    monkeypatch.setenv("NKIPY_CALL_CACHE_SIZE", "many")
    cache = CallCache()
    match = "^NKIPY_CALL_CACHE_SIZE must be a number from 1 up, but is 'many'$"
    with pytest.raises(ValueError, match=match):
        cache.table().put("a", 1)
    with pytest.raises(ValueError, match=match):  # before it is known what to put
        cache.table().find("a")
    monkeypatch.setenv("NKIPY_CALL_CACHE_SIZE", "7")
    assert cache.limit == 7


def test_a_guard_that_cannot_be_called_is_refused():
    with pytest.raises(TypeError, match="'holds'.*received 3"):
        CallCache(1).table().put("a", 1, holds=3)


def test_threads_may_share_it():
    cache = CallCache(8)
    wrong = []

    def work(n):
        table = cache.table()
        for i in range(500):
            table.put(i % 12, (n, i))
            found = table.find(i % 12)
            if found is not None and found != (n, i):
                wrong.append(found)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and len(cache) <= 8


def test_kernels_do_not_keep_every_program():
    kernel = simulate_jit(lambda x: x + 1)
    before = CALLS.limit
    try:
        CALLS.limit = 3
        for n in range(1, 7):
            assert (kernel(np.ones(n, np.float32)) == 2).all()
        assert kernel.cache_size() == len(CALLS) == 3
        assert (kernel(np.ones(1, np.float32)) == 2).all()
        kernel.clear_cache()
        assert kernel.cache_size() == 0
    finally:
        CALLS.limit = before


def test_nothing_is_hashed_on_a_warm_call(monkeypatch):
    weights = np.ones(1 << 16, np.float32)
    kernel = simulate_jit(lambda x: x + weights)
    x = np.zeros(1 << 16, np.float32)
    assert (kernel(x) == 1).all()

    def refuse(*args, **kwargs):
        pytest.fail("hashed")

    with monkeypatch.context() as context:
        for name in ("sha256", "sha1", "md5", "blake2b", "new"):
            context.setattr(f"hashlib.{name}", refuse)
        assert (kernel(x) == 1).all()
    weights[-1] = 5
    assert kernel(x)[-1] == 5


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "bool", "float8_e4m3"])
def test_writes_into_captured_arrays_are_noticed_bit_by_bit(dtype, order):
    import ml_dtypes  # noqa: F401  -- the dtypes' names

    array = np.zeros((3, 2), dtype, order)
    guards = Guards(lambda: array)
    assert guards.check is not None and guards.hold()
    array[2, 1] = 1
    assert not guards.hold()
    array[2, 1] = 0
    assert guards.hold()
    if dtype != "bool":
        array[0, 0] = -0.0
        assert not guards.hold()
    array[0, 0] = 0
    array.shape = (2, 3) if order == "C" else array.shape
    assert guards.hold() == (order == "F")


def test_what_captures_nothing_has_no_check():
    assert Guards(None).check is None
    assert Guards(len).check is not None
