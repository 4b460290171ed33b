"""The latest calls of a model, recognised by the objects that they were made with.

The same objects under the same names mean the same shapes, dtypes and memory: what a
SpikeTensor is never changes, and what may change has a token, which tells. So nothing
needs to be validated again.
"""

from __future__ import annotations

import sys
import weakref
from typing import Any, NamedTuple

from spike._spike import PreparedCall, identity
from spike.device_array import SpikeArray

Arrays = dict[str, SpikeArray]

# Enough to alternate between buffers.
_SIZE = 4


class Remembered(NamedTuple):
    """A call, and the tokens of what may change; `kept` is for the key to mean them."""

    call: PreparedCall
    changing: list[tuple[weakref.ref[Any], Any]]
    kept: list[Any]


#: By `identity`; `recall` finds them. Tensors are not kept: a call goes with the first.
Calls = dict[bytes, Remembered]


def remember(
    calls: Calls, call: PreparedCall, *arguments: tuple[dict[str, Any] | None, Arrays]
) -> None:
    """This is the call with these inputs and outputs, which answered these arrays.

    One with None for the outputs is a call of its inputs only.
    """
    key = identity(*(tensors for tensors, _ in arguments))
    made = Remembered(call, [], [])
    for tensors, arrays in arguments:
        for name, tensor in (tensors or {}).items():
            reference = weakref.ref(tensor, lambda _: calls.pop(key, None))
            made.kept.extend((reference, name, sys.intern(str(name))))
            if (token := arrays[name].token) is not None:
                made.changing.append((reference, token))
    # Of a copy, as tensors may go, and their calls with them, at any time.
    for old in list(calls.copy())[: 1 - _SIZE]:
        calls.pop(old, None)
    calls[key] = made
