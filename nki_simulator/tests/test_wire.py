"""Programs as bytes: the same again, and nothing but an error from what is damaged."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nkipy_nki.embedding import interface, run
from nkipy_nki.errors import NkiProgramError
from nkipy_nki.replaying import replay
from nkipy_nki.wire import decode, encode
from nkipy_nki.wire.framing import VERSION
from tests.support.nki.damage import packed, run_damaged, unpacked

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
    newer = packed(*unpacked(data), VERSION + 1)
    with pytest.raises(NkiProgramError, match=f"version {VERSION + 1}"):
        decode(newer)
    deep = b"[" * 100_000
    with pytest.raises(NkiProgramError):
        decode(packed(deep))


def _document() -> tuple[Any, Any]:
    """A program as JSON has it, and the one core's part of it."""
    document = json.loads(unpacked(_bytes())[0])
    return document, document["programs"][0]


def _packed(document: Any, rest: bytes = b"") -> bytes:
    return packed(json.dumps(document).encode(), rest)


def _refused(data: bytes) -> str:
    with pytest.raises(NkiProgramError) as caught:
        decode(data)
    return str(caught.value).removeprefix("this is no NKI program that can be run: ")


def test_constants_do_not_share_bytes() -> None:
    document, program = _document()
    size, first = 1 << 10, len(program["allocations"])
    for number in range(first, first + 3):
        row = ["private_hbm", [size], "uint8", "", 0, None, "constant", None]
        program["allocations"].append(row)
        program["constants"].append([number, 0, size])
    assert _refused(_packed(document, bytes(size))) == (
        "its constants are 3072 bytes, and 1024 are behind its text"
    )
    assert len(decode(_packed(document, bytes(3 * size)))) == 1
    program["constants"].append([first, 0, size])
    assert "has values already" in _refused(_packed(document, bytes(4 * size)))


def _indexed_by_indices(levels: int, links: int) -> bytes:
    """Each of so many views has the one before as an index, several times."""
    document, program = _document()
    made = len(program["allocations"])
    row = ["shared_hbm", [1], "int32", "", 0, None, "local", None]
    program["allocations"].append(row)
    views = program["views"]
    views.append([made, "int32", 0, [1], [1]])
    for _ in range(levels):
        index: list[Any] = []
        for _ in range(links):
            more = [index] if index else []
            index = [{"view": len(views) - 1}, 0, 9, None, False, *more]
        views.append([made, "int32", 0, [1], [1], index])
    return _packed(document)


def test_an_access_reads_a_bounded_number_of_indices() -> None:
    decode(_indexed_by_indices(64, 1))
    decode(_indexed_by_indices(5, 2))
    for levels, links in ((65, 1), (6000, 1), (6, 2), (60, 2)):
        said = _refused(_indexed_by_indices(levels, links))
        assert "indices are read to find the elements of this view" in said
        assert said.startswith("views[")
    assert _refused(_indexed_by_indices(1, 40)).endswith("a view has too many indices")


def test_a_program_that_writes_to_its_input_is_refused() -> None:
    document, program = _document()
    ((_, operands, attributes, *_),) = program["body"][:1]
    copy = {"dst": operands["src"], "src": operands["dst"]}
    program["body"].append(["dma_copy", copy, attributes, 4, 0])
    data, x = _packed(document), X.copy()
    for call in (lambda: interface(data), lambda: run(data, [x], [np.zeros_like(x)])):
        with pytest.raises(NkiProgramError, match=r"writes to its input x \[8, 16\]"):
            call()
    np.testing.assert_array_equal(x, X)
    program["inputs"].append(program["inputs"][0])
    assert "is one already" in _refused(_packed(document))


def test_what_needs_more_memory_than_there_is_is_said_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_memory(*_: Any) -> None:
        raise MemoryError

    programs = decode(_bytes())
    for place in (
        "executing.execute",
        "replaying._take_arrays",
        "replaying.require_written",
    ):
        with monkeypatch.context() as patch:
            patch.setattr(f"nkipy_nki.{place}", no_memory)
            with pytest.raises(NkiProgramError, match="needs more memory than there"):
                replay(programs, [X])


#: Where in a program, what is put there, and what is said.
_WRONG: list[tuple[str, Any, str]] = [
    ("body 0", ["dma_copy"], "body[0]: ['dma_copy'] is no instruction: that is a list"),
    ("body 0", None, "body[0]: None is no instruction"),
    ("body 0 0", "dma_copies", "body[0]: no instruction is called 'dma_copies'"),
    ("body 0 1", 7, "body[0]: a int stands for a dict"),
    ("body 0 1", {}, "body[0]: the operands of dma_copy lack dst, src"),
    ("body 0 1 src", {"views": 0}, "body[0]: src: {'views': 0} is no operand"),
    ("body 0 1 src", {"view": 99}, "body[0]: src: a view's number is 99, and must be"),
    ("body 0 2 x", 7, "body[0]: the attributes of dma_copy have 'x' among them"),
    ("body 0 2 oob_mode", {"x": 7}, "oob_mode is {'x': 7}, which is no value"),
    ("body 0 2 oob_mode", {"enum": 7}, "body[0]: 7 is no value of an enumeration"),
    ("body 0 2 oob_mode", {"enum": ["oob_mode", "x"]}, "oob_mode is 'x', and must be"),
    ("body 0 3", "dma", "body[0]: engine is 'dma', and must be one of 0, 1"),
    ("body 0 4", -1, "body[0]: line is -1, and must be a whole number from 0 on"),
    ("body 2 loop 0", 7, "body[2]: 7 is no register: that is a list of number, dtype"),
    ("body 2 loop 1", [0], "body[2]: [0] is no bounds of a loop"),
    ("body 2 loop 1 2", 0, "body[2]: step is 0, and must be a whole number from 1 on"),
    ("body 2 loop 3 0", 7, "body[2].body[0]: 7 is no instruction"),
    ("allocations 0", 7, "allocations[0]: 7 is no tensor: that is a list of region"),
    ("allocations 0 0", "x", "allocations[0]: region is 'x', and must be one of"),
    ("allocations 0 1", 8, "allocations[0]: shape is 8, and must be a list"),
    ("allocations 0 2", "float", "allocations[0]: dtype is 'float', which is no"),
    ("allocations 0 6", [], "allocations[0]: role is [], and must be local, input or"),
    ("allocations 2 1", [], "[] float32 in sbuf has no dimension, and the first is"),
    ("allocations 0 1", [0, 16], "allocations[0]: shape is 0, and must be a whole num"),
    ("views 0 3", [8, 0], "views[0]: shape is 0, and must be a whole number from 1 on"),
    ("views 0", [], "views[0]: [] is no view: that is a list of tensor, dtype"),
    ("views 0 3", [8], "views[0]: it has 1 counts and 2 strides"),
    ("lines 0", "x", "lines[0]: 'x' is no line: that is a list of file, number"),
    ("lines 0", ["k.py", 1, "f", 0], "lines[0]: line is 0"),
    ("inputs 0", None, "inputs[0]: an input is None, and must be a whole number"),
    ("edges", [[0, 0, 9]], "edges[0]: kind is 9, and must be one of"),
    ("chip", "x", "no chip is called 'x'"),
]


@pytest.mark.parametrize("where, wrong, said", _WRONG)
def test_a_wrong_program_is_told_by_place_and_field(
    where: str, wrong: Any, said: str
) -> None:
    document, place = _document()
    *path, last = (int(k) if k.isdigit() else k for k in where.split())
    for key in path:
        place = place[key]
    place[last] = wrong
    assert said in _refused(_packed(document))


def test_text_that_is_no_json_is_said_so() -> None:
    for text in (b"{", b"\xff\xfe", b"[1] 2"):
        said = _refused(packed(text))
        assert said.startswith("its text is no JSON (")


@pytest.mark.parametrize("seed", range(8))
def test_a_damaged_program_is_refused_or_runs(seed: int) -> None:
    run_damaged(_bytes(), seed, [X])
