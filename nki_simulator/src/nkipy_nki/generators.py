"""Random bits of the engines, whose state kernels set and look at.

An engine has a generator for each partition, of so many words of 32 bits. Which bits
it makes of them no document says: here, each number is a hash of all words but the
last, and of the last, which counts. The same words give the same numbers, whatever the
machine, and numbers that were not made yet cost nothing.
"""

from __future__ import annotations

import numpy as np

from nkipy_nki.engines import Engine
from nkipy_nki.geometry import PARTITIONS

__all__ = ["WORDS", "Generators", "uniform"]

#: By engine, the words of a partition's state.
WORDS = {Engine.vector: 24, Engine.gpsimd: 6}
_GOLDEN = np.uint32(0x9E3779B9)


def _mixed(values: np.ndarray) -> np.ndarray:
    """A permutation of 32 bits, of which each bit depends on all (MurmurHash3's)."""
    values = values ^ (values >> np.uint32(16))
    values *= np.uint32(0x85EBCA6B)
    values ^= values >> np.uint32(13)
    values *= np.uint32(0xC2B2AE35)
    values ^= values >> np.uint32(16)
    return values


class Generators:
    """The generators of one engine of a core.

    Attributes:
        words: their state, (128, words): uint32.
    """

    def __init__(self, engine: Engine) -> None:
        self.words = np.zeros((PARTITIONS, WORDS[engine]), np.uint32)
        self.seed(0)

    def seed(self, number: int) -> None:
        """Set the state of all partitions by one number of 32 bits."""
        lanes, words = self.words.shape
        places = np.arange(1, lanes * words + 1, dtype=np.uint32) * _GOLDEN
        start = _mixed(np.array([number & 0xFFFFFFFF], np.uint32) + _GOLDEN)
        self.words[...] = _mixed(places ^ start).reshape(lanes, words)
        self.words[:, -1] = 0

    def bits(self, first: int, partitions: int, count: int) -> np.ndarray:
        """The next numbers of partitions from `first` on.

        Returns:
            (partitions, count): uint32.
        """
        lanes = self.words[first : first + partitions]
        keys = np.zeros((2, partitions), np.uint32)
        for word in lanes[:, :-1].T:
            keys[0] = _mixed(keys[0] ^ word) + _GOLDEN
            keys[1] = _mixed(keys[1] + word) ^ _GOLDEN
        counters = lanes[:, -1:] + np.arange(count, dtype=np.uint32)
        lanes[:, -1] += np.uint32(count & 0xFFFFFFFF)
        return _mixed(_mixed(counters ^ keys[0][:, None]) + keys[1][:, None])


def uniform(bits: np.ndarray) -> np.ndarray:
    """Float32 numbers from 0, evenly spread, less than 1, of 24 bits each."""
    return (bits >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)
