"""A module that knows its rank."""

from __future__ import annotations

import numpy as np

from nkipy.hlo.dtypes import int32, uint32
from nkipy.hlo.rewrites.ranks import as_rank


def test_replica_id_is_the_rank(module_of, engine) -> None:
    def body(b, x):
        own = b.convert(b.emit("replica-id", (), (), uint32), int32)
        return b.add(x, b.broadcast_to(own, x.shape)), b.negate(x)

    x = np.arange(3, dtype=np.int32)
    module = module_of(body, x)
    before = module.serialize()
    copy = as_rank(module, 5)
    copy.verify()
    assert "replica-id" not in {i.opcode for i in copy.instructions()}
    assert copy.results[1] is module.results[1]
    results = [np.empty_like(x) for _ in range(2)]
    engine.compile(copy).run([x], results)
    np.testing.assert_array_equal(results[0], x + 5)
    assert module.serialize() == before
