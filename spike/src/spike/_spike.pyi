"""C++ half of spike."""

from collections.abc import Sequence
from typing import Any

import spike.benchmark

class SpikeRuntimeError(RuntimeError):
    """What spike raises."""

class SpikeError(SpikeRuntimeError):
    """A mistake that spike itself finds."""

class NrtError(SpikeRuntimeError):
    """
    A failure that libnrt reports: number and name of its status.

    `error_code` and `code` are other names of `status`.
    """

    status: int = 1

    error_code: int = 1

    code: int = 1

    status_name: str = "NRT_FAILURE"

class NeffFileError(SpikeError, NrtError):
    """A NEFF file that cannot be read; status is NRT_FAILURE."""

def load_library(path: str | None = None) -> None:
    """
    Use this libnrt from now on; without a path, look for one again.

    What is open keeps the one that it has.
    """

def close_runtime() -> None:
    """Close the runtime, if one is open."""

def has_native_async() -> bool:
    """Whether libnrt executes asynchronously itself."""

class TensorMetadata:
    """Size in bytes, dtype and shape of an input or output."""

    def __init__(self, size: int, dtype: str, shape: Sequence[int]) -> None: ...
    @property
    def size(self) -> int: ...
    @property
    def dtype(self) -> str: ...
    @property
    def shape(self) -> list[int]: ...
    def __repr__(self) -> str: ...

class ModelTensorInfo:
    """What a model takes and gives, in the NEFF's order."""

    @property
    def inputs(self) -> dict[str, TensorMetadata]: ...
    @property
    def outputs(self) -> dict[str, TensorMetadata]: ...
    def __repr__(self) -> str: ...

class NrtTensor:
    """Memory on a device; freed with its last owner."""

    @property
    def core_id(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def va(self) -> int:
        """Address in the device's memory; 0 once freed."""

    @property
    def is_freed(self) -> bool:
        """Whether it was freed, or its runtime closed."""

    def write(self, data: object, offset: int = 0) -> None:
        """Write any contiguous buffer."""

    def read_into(self, buffer: object, offset: int = 0, size: int = 0) -> None:
        """Read into a writable contiguous buffer."""

    def copy_from(
        self, source: NrtTensor, source_offset: int = 0, offset: int = 0, size: int = 0
    ) -> None:
        """Copy on the device."""

    def fill(self, byte: int, offset: int = 0, size: int = 0) -> None:
        """Set every byte, on the device."""

    def slice(
        self, offset: int = 0, size: int = 0, name: str | None = None
    ) -> NrtTensor:
        """Another tensor on a part of the same memory."""

    def free(self) -> None:
        """Free now, or after the last running call. Idempotent."""

    def __repr__(self) -> str: ...

class AsyncExecution:
    """An execution that was submitted."""

    @property
    def sequence(self) -> int: ...
    def done(self) -> bool:
        """Whether it is over. Does not block, and does not raise its error."""

    def is_completed(self) -> bool:
        """The same as done()."""

    def wait(self) -> None:
        """Block until it is over. Raises NrtError if it failed. Idempotent."""

class PreparedCall:
    """
    A call made ready once. It keeps neither model nor tensors.

    Its methods raise SpikeError once one of them is gone.
    """

    def execute(self) -> None: ...
    def profile(self, ntff_name: str) -> None:
        """Execute, and write a profile to the file."""

    def benchmark(
        self, warmup_iterations: int = 1, benchmark_iterations: int = 1
    ) -> spike.benchmark.BenchmarkResult: ...
    def with_outputs(self, outputs: dict[str, NrtTensor]) -> PreparedCall:
        """The same call with other outputs; quicker than preparing it anew."""

    def execute_async(self) -> AsyncExecution: ...
    @property
    def is_valid(self) -> bool: ...

class CallMemory:
    """The fast way of SpikeModel's calls."""

    def __init__(self) -> None: ...
    def remember(
        self,
        call: PreparedCall,
        inputs: dict[str, Any],
        input_arrays: dict[str, Any],
        outputs: dict[str, Any] | None,
        output_arrays: dict[str, Any],
    ) -> None:
        """This is the call with these objects, which answered these arrays."""

    def recall(self, inputs: object, outputs: object) -> PreparedCall | None:
        """The call that was remembered for these objects."""

    def __call__(
        self,
        inputs: dict[str, Any],
        outputs: dict[str, Any] | None = None,
        save_trace: bool = False,
        ntff_name: str | None = None,
    ) -> dict[str, Any] | None: ...

class NrtModel:
    """A NEFF loaded on a core."""

    @property
    def neff_path(self) -> str: ...
    @property
    def core_id(self) -> int: ...
    @property
    def rank_id(self) -> int: ...
    @property
    def world_size(self) -> int: ...
    @property
    def is_collective(self) -> bool: ...
    @property
    def is_unloaded(self) -> bool:
        """Whether it was unloaded, or its runtime closed."""

    def tensor_info(self) -> ModelTensorInfo: ...
    def prepare(
        self,
        inputs: dict[str, NrtTensor],
        outputs: dict[str, NrtTensor],
        others: Sequence[NrtTensor] = (),
    ) -> PreparedCall:
        """
        Make a call ready that is to be executed often.

        It is invalid once one of `others` is freed, too.
        """

    def unload(self) -> None:
        """Unload now, or after the last running call. Idempotent."""

    def __repr__(self) -> str: ...

class Spike:
    """The runtime: one at a time in a process."""

    def __init__(self, verbose_level: int = 0) -> None: ...
    @staticmethod
    def get_visible_neuron_core_count() -> int:
        """How many cores this process may use. Opens no runtime."""

    @staticmethod
    def get_runtime_version() -> str:
        """Version of libnrt. Opens no runtime."""

    def close(self) -> int:
        """
        Close the runtime after running calls. Idempotent.

        Its tensors and models become invalid.
        """

    @property
    def is_closed(self) -> bool: ...
    def memory_stats(self, core_id: int = 0) -> tuple[int, int]:
        """Bytes used, and bytes that there are, on a core."""

    def allocate_tensor(
        self, size: int, core_id: int = 0, name: str | None = None
    ) -> NrtTensor: ...
    def slice_from_tensor(
        self, source: NrtTensor, offset: int = 0, size: int = 0, name: str | None = None
    ) -> NrtTensor: ...
    def free_tensor(self, tensor: NrtTensor) -> None: ...
    def tensor_write(
        self, tensor: NrtTensor, data: object, offset: int = 0
    ) -> None: ...
    def tensor_write_from_pybuffer(
        self, tensor: NrtTensor, buffer: object, offset: int = 0
    ) -> None: ...
    def tensor_read(
        self, tensor: NrtTensor, offset: int = 0, size: int = 0
    ) -> bytes: ...
    def tensor_read_to_pybuffer(
        self, tensor: NrtTensor, buffer: object, offset: int = 0, size: int = 0
    ) -> None: ...
    def load_model(
        self,
        neff_file: str,
        core_id: int = 0,
        cc_enabled: bool = False,
        rank_id: int = 0,
        world_size: int = 1,
    ) -> NrtModel: ...
    def unload_model(self, model: NrtModel) -> None: ...
    def get_tensor_info(self, model: NrtModel) -> ModelTensorInfo: ...
    def execute(
        self,
        model: NrtModel,
        inputs: dict[str, NrtTensor],
        outputs: dict[str, NrtTensor],
        ntff_name: str | None = None,
        save_trace: bool = False,
    ) -> None: ...
    def execute_async(
        self,
        model: NrtModel,
        inputs: dict[str, NrtTensor],
        outputs: dict[str, NrtTensor],
    ) -> AsyncExecution: ...
    def benchmark(
        self,
        model: NrtModel,
        inputs: dict[str, NrtTensor],
        outputs: dict[str, NrtTensor],
        warmup_iterations: int = 1,
        benchmark_iterations: int = 1,
    ) -> spike.benchmark.BenchmarkResult: ...

class SystemTraceSession:
    """Records libnrt's events of one core, or of all, until stopped."""

    def __init__(self, core_id: int | None = None) -> None: ...
    def stop(self) -> None:
        """Idempotent."""

    def fetch_events_json(self) -> str:
        """The events since the last fetch as JSON; empty if there are none."""

    def drain_events(self) -> None:
        """Take events and drop them."""

    def __enter__(self) -> SystemTraceSession: ...
    def __exit__(self, *args: object) -> None: ...
