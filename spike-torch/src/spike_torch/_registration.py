"""Registers the device with torch, once, or says why that is not possible."""

from __future__ import annotations

import os
import threading

import torch

from spike import SpikeError
from spike._spike import has_native_async
from spike_torch._names import (
    DEFAULT_EXECUTION,
    DEFAULT_POLICY,
    EXECUTION_VARIABLE,
    EXECUTIONS,
    NAME,
    POLICIES,
    POLICY_VARIABLE,
)
from spike_torch.aten import kept

#: What torch calls the device as long as nobody has taken it.
_UNTAKEN = "privateuseone"

#: Which core a process is for, as torchrun counts the processes of a machine.
LOCAL_RANK = "LOCAL_RANK"
#: As spike.library, which takes long to import, has it.
VISIBLE_CORES = "NEURON_RT_VISIBLE_CORES"

_lock = threading.Lock()
_is_registered = False
_core_of_rank: str | None = None


def register() -> None:
    """Make torch know the device.

    Raises:
        ImportError: the extension was built for another torch, spike has no libnrt, or
            another package has taken torch's one free device; LOCAL_RANK is no core.
        ValueError: NKIPY_TORCH_FALLBACK is none of the ways to fall back, or
            NKIPY_TORCH_EXECUTION none of those to execute.
    """
    global _is_registered
    with _lock:
        if not _is_registered:
            _check_version()
            _check_untaken()
            _check_libnrt()
            choose_core()
            _register(read_policy(), read_execution())
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
    key = torch._C.DispatchKey.PrivateUse1
    has_kernels = torch._C._dispatch_has_backend_fallback(key) or (
        torch._C._dispatch_has_kernel_for_dispatch_key("aten::empty.memory_format", key)
    )
    if name != _UNTAKEN or has_kernels:
        raise ImportError(
            f'another package has registered torch\'s private device, as "{name}": a '
            "process has one"
        )


def _check_libnrt() -> None:
    """Before the extension is loaded, which registers operators when it is."""
    try:
        has_native_async()
    except SpikeError as error:
        raise ImportError(str(error)) from error


def choose_core() -> None:
    """Have the process see the core of its rank, where a launcher has given it one.

    Raises:
        ImportError: the rank is no core's number.
    """
    rank = os.environ.get(LOCAL_RANK)
    if not rank or VISIBLE_CORES in os.environ:
        return
    from spike import configure

    global _core_of_rank
    try:
        configure(visible_cores=[int(rank)])
        _core_of_rank = os.environ[VISIBLE_CORES]
    except ValueError as error:
        raise ImportError(f"{LOCAL_RANK}={rank!r} is no core: {error}") from error
    except RuntimeError:
        pass  # the runtime is open already, on cores that somebody else chose


def core_of_rank() -> str | None:
    """What choose_core has made visible, and not the user; None: it chose none."""
    return _core_of_rank


def read_policy() -> str:
    """What the environment says of operations that fall back to the CPU.

    Raises:
        ValueError: it names no policy.
    """
    policy = os.environ.get(POLICY_VARIABLE) or DEFAULT_POLICY
    if policy not in POLICIES:
        raise ValueError(
            f"{POLICY_VARIABLE} is one of {', '.join(POLICIES)}: {policy!r}"
        )
    return policy


def read_execution() -> str:
    """What the environment says of who computes operations.

    Raises:
        ValueError: it names nobody.
    """
    execution = os.environ.get(EXECUTION_VARIABLE) or DEFAULT_EXECUTION
    if execution not in EXECUTIONS:
        raise ValueError(
            f"{EXECUTION_VARIABLE} is one of {', '.join(EXECUTIONS)}: {execution!r}"
        )
    return execution


def _register(policy: str, execution: str) -> None:
    try:
        import spike_torch._C as _C
    except ImportError as error:
        raise ImportError(f"spike-torch's extension cannot be loaded: {error}") from (
            error
        )
    try:
        _C.register(
            {
                name: (
                    list(known.host_arguments),
                    known.cast,
                    known.runs,
                    list(known.writes),
                )
                for name, known in kept.OPERATORS.items()
                if known.is_special
            }
        )
    except RuntimeError as error:
        raise ImportError(str(error)) from error
    torch.utils.rename_privateuse1_backend(NAME)
    from spike_torch import arrays, device_module, fallback, processes

    torch._register_device_module(NAME, device_module)
    fallback.set_fallback(policy)
    _C.set_execution(execution)
    processes.register()
    arrays.speak_protocol()
    torch.utils.generate_methods_for_privateuse1_backend(
        for_tensor=True,
        for_module=True,
        for_packed_sequence=True,
        for_storage=True,
    )
    # As those of torch's other devices, it may move what has no shape yet.
    mixin = vars(torch.nn.parameter)["UninitializedTensorMixin"]
    mixin._allowed_methods.append(getattr(torch.Tensor, NAME))
