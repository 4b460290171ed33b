"""Which libnrt to use, and why.

An explicit path wins; then the vendor's library, where there is a Neuron device; then
whatever is installed that offers one, as the emulator does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from ctypes.util import find_library
from dataclasses import dataclass
from glob import glob
from importlib.metadata import entry_points
from pathlib import Path

ENVIRONMENT_VARIABLE = "SPIKE_LIBNRT"
# libnrt's own: which cores a process may use, and how many.
_CHOOSING_CORES = "NEURON_RT_VISIBLE_CORES", "NEURON_RT_NUM_CORES"
VISIBLE_CORES, NUM_CORES = _CHOOSING_CORES
ENTRY_POINT_GROUP = "spike.libnrt"
DEVICES = "/dev/neuron*"
VENDOR_LIBRARY = Path("/opt/aws/neuron/lib/libnrt.so.1")


@dataclass(frozen=True)
class Library:
    """A libnrt: its path (or a name that the loader finds) and why it was chosen."""

    path: str
    reason: str


def locate() -> Library:
    """The libnrt that spike uses. Raises SpikeError if there is none."""
    broken: list[str] = []
    for library in _candidates(broken):
        return library
    from spike._spike import SpikeError

    why = (
        f"{ENVIRONMENT_VARIABLE} is not set, there is no Neuron device ({DEVICES}) "
        "with a libnrt.so.1, and no installed package offers one. To run on the "
        "CPU, install the wheel of nkipy-emulator that came with spike's."
    )
    if broken:
        why = f"entry points of {ENTRY_POINT_GROUP!r} cannot be loaded: "
    raise SpikeError("Spike Error: no libnrt found: " + why + "; ".join(broken))


def _candidates(broken: list[str]) -> Iterator[Library]:
    """In the order of preference; adds to `broken` what cannot be loaded, and why."""
    if path := os.environ.get(ENVIRONMENT_VARIABLE):
        yield Library(path, f"{ENVIRONMENT_VARIABLE} names it")
    if devices := sorted(glob(DEVICES)):
        vendors = VENDOR_LIBRARY if VENDOR_LIBRARY.exists() else find_library("nrt")
        if vendors:
            yield Library(str(vendors), f"a Neuron device is present ({devices[0]})")
    for offer in entry_points(group=ENTRY_POINT_GROUP):
        reason = f"no Neuron device is in use, and entry point {offer.name!r} offers it"
        try:
            path = str(offer.load()())
        except Exception as e:  # of another package, which may have any reason
            broken.append(f"{offer.name!r} ({offer.value}): {type(e).__name__}: {e}")
        else:
            yield Library(path, reason)


def facts() -> dict[str, str]:
    """Which libnrt is used, why, and what it has, by name: a line each in `report`.

    Raises:
        SpikeError: libnrt cannot be used.
    """
    import spike
    from spike._spike import NrtError, Spike, has_native_async

    library = locate()
    lines = {"spike": f"{spike.__version__} (Python {sys.version.split()[0]})"}
    lines |= {"libnrt": library.path, "chosen because": library.reason}
    lines["version"] = Spike.get_runtime_version()
    lines["async"] = "libnrt's own" if has_native_async() else "a thread of spike's"
    try:
        lines["visible cores"] = str(Spike.get_visible_neuron_core_count())
    except NrtError as error:
        lines["visible cores"] = f"none: {error}"
    return lines | {n: os.environ.get(n, "(not set)") for n in _CHOOSING_CORES}


def report() -> str:
    """What `python -m spike` says. Raises SpikeError if libnrt cannot be used."""
    lines = facts()
    width = max(map(len, lines)) + 2
    return "\n".join(f"{name + ':':{width}}{text}" for name, text in lines.items())
