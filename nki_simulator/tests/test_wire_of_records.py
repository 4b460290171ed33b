"""Programs of every record, changed: each is refused in plain words, or it runs."""

from __future__ import annotations

import json
import random
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np
import pytest

from nkipy_nki.errors import NkiProgramError, NkiValidationError
from nkipy_nki.findings import FINDINGS, Findings
from nkipy_nki.program import Program
from nkipy_nki.records import INSTRUCTIONS, InstructionRecord
from nkipy_nki.replaying import replay
from nkipy_nki.wire import decode, encode
from tests.support.nki.damage import alter, damage, packed, unpacked
from tests.support.nki.samples import emit_sample, prepared

#: What only values show is not reported, so that meanings see what they never do else.
OFF = Findings(dict.fromkeys(FINDINGS, "off"))
#: What Python says, which no user is to read.
_RAW = ("the program cannot be run: ", "it is made otherwise")


@lru_cache(maxsize=1)
def _programs() -> list[tuple[str, bytes, bytes]]:
    """Of three samples of each record: its name, and its program's text and values."""
    made = []
    for name, record in sorted(INSTRUCTIONS.items()):
        for sample in islice(record.samples(), 3):
            if not sample.others:
                made.append((name, *_parts(record, sample)))
    return made


def _parts(record: InstructionRecord, sample: Any) -> tuple[bytes, bytes]:
    cores = prepared(record, sample)
    emit_sample(record, cores)
    return unpacked(encode((cores[0].run.program,)))


def _run(programs: tuple[Program, ...]) -> None:
    made = programs[0].allocations
    inputs = [made[number] for number in programs[0].inputs]
    if sum(one.nbytes for one in made) < 1 << 28:
        replay(programs, [np.ones(m.shape, m.dtype.element) for m in inputs], OFF)


def _change(seed: int, count: int) -> None:
    rng = random.Random(seed)
    programs = _programs()
    for number in range(count):
        name, text, values = programs[number % len(programs)]
        document = json.loads(text)
        (alter if rng.random() < 0.8 else damage)(document["programs"][0], rng)
        changed = json.dumps(document).encode()
        try:
            _run(decode(packed(changed, values)))
        except (NkiProgramError, NkiValidationError) as error:
            said = str(error)
            assert not any(raw in said for raw in _RAW), (name, said, changed)


def _document(name: str) -> tuple[Any, bytes]:
    _, text, values = next(one for one in _programs() if one[0] == name)
    return json.loads(text), values


def _decoded(document: Any, values: bytes) -> tuple[Program, ...]:
    return decode(packed(json.dumps(document).encode(), values))


def test_scales_have_no_index_that_differs_along_them() -> None:
    document, values = _document("nc_matmul_mx")
    (program,) = document["programs"]
    operands = program["body"][-1][1]
    scales = program["views"][operands["moving_scale"]["view"]]
    made = len(program["allocations"])
    shape = scales[3]
    row = ["sbuf", shape, "int32", "at", 0, None, "local", None]
    program["allocations"].append(row)
    program["views"].append([made, "int32", 0, shape, [shape[1], 1]])
    at = {"view": len(program["views"]) - 1}
    indexed = [*scales[:5], [at, 1, shape[1], 1, True]]
    program["views"].append(indexed)
    operands["moving_scale"] = {"view": len(program["views"]) - 1}
    with pytest.raises(NkiProgramError, match="moving_scale has an index that differs"):
        _decoded(document, values)


def test_every_record_has_a_program() -> None:
    apart = {n for n, r in INSTRUCTIONS.items() if all(s.others for s in r.samples())}
    assert {name for name, *_ in _programs()} == INSTRUCTIONS.keys() - apart


def test_changed_programs_of_all_records_are_refused_or_run() -> None:
    _change(0, 1200)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 9))
def test_many_more_are_refused_or_run(seed: int) -> None:
    _change(seed, 5000)
