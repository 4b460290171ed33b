"""Loaded models."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from neff import Neff, NeffError, TensorInfo, read_header, read_neff
from neff.container import EMULATOR_FEATURE_BIT
from spike._spike import (
    AsyncExecution,
    CallMemory,
    NrtError,
    NrtModel,
    PreparedCall,
    SystemTraceSession,
    TensorMetadata,
)
from spike.benchmark import BenchmarkResult, device_times
from spike.spike_singleton import get_spike_singleton
from spike.spike_tensor import SpikeTensor

if TYPE_CHECKING:
    from typing_extensions import Self

logger = logging.getLogger("spike")

Tensors = Mapping[str, SpikeTensor]

# What libnrt calls a dtype, and what a tensor of that may really be.
_REPORTED_AS = {"int8": ("float8_",), "uint8": ("bool", "float8_")}
_ALIAS_SUFFIX = ".must_alias_input"
# A trace keeps so many events that this many executions never overflow it.
_FETCH_EVERY = 256

# libnrt has one trace per process.
_trace_lock = threading.Lock()


class TensorMismatchError(ValueError, AssertionError):
    """A tensor that the model does not take. (AssertionError is what this API used to
    raise, so that it can still be caught as one.)"""


class SpikeModel(CallMemory):
    """A NEFF loaded on a core.

    Call it with `inputs` and `outputs`, tensors by name, to execute. Without `outputs`
    they are allocated and returned by name. `save_trace=True` writes a profile to
    `ntff_name`, by default beside the NEFF.

    Arguments are validated once: a later call with the same tensor objects goes
    straight to libnrt. Raises TypeError for what is no dict of SpikeTensor, ValueError
    for tensors that the model does not take and outputs that overlap, SpikeError for
    freed tensors, NrtError if execution fails.

    Attributes:
        model_ref: the model, as an NrtModel.
        name: for messages.
        neff_path: where it was loaded from.
        input_tensors_info, output_tensors_info: size, dtype and shape by name, in the
            order of the NEFF. The dtype is the NEFF's own where libnrt has no name for
            it (fp8, bool).
    """

    def __init__(self, model_ref: NrtModel, name: str, neff_path: Path | str) -> None:
        super().__init__()
        self.model_ref = model_ref
        self.name = name
        self.neff_path = Path(neff_path)
        info = model_ref.tensor_info()
        self._reported = {"Input": info.inputs, "Output": info.outputs}
        neff = self._read_neff([*info.inputs.values(), *info.outputs.values()])
        self.input_tensors_info = _refine(info.inputs, neff.inputs if neff else [])
        self.output_tensors_info = _refine(info.outputs, neff.outputs if neff else [])
        self._aliases = self._find_aliases(neff)

    def _read_neff(self, tensors: list[TensorMetadata]) -> Neff | None:
        """The NEFF's own description, if it knows what libnrt does not say."""
        ambiguous = any(t.dtype in (*_REPORTED_AS, "unknown") for t in tensors)
        try:
            header = read_header(self.neff_path)
            if ambiguous or header.feature_bits & EMULATOR_FEATURE_BIT:
                return read_neff(self.neff_path)
        except (NeffError, OSError) as error:
            logger.info("%s has no description: %s", self.neff_path, error)
        return None

    def _find_aliases(self, neff: Neff | None) -> dict[str, str]:
        """Names of outputs that are written into an input, and of that input."""
        if neff is None:
            named = {n: n + _ALIAS_SUFFIX for n in self.output_tensors_info}
            return {o: i for o, i in named.items() if i in self.input_tensors_info}
        return {
            neff.outputs[alias.output].name: neff.inputs[alias.input].name
            for alias in neff.aliases
        }

    @classmethod
    def load_from_neff(
        cls,
        neff_path: Path | str,
        name: str | None = None,
        core_id: int = 0,
        cc_enabled: bool = False,
        rank_id: int = 0,
        world_size: int = 1,
    ) -> Self:
        """Load a NEFF on a core, with collectives as rank `rank_id` of `world_size`.

        With -1 libnrt chooses the core. Raises SpikeError if the file cannot be read,
        NrtError if libnrt refuses it.
        """
        path = Path(neff_path)
        try:
            ref = get_spike_singleton().load_model(
                str(path), core_id, cc_enabled, rank_id, world_size
            )
        except NrtError as error:
            if error.status_name in ("NRT_INVALID", "NRT_UNSUPPORTED_NEFF_VERSION"):
                error.args = (f"{error}. {_examine(path)}",)
            raise
        return cls(ref, path.stem if name is None else name, path)

    def allocate_output_tensors(
        self, inputs: Tensors | None = None
    ) -> list[SpikeTensor]:
        """Tensors of zeros for all outputs, in order.

        With `inputs` given, an output that is written into an input is that tensor.
        """
        return [
            inputs[self._aliases[name]]
            if inputs and self._aliases.get(name) in inputs
            else self._allocate(name, info)
            for name, info in self.output_tensors_info.items()
        ]

    def _allocate(self, name: str, info: TensorMetadata) -> SpikeTensor:
        core = self.model_ref.core_id
        if info.dtype != "unknown":
            tensor = SpikeTensor.zeros(info.shape, info.dtype, name, core)
            if tensor.nbytes == info.size:
                return tensor
        return SpikeTensor.zeros(info.size, np.uint8, name, core)

    def _call_anew(
        self,
        inputs: dict[str, SpikeTensor],
        outputs: dict[str, SpikeTensor] | None,
        save_trace: bool,
        ntff_name: str | None,
    ) -> dict[str, SpikeTensor] | None:
        """A call with arguments that are not remembered from an earlier one."""
        tensors = self._validated_outputs(inputs, outputs)
        call = self._prepare(inputs, tensors)
        if save_trace:
            call.profile(ntff_name or str(self.neff_path.with_suffix(".ntff")))
        else:
            call.execute()
        if outputs is None:
            return tensors
        self.remember(call, inputs, outputs)
        return None

    def execute_async(
        self, inputs: dict[str, SpikeTensor], outputs: dict[str, SpikeTensor]
    ) -> AsyncExecution:
        """Start an execution; its handle has `wait()` and `done()`.

        Executions of a core run in the order of their start, so that waiting for the
        last one is enough. The tensors are kept until it is done. Raises as calling
        does, and NrtError with status NRT_QUEUE_FULL when libnrt takes no more: wait
        for one.
        """
        self._validate_io(inputs, outputs)
        return self._prepare(inputs, outputs).execute_async()

    def benchmark(
        self,
        inputs: dict[str, SpikeTensor],
        outputs: dict[str, SpikeTensor] | None = None,
        warmup_iter: int = 5,
        benchmark_iter: int = 5,
        mode: Literal["device", "host"] = "device",
    ) -> BenchmarkResult:
        """Time executions: on the device, by libnrt's trace, or on the host's clock.

        Where the trace holds estimates, the result says so. Raises ValueError for a bad
        mode or less than one iteration, RuntimeError if the trace lost executions.
        """
        if mode not in ("device", "host"):
            raise ValueError(
                f"Invalid benchmark mode '{mode}'. Use 'device' or 'host'."
            )
        if benchmark_iter < 1 or warmup_iter < 0:
            raise ValueError(
                "benchmark_iter must be at least 1 and warmup_iter at least 0, got "
                f"{benchmark_iter} and {warmup_iter}"
            )
        outputs = self._validated_outputs(inputs, outputs)
        call = self._prepare(inputs, outputs)
        if mode == "host":
            return call.benchmark(warmup_iter, benchmark_iter)
        with _trace_lock:
            return self._benchmark_device(call, warmup_iter, benchmark_iter)

    def _benchmark_device(
        self, call: PreparedCall, warmup: int, iterations: int
    ) -> BenchmarkResult:
        fetched = []
        with SystemTraceSession(self.model_ref.core_id) as trace:
            for _ in range(warmup):
                call.execute()
            trace.drain_events()
            for done in range(1, iterations + 1):
                call.execute()
                if done % _FETCH_EVERY == 0 or done == iterations:
                    fetched.append(trace.fetch_events_json())
        return device_times(fetched, iterations, warmup)

    def _prepare(self, inputs: Tensors, outputs: Tensors) -> PreparedCall:
        refs = ({k: t.tensor_ref for k, t in ts.items()} for ts in (inputs, outputs))
        return self.model_ref.prepare(*refs)

    def _validated_outputs(
        self, inputs: Tensors, outputs: dict[str, SpikeTensor] | None
    ) -> dict[str, SpikeTensor]:
        if outputs is None:
            self._validate("Input", self.input_tensors_info, inputs)
            tensors = self.allocate_output_tensors(inputs)
            return dict(zip(self.output_tensors_info, tensors))
        self._validate_io(inputs, outputs)
        return outputs

    def _validate_io(self, inputs: Tensors, outputs: Tensors) -> None:
        self._validate("Input", self.input_tensors_info, inputs)
        self._validate("Output", self.output_tensors_info, outputs)
        for output, aliased in self._aliases.items():
            if outputs[output].tensor_ref is not inputs[aliased].tensor_ref:
                raise TensorMismatchError(
                    f"Output {output}: expected the tensor of input {aliased}, which "
                    f"it is written into, got {outputs[output]!r}"
                )

    def _validate(
        self, kind: str, infos: Mapping[str, TensorMetadata], tensors: Tensors
    ) -> None:
        if not isinstance(tensors, dict):
            raise TypeError(
                f"{kind}s: expected a dict of SpikeTensor by name, got "
                f"{type(tensors).__name__}"
            )
        for problem, names in (
            ("Unknown", tensors.keys() - infos.keys()),
            ("Missing", infos.keys() - tensors.keys()),
        ):
            if names:
                raise ValueError(
                    f"{problem} {kind.lower()}(s) {names} for model '{self.name}'. "
                    f"Expected {kind.lower()}s: {list(infos)}"
                )
        for name, tensor in tensors.items():
            self._check_tensor(kind, name, infos[name], tensor)

    def _check_tensor(
        self, kind: str, name: str, info: TensorMetadata, tensor: SpikeTensor
    ) -> None:
        where, core = f"{kind} {name}: expected", self.model_ref.core_id
        if not isinstance(tensor, SpikeTensor):
            raise TypeError(f"{where} a SpikeTensor, got {type(tensor).__name__}")
        if tensor.core_id != core:
            raise TensorMismatchError(
                f"{where} model and tensor on the same core, got model core_id {core} "
                f"and tensor core_id {tensor.core_id}"
            )
        # A scalar may be described as of one dimension, and the other way round.
        if (tensor.shape or (1,)) != (tuple(info.shape) or (1,)):
            raise TensorMismatchError(f"{where} shape {info.shape}, got {tensor.shape}")
        actual = np.dtype(tensor.dtype).name
        if not _same_dtype(info.dtype, self._reported[kind][name].dtype, actual):
            raise TensorMismatchError(f"{where} dtype {info.dtype}, got {actual}")

    def close(self) -> None:
        """Unload now, or after the last running call. Idempotent."""
        self.model_ref.unload()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(name={self.name!r}, neff_path='{self.neff_path}')"
        )


def _examine(path: Path) -> str:
    """What there is to say of a NEFF that libnrt refused."""
    try:
        neff = read_neff(path, validate_hash=True)
    except (NeffError, OSError) as error:
        return f"Reading the NEFF: {error}"
    device = os.environ.get("NEURON_LOGICAL_NC_CONFIG", "not set")
    return (
        f"The NEFF is for {neff.target or 'an unknown target'}, LNC {neff.lnc}; "
        f"NEURON_LOGICAL_NC_CONFIG is {device}"
    )


def _refine(
    infos: Mapping[str, TensorMetadata], described: list[TensorInfo]
) -> dict[str, TensorMetadata]:
    """Metadata with the NEFF's dtypes where libnrt has no name for them."""
    dtypes = {tensor.name: tensor.dtype for tensor in described}
    return {
        name: TensorMetadata(info.size, dtypes[name], info.shape)
        if info.dtype in (*_REPORTED_AS, "unknown") and name in dtypes
        else info
        for name, info in infos.items()
    }


def _same_dtype(expected: str, reported: str, actual: str) -> bool:
    """Whether a tensor of dtype `actual` is one of `expected`, which libnrt calls
    `reported`. Bytes under libnrt's name are taken for what they are."""
    if actual in (expected, reported) or expected == "unknown":
        return True
    # All that is known is what libnrt says, which may stand for another dtype.
    return expected == reported and actual.startswith(_REPORTED_AS.get(reported, ()))
