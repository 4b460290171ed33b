"""Where a program does again what it has done before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.dtypes import float32
from nkipy.hlo.ir import HLOModule
from nkipy.hlo.rewrites.repetition import Run, ValueRow

OPCODES = ("negate", "sine", "tan")


def row_of(numbers: list[int]) -> ValueRow:
    """A chain of functions, which are alike if they are the same."""
    module = HLOModule("chain")
    x = module.add_parameter((4,), float32)
    values = []
    for number in numbers:
        x = HLOBuilder(module.entry).unary(OPCODES[number], x)
        values.append(x)
    return ValueRow(values, [x], lambda _, inst: inst.opcode)


@given(st.lists(st.integers(0, 2), min_size=1, max_size=4), st.integers(1, 9))
def test_eight_values_are_like_the_last_eight_that_are_so(step, times):
    numbers = step * times
    expected = []
    for end in range(8, len(numbers) + 1):
        window = numbers[end - 8 : end]
        before = [e for e in range(8, end) if numbers[e - 8 : e] == window]
        if before:
            expected.append(Run(end - 8, end, end - before[-1]))
    assert list(row_of(numbers).again()) == expected


def test_a_row_knows_who_reads_a_value_last():
    row = row_of([0, 1, 1, 2])
    assert [row.last_read[inst] for inst in row.values] == [1, 2, 3, 4]
    (x,) = row.values[0].operands
    assert row.last_read[x] == 0 and x not in row.position
