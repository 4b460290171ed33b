"""What no result needs is dropped; parameters and side effects are not."""

from __future__ import annotations

import numpy as np

from nkipy.hlo.dtypes import float16, float32
from nkipy.hlo.rewrites.dead_code import eliminate_dead_code

X = np.zeros(3, np.float32)


def call(b, x, has_side_effect):
    attributes = {
        "custom_call_target": "anything",
        "has_side_effect": has_side_effect,
    }
    return b.emit("custom-call", (x,), x.shape, float32, attributes)


def opcodes(module):
    return [inst.opcode for inst in module.entry.instructions]


def test_only_what_is_needed_stays_in_its_order(module_of):
    def body(b, x, unused):
        b.negate(b.reverse(x, (0,)))  # what only the dead use is dead
        kept = b.negate(x)
        call(b, b.convert(x, float16), has_side_effect=True)
        call(b, x, has_side_effect=False)
        return b.add(kept, x)

    module = module_of(body, X, X)
    eliminate_dead_code(module)
    expected = ["parameter", "parameter", "negate", "convert", "custom-call", "add"]
    assert opcodes(module) == expected
    module.verify()


def test_a_module_without_dead_code_keeps_all(module_of):
    module = module_of(lambda b, x: (b.negate(x), x), X)
    before = list(module.entry.instructions)
    eliminate_dead_code(module)
    assert module.entry.instructions == before
