"""What a bound call reads: arrays of the device, watched, and copies from the host."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from nkipy.execution.device_arrays import is_device_array
from nkipy.execution.names import host_array
from nkipy.hlo.ir import TensorPlaceholder
from spike import NrtTensor

#: Of what is no answer: who binds anew says so.
_NO_TOKEN = object()


class Watched:
    """Arrays whose answer can change, and by which token to tell."""

    def __init__(self) -> None:
        self._tokens: list[tuple[Any, Hashable]] = []

    def add(self, array: Any, token: Hashable | None) -> None:
        """Watch `array`, unless its answer never changes."""
        if token is not None:
            self._tokens.append((array, token))

    def is_unchanged(self) -> bool:
        """Whether all arrays still answer as they did."""
        for array, token in self._tokens:
            if getattr(array.__spike_array__(), "token", _NO_TOKEN) != token:
                return False
        return True


class Inputs:
    """The parameters of a call, bound.

    Attributes:
        written: the device array of each parameter that is written into, by its place.
        used: the memory of each parameter.
        watched: the device arrays among them.
        uploads: by name, those that come from the host, and where they go.
    """

    def __init__(self, written: dict[int, Any]) -> None:
        self.written = written
        self.used: list[NrtTensor] = []
        self.watched = Watched()
        self.uploads: dict[str, tuple[NrtTensor, TensorPlaceholder]] = {}

    def take(self, inputs: Mapping[str, Any]) -> bool:
        """Copy arrays of the host to where they go; whether that is all there is to do.

        Raises:
            BindingError: one has another shape or dtype.
        """
        if not isinstance(inputs, Mapping):
            return False
        if inputs.keys() != self.uploads.keys() or not self.watched.is_unchanged():
            return False
        for name, array in inputs.items():
            if is_device_array(array):
                return False
            tensor, spec = self.uploads[name]
            tensor.write(host_array(array, spec))
        return True
