"""What joins cores, and how long an exchange over it takes: an estimate."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Link"]


@dataclass(frozen=True)
class Link:
    """What joins cores: NeuronLink in an instance, the network between instances.

    Attributes:
        latency_ns: from a core to the next one.
        gb_s: of one core's share, bytes per ns.
    """

    latency_ns: float
    gb_s: float

    def send_ns(self, nbytes: float) -> float:
        """How long bytes take to the next core."""
        return self.latency_ns + nbytes / self.gb_s

    def ring_ns(self, nbytes: float, cores: int, rounds: int = 1) -> float:
        """How long a collective takes by the ring algorithm.

        It takes as many steps as there are other cores, in each of which every core
        sends its part of the bytes on. The documents have faster algorithms for few
        bytes (mesh) and for some MiB (recursive doubling), without figures.

        Args:
            nbytes: of the larger of a core's source and destination.
            cores: how many take part.
            rounds: how often the ring is traversed: 2 for an all-reduce.
        """
        return rounds * (cores - 1) * self.send_ns(nbytes / cores)
