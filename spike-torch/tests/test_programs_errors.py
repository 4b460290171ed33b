"""Functions of compiled programs: what they refuse."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
import torch

import spike
import spike_torch
from spike_torch import programs
from spike_torch.programs import (
    Exact,
    Function,
    Input,
    Linear,
    Listed,
    PowersOfTwo,
    Result,
    Returned,
    Variant,
)

from .program_functions import F32, N, doubled, program, random, static

pytestmark = pytest.mark.usefixtures("filled_padding")


def test_buckets_that_cannot_be() -> None:
    for rule in (
        Listed(()),
        Linear(0, 1),
        PowersOfTwo(0),
        PowersOfTwo(1, -1),
        Listed((4, -1)),
    ):
        with pytest.raises(ValueError, match="buckets are numbers from 1 up"):
            doubled(rule)
    with pytest.raises(ValueError, match="a size is -1"):
        doubled().buckets_of([-1])


def test_bad_arguments() -> None:
    function = static()
    x = random(2, 3)
    with pytest.raises(
        RuntimeError, match=r"'y'\) is on meta: .*nkipy:0 or on the CPU"
    ):
        function([x, torch.empty(2, 3, device="meta")])
    with pytest.raises(RuntimeError, match=r"'x'\) is of Double: expected Float"):
        function([x.double(), x])
    with pytest.raises(ValueError, match=r"\[2, 4\]: expected \[2, 3\]"):
        function([x, random(2, 4)])
    with pytest.raises(ValueError, match=r"\[2\]: expected 2 dimensions"):
        function([x, random(2)])
    with pytest.raises(TypeError, match="takes 2 arguments, but received 1"):
        function([x])
    with pytest.raises(TypeError, match=r"'y'\) is expected to be a tensor.*int"):
        function([x, 3])
    with pytest.raises(TypeError, match="takes a list of its arguments"):
        function(x)
    with pytest.raises(RuntimeError, match="no elements in memory: it is sparse"):
        function([x, torch.eye(2, 3).to_sparse()])
    with pytest.raises(ValueError, match="has 1 sizes that vary, but received 2"):
        doubled()([x], sizes=[1, 2])
    with pytest.raises(ValueError, match="expected .5, 3., or padded .8, 3."):
        doubled()([x], sizes=[5])
    with pytest.raises(ValueError, match=r"dimension 0 is expected to be n"):
        doubled()([torch.ones(())])
    y = random(4, 3)
    y.untyped_storage().resize_(8)
    with pytest.raises(RuntimeError, match="needs a storage of 48 bytes"):
        doubled()([y])


def test_bad_descriptions() -> None:
    shape = (2, 3)
    given = [Input(0, F32, shape)]
    for change, text in (
        ({"inputs": [Input(1, F32, shape)]}, "no argument 1, but 1"),
        ({"returns": [Returned(1)]}, "no result 1"),
        ({"results": [Result(F32, shape, input=0)]}, "is to say so"),
        ({"returns": [Returned(0, (1, 1))]}, "permutes no 2"),
        ({"inputs": [Input(0, F32, (N, 3))]}, "no symbol 0"),
        ({"inputs": [Input(0, F32, shape, permutation=(0,))]}, "permutes no 2"),
    ):
        made: dict[str, Any] = {
            "symbols": [],
            "inputs": given,
            "results": [Result(F32, shape)],
            "returns": [],
        }
        with pytest.raises(ValueError, match=text):
            Function("f", ["x"], **(made | change), compile=lambda _: None)
    made = program(lambda b, x: b.add(x, x), (shape, np.float32))
    with pytest.raises(ValueError, match="shapes .* is described as"):
        Variant.of(made, [(3, 2)], [shape])
    function = Function(
        "f", ["x"], [], given, [], [], lambda _: Variant.of(made, [shape], [shape])
    )
    with pytest.raises(ValueError, match="'f' has 0 results, and a program of it 1"):
        function([random(*shape)])


def test_tensors_of_another_core_are_refused(two_cores: None) -> None:
    x = random(2, 3)
    with pytest.raises(RuntimeError, match="nkipy:0 and nkipy:1!"):
        static()([x, x.to("nkipy:1")])
    function = static(core=1)
    assert function([x.to("nkipy:1")] * 2)[0].device == torch.device("nkipy:1")


def test_compiling_that_calls_itself_is_refused() -> None:
    function = doubled(compile=lambda _: function([random(2, 3)]))
    with pytest.raises(RuntimeError, match="calls it with the same sizes"):
        function([random(2, 3)])


def test_out_of_memory_is_torchs() -> None:
    function = doubled(Exact())
    spike_torch.empty_cache()
    x = torch.ones(3 << 20, 3, device="nkipy")
    spike_torch.set_memory_limit(torch.nkipy.memory_reserved() + (8 << 20))
    with pytest.raises(torch.OutOfMemoryError, match="Tried to allocate 36.00 MiB"):
        function([x])
    spike_torch.set_memory_limit(None)
    assert function([x])[0][-1].tolist() == [2, 2, 2]


def test_a_failed_execution_says_what_the_device_says() -> None:
    with pytest.raises(spike.NrtError, match="it failed") as failed:
        programs._raise_failure(int(spike.NrtStatus.EXEC_BAD_INPUT), "it failed")
    assert failed.value.status == spike.NrtStatus.EXEC_BAD_INPUT
    with pytest.raises(torch.OutOfMemoryError, match="no room"):
        programs._raise_failure(int(spike.NrtStatus.RESOURCE), "no room")
    with pytest.raises(RuntimeError, match="closed"):
        programs._raise_failure(-1, "closed")


def test_a_forked_child_is_refused() -> None:
    function, x = static(), random(2, 3)
    function([x, x])
    child = os.fork()
    if child == 0:
        try:
            function([x, x])
        except RuntimeError as error:
            os._exit(0 if "forked subprocess" in str(error) else 1)
        os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert torch.equal(function([x, x])[0].cpu(), 2 * x.cpu())


def test_two_that_are_written_into_share_no_memory() -> None:
    shape = (2, 3)
    made = program(
        lambda b, x, y: (b.add(x, y), b.add(y, y)),
        *[(shape, np.float32)] * 2,
        aliases={0: 0, 1: 1},
    )
    function = Function(
        "both",
        ["x", "y"],
        [],
        [Input(0, F32, shape, is_written=True), Input(1, F32, shape, is_written=True)],
        [Result(F32, shape, input=0), Result(F32, shape, input=1)],
        [],
        lambda _: Variant.of(made, [shape] * 2, [shape] * 2),
    )
    base = random(3, 3)
    before = base.cpu().clone()
    with pytest.raises(ValueError, match="'x'.*share memory, and both are written"):
        function([base[:2], base[1:]])
    assert torch.equal(base.cpu(), before)
    x, y = random(2, 3), random(2, 3)
    before = x.cpu() + y.cpu()
    assert function([x, y]) == []
    assert torch.equal(x.cpu(), before)
