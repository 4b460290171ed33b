"""What there is to run on."""

from __future__ import annotations

from nkipy.execution.residency import LOADED


def is_neuron_compatible() -> bool:
    """Whether this process can run kernels on a NeuronCore, of silicon or emulated."""
    try:
        from spike._spike import Spike

        return Spike.get_visible_neuron_core_count() >= 1
    except Exception:  # no libnrt, no driver, no device: all the same answer
        return False


def max_loaded_kernels() -> int:
    """How many programs stay loaded; the least recently used gives way."""
    return LOADED.limit


def set_max_loaded_kernels(limit: int) -> None:
    """Change how many programs stay loaded (``NKIPY_MAX_LOADED_KERNELS``, or 256).

    Raises:
        ValueError: the limit is less than 1.
    """
    LOADED.limit = limit


def unload_kernels() -> int:
    """Free what idle kernels occupy of the cores' memory. Returns how many there were.

    Those of ``baremetal_jit`` load again when they are called next; a
    :class:`DeviceKernel` cannot be called any more, and is loaded anew by
    ``compile_and_load``.
    """
    from nkipy.runtime.device_kernel import _LOADED_KERNELS

    return _LOADED_KERNELS.unload_all() + LOADED.evict()
