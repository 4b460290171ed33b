"""Arrays inside containers among a kernel's arguments, which stay bound to it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from inspect import Parameter
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.arguments import (
    UniqueNames,
    bind_arguments,
    is_array_like,
    require_array,
    signature_of,
)
from nkipy.core.tree import Path, map_tree
from nkipy.execution.device_arrays import is_device_array
from nkipy.runtime.device_tensor import DeviceTensor

_VARIADIC = Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD


class ContainedArrays:
    """The arrays in dicts, lists, tuples and dataclasses among a call's arguments.

    Those of the host are kept as they are: writing into one later changes nothing.
    Those of the device are used where they are.

    Args:
        func: the kernel.
        args, kwargs: its arguments.

    Raises:
        TypeError: they do not fit the function's signature.

    Attributes:
        key: tells these arrays from others: those of the host by shape, dtype and
            values, those of the device by which they are. "" if there are none.
    """

    def __init__(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._host: dict[str, np.ndarray] = {}
        self._device: dict[str, Any] = {}
        self._find(func, args, kwargs)
        self.key = self._digest() if self._host or self._device else ""

    def tensors(self, core_id: int) -> dict[str, Any]:
        """The arrays on a core, by the names of the kernel's parameters."""
        while self._host:
            name, array = self._host.popitem()
            self._device[name] = DeviceTensor.from_numpy(array, name, core_id)
        return self._device

    def _find(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        parameters = signature_of(func).parameters
        name_of = UniqueNames()

        def visit(path: Path, leaf: Any) -> None:
            if not is_array_like(leaf):
                return
            name = name_of(path)
            require_array(leaf, name)
            if len(path) > depth and 0 not in leaf.shape:
                self._keep(name, leaf)

        for key, value in bind_arguments(func, args, kwargs).arguments.items():
            # The items of *args and **kwargs are arguments themselves.
            depth = 2 if parameters[key].kind in _VARIADIC else 1
            map_tree(visit, value, (key,))

    def _keep(self, name: str, array: Any) -> None:
        if is_device_array(array):
            self._device[name] = array
        elif isinstance(array, np.ndarray):
            self._host[name] = np.array(array, dt.narrow(array.dtype), order="C")

    def _digest(self) -> str:
        made = hashlib.blake2b(digest_size=16)
        for name, array in self._host.items():
            made.update(f"{name} {array.shape} {array.dtype.name} ".encode())
            made.update(array.reshape(-1).view(np.uint8))
        for name, array in self._device.items():
            made.update(f"{name} at {id(array)} ".encode())
        return made.hexdigest()
