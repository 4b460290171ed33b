"""What tells whether elements of an array share memory."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nkipy.shared_elements import has_shared_elements


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(-7, 7)), min_size=1, max_size=3),
    st.sampled_from([np.uint8, np.float32]),
)
def test_elements_share_memory_if_two_addresses_are_one(axes, dtype):
    item = np.dtype(dtype).itemsize
    shape, strides = zip(*axes)
    room = np.zeros(400, np.uint8)[200 : 200 + item].view(dtype)
    array = np.lib.stride_tricks.as_strided(room, shape, strides)
    places = [
        sum(i * s for i, s in zip(index, strides)) + byte
        for index in np.ndindex(*shape)
        for byte in range(item)
    ]
    assert has_shared_elements(array) == (len(set(places)) < len(places))
