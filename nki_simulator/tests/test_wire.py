"""Programs as bytes: the same again, and nothing but an error from what is damaged."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nkipy_nki.errors import NkiProgramError, NkiValidationError
from nkipy_nki.replaying import replay
from nkipy_nki.wire import _HEADER, _MAGIC, VERSION, decode, encode
from tests.support.nki.damage import damage

X = np.arange(8 * 16, dtype=np.float32).reshape(8, 16)


@nki.jit
def grown(x: Any) -> Any:
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    tile = nl.ndarray(x.shape, x.dtype, buffer=nl.sbuf)
    nisa.dma_copy(tile, x)

    def body(i: Any) -> None:
        nisa.tensor_tensor(tile, tile, tile, op=nl.add)

    nl.fori_loop(0, nisa.register_alloc(3), body)
    nisa.dma_copy(result, tile)
    return result


def _bytes() -> bytes:
    return encode(nki.simulate(grown).run(X).programs)


def test_a_program_runs_again_from_its_bytes_with_the_same_result() -> None:
    ran = nki.simulate(grown).run(X)
    data = encode(ran.programs)
    programs = decode(data)
    assert encode(programs) == data
    (again,) = replay(programs, [X])
    assert again.tobytes() == ran.values.tobytes()
    (other,) = replay(programs, [X + 1])
    np.testing.assert_array_equal(other, (X + 1) * 8)


def test_a_program_refuses_other_inputs() -> None:
    programs = decode(_bytes())
    for arrays in ([], [X, X], [X[:4]], [X.astype(np.int32)], [X.T.copy().T]):
        with pytest.raises(NkiProgramError):
            replay(programs, arrays)


def test_bytes_that_are_no_program_are_refused() -> None:
    data = _bytes()
    for wrong in (b"", b"x" * 100, data[:-1], data[:30], b"\0" + data[1:]):
        with pytest.raises(NkiProgramError, match="no NKI program"):
            decode(wrong)
    newer = _HEADER.pack(_MAGIC, VERSION + 1, 0) + data[_HEADER.size :]
    with pytest.raises(NkiProgramError, match=f"version {VERSION + 1}"):
        decode(newer)
    deep = b"[" * 100_000
    with pytest.raises(NkiProgramError):
        decode(_HEADER.pack(_MAGIC, VERSION, len(deep)) + deep)


@pytest.mark.parametrize("seed", range(8))
def test_a_damaged_program_is_refused_or_runs(seed: int) -> None:
    rng = random.Random(seed)
    text = _bytes()[_HEADER.size :]
    for _ in range(100):
        document = json.loads(text)
        damage(document, rng)
        damaged = json.dumps(document).encode()
        try:
            programs = decode(_HEADER.pack(_MAGIC, VERSION, len(damaged)) + damaged)
            replay(programs, [X.copy()])
        except (NkiProgramError, NkiValidationError):
            continue
