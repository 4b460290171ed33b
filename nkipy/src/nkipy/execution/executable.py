"""A NEFF as something to call with arrays."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

import spike
from neff import NeffError, read_neff
from nkipy.core.errors import NKIPyValueError
from nkipy.execution.residency import LOADED
from nkipy.hlo.ir import HLOInstruction, HLOModule
from spike import NrtError, NrtTensor, SpikeError, SpikeTensor
from spike._spike import NeffFileError, PreparedCall

logger = logging.getLogger("nkipy.baremetal")

_NRT_RESOURCE = 4
_RESIDENT_CALLS = 16
_NRT_BAD_FILE = (2, 10)  # NRT_INVALID, NRT_UNSUPPORTED_NEFF_VERSION


class NeffExecutable:
    """A compiled module on one core; NumPy arrays and device tensors go in and out.

    It loads itself on the first call, with device memory for all its arrays, and again
    when it has been unloaded since, or the runtime has been reset.

    Args:
        neff: the compiled module; the file must stay.
        module: the module, all of whose parameters and results have elements.
        core_id: the core, counted among the visible ones.
        rebuild: makes the file again, if it turns out to be gone or damaged.

    Attributes:
        ntff: where calls write a profile; None: nowhere.
    """

    def __init__(
        self,
        neff: Path,
        module: HLOModule,
        core_id: int = 0,
        rebuild: Callable[[], object] | None = None,
    ) -> None:
        self.neff = neff
        self.module = module
        self.core_id = core_id
        self.ntff: Path | None = None
        self._rebuild = rebuild
        self._lock = threading.Lock()
        self._loaded: _Loaded | None = None

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An array for a result, which is copied from the device anyhow."""
        return np.empty(shape, dtype)

    @property
    def is_loaded(self) -> bool:
        """Whether it occupies its core's memory."""
        return self._loaded is not None

    def run(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Execute once.

        Args:
            inputs: C-contiguous arrays of the parameters' shapes and dtypes, or device
                tensors of their sizes, used in place.
            outputs: C-contiguous arrays, which are written when all else has succeeded,
                or, for results that alias one, the device tensor of that parameter.

        Raises:
            NrtError: the device failed; `outputs` and NumPy inputs are as before.
        """
        with self._lock:
            loaded = self._loaded
            if loaded is None:
                loaded = self._load()
            elif LOADED.newest != id(self):
                LOADED.use(self)
            try:
                loaded.run(inputs, outputs, self.ntff)
            except SpikeError:
                if loaded.is_current():
                    raise
                self._load().run(inputs, outputs, self.ntff)

    def unload(self) -> None:
        """Free the core's memory, after a running call has ended."""
        with self._lock:
            self._unload()
        LOADED.discard(self)

    def unload_if_idle(self) -> bool:
        """Unload unless a call is running. Returns whether that was done."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            self._unload()
        finally:
            self._lock.release()
        return True

    def _unload(self) -> None:
        loaded, self._loaded = self._loaded, None
        if loaded is not None:
            loaded.free()

    def _load(self) -> _Loaded:
        self._loaded = None
        LOADED.check()
        try:
            loaded = self._load_into_free_memory()
        except (NrtError, SpikeError) as error:
            if self._rebuild is None or not _is_damaged(self.neff, error):
                raise
            logger.warning("%s is damaged; compiling it again", self.neff)
            self._rebuild()
            loaded = self._load_into_free_memory()
        self._loaded = loaded
        LOADED.use(self)
        return loaded

    def _load_into_free_memory(self) -> _Loaded:
        """Load; if memory is short, at the expense of programs that are idle."""
        try:
            return _Loaded(self.neff, self.module, self.core_id)
        except NrtError as error:
            if error.status != _NRT_RESOURCE or not LOADED.evict(keep=self):
                raise
        # Only here is the exception gone, and with it the tensors of the first attempt.
        logger.info("%s: unloaded idle kernels to make room", self.neff)
        return _Loaded(self.neff, self.module, self.core_id)


def _is_damaged(neff: Path, error: NrtError | SpikeError) -> bool:
    """Whether loading failed because of the file: missing, truncated, changed.

    The status does not tell: a core that there is not, or another number of physical
    cores, is the same NRT_INVALID, and compiling again would take long for nothing.
    """
    if isinstance(error, NeffFileError):
        return True
    if not isinstance(error, NrtError) or error.status not in _NRT_BAD_FILE:
        return False
    try:
        read_neff(neff, validate_hash=True)
    except (NeffError, OSError):
        return True
    return False


class _Loaded:
    """A model on its core, with a tensor for each of its inputs and outputs."""

    def __init__(self, neff: Path, module: HLOModule, core_id: int) -> None:
        self.runtime = spike.get_spike_singleton()
        self.core_id = core_id
        self.names = [p.name for p in module.inputs]
        self.output_names = [o.name for o in module.outputs]
        self.sizes = [_nbytes(p) for p in module.parameters]
        self.aliases = module.input_output_alias
        self.model = self.runtime.load_model(str(neff), core_id)
        self.inputs = [
            self._allocate(size, name) for size, name in zip(self.sizes, self.names)
        ]
        self.outputs = [
            self.inputs[self.aliases[i]]
            if i in self.aliases
            else self._allocate(_nbytes(result), name)
            for i, (result, name) in enumerate(zip(module.results, self.output_names))
        ]
        self.call = self._prepare(self.inputs, self.outputs)
        self.resident_calls: dict[tuple[int, ...], PreparedCall] = {}

    def _allocate(self, size: int, name: str) -> NrtTensor:
        return self.runtime.allocate_tensor(size, self.core_id, name)

    def is_current(self) -> bool:
        """Whether the runtime that this was loaded into is still open."""
        return not self.runtime.is_closed

    def free(self) -> None:
        """Give all memory back now, whoever still refers to this."""
        self.model.unload()
        for tensor in (*self.inputs, *self.outputs):
            tensor.free()

    def run(
        self, inputs: Sequence[Any], outputs: Sequence[Any], ntff: Path | None
    ) -> None:
        call: PreparedCall | None = self.call
        for tensor, array in zip(self.inputs, inputs):
            if type(array) is np.ndarray:
                tensor.write(array)
            else:
                call = None
        if call is None:
            call = self._resident_call(inputs)
        if ntff is None:
            call.execute()
        else:
            call.profile(str(ntff))
        self._read(outputs)

    def _prepare(
        self, inputs: list[NrtTensor], outputs: list[NrtTensor]
    ) -> PreparedCall:
        return self.model.prepare(
            dict(zip(self.names, inputs)), dict(zip(self.output_names, outputs))
        )

    def _resident_call(self, inputs: Sequence[Any]) -> PreparedCall:
        """The call with the caller's tensors; calls keep no tensor alive."""
        used, made = self._with_resident(inputs)
        key = tuple(map(id, used))
        call = self.resident_calls.get(key)
        if call is None or not call.is_valid:  # freed, and another has its id
            if len(self.resident_calls) >= _RESIDENT_CALLS:
                self.resident_calls.clear()
            call = self.resident_calls[key] = self._prepare(used, made)
        return call

    def _with_resident(
        self, inputs: Sequence[Any]
    ) -> tuple[list[NrtTensor], list[NrtTensor]]:
        """Our tensors, with the caller's in place of those that are on the device."""
        used = list(self.inputs)
        for i, array in enumerate(inputs):
            if isinstance(array, SpikeTensor):
                used[i] = self._checked(i, array.tensor_ref)
        made = list(self.outputs)
        for output, parameter in self.aliases.items():
            made[output] = used[parameter]
        return used, made

    def _checked(self, index: int, tensor: NrtTensor) -> NrtTensor:
        name = self.names[index]
        if tensor.core_id != self.core_id:
            raise NKIPyValueError(
                f"argument '{name}' is on core {tensor.core_id}, but the kernel runs "
                f"on core {self.core_id}"
            )
        if tensor.size != self.sizes[index]:
            raise NKIPyValueError(
                f"argument '{name}' has {tensor.size} bytes on the device, but the "
                f"kernel takes {self.sizes[index]}"
            )
        return tensor

    def _read(self, outputs: Sequence[Any]) -> None:
        """Read results; those that the caller owns last, when all has succeeded."""
        staged = []
        for i, output in enumerate(outputs):
            if type(output) is not np.ndarray:
                continue
            if i in self.aliases:
                staged.append((i, output, np.empty_like(output)))
            else:
                self.outputs[i].read_into(output)
        for i, _, copy in staged:
            self.outputs[i].read_into(copy)
        for _, output, copy in staged:
            np.copyto(output, copy)


def _nbytes(inst: HLOInstruction) -> int:
    return prod(inst.shape) * inst.dtype.itemsize


class PartOf:
    """Runs an executable that takes and makes some of a program's arrays.

    Args:
        executable: the executable; None if there is nothing to run.
        inputs: for each of its inputs, which of the program's it is.
        outputs: for each of its outputs, which of the program's it is.
    """

    def __init__(
        self,
        executable: NeffExecutable | None,
        inputs: tuple[int, ...],
        outputs: tuple[int, ...],
    ) -> None:
        self.executable = executable
        self.inputs = inputs
        self.outputs = outputs

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An array for a result."""
        return np.empty(shape, dtype)

    def run(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Execute once; the other outputs have no elements to write."""
        if self.executable is not None:
            self.executable.run(
                [inputs[i] for i in self.inputs], [outputs[i] for i in self.outputs]
            )

    def unload(self) -> None:
        """Free the core's memory."""
        if self.executable is not None:
            self.executable.unload()
