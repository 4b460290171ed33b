"""Registers the device with torch, once, or says why that is not possible."""

from __future__ import annotations

import threading

import torch

from spike_torch._name import NAME

#: What torch calls the device as long as nobody has taken it.
_UNTAKEN = "privateuseone"

_lock = threading.Lock()
_is_registered = False


def register() -> None:
    """Make torch know the device.

    Raises:
        ImportError: the extension was built for another torch, spike has no libnrt, or
            another package has taken torch's one free device.
        ValueError: NKIPY_TORCH_FALLBACK is none of the ways to fall back.
    """
    global _is_registered
    with _lock:
        if not _is_registered:
            _check_version()
            _check_untaken()
            _register()
            _is_registered = True


def _check_version() -> None:
    try:
        from spike_torch._built import TORCH_VERSION
    except ImportError as error:
        raise ImportError(f"spike-torch's extension is not built ({error})") from error
    found = str(torch.__version__)
    if found.split(".")[:2] != TORCH_VERSION.split(".")[:2]:
        raise ImportError(
            f"spike-torch was built for torch {TORCH_VERSION}, and this is torch "
            f"{found}: build it again, without isolation"
        )


def _check_untaken() -> None:
    name = torch._C._get_privateuse1_backend_name()
    if name != _UNTAKEN:
        raise ImportError(
            f'another package has registered torch\'s private device, as "{name}": a '
            "process has one"
        )


def _register() -> None:
    try:
        import spike_torch._C as _C
    except ImportError as error:
        raise ImportError(f"spike-torch's extension cannot be loaded: {error}") from (
            error
        )
    try:
        _C.register()
    except RuntimeError as error:
        raise ImportError(str(error)) from error
    torch.utils.rename_privateuse1_backend(NAME)
    from spike_torch import device_module, fallback

    torch._register_device_module(NAME, device_module)
    fallback.read_variable()
    torch.utils.generate_methods_for_privateuse1_backend(
        for_tensor=True,
        for_module=True,
        for_packed_sequence=True,
        for_storage=True,
    )
