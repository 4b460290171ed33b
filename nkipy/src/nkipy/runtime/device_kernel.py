"""Kernels compiled ahead of their calls, for tensors that stay on the device."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from nkipy.compiler.artifacts import cache_directory
from nkipy.compiler.build import BuildOptions, build
from nkipy.core.compile import CompilationTarget
from nkipy.core.errors import NKIPyValueError
from nkipy.core.trace import NKIPyKernel, kernel_name
from nkipy.distributed.processes import traced_for
from nkipy.execution.device_arrays import (
    SILENT,
    DeviceArray,
    keep_until_done,
    maker_beside,
    note_written,
)
from nkipy.execution.device_module import device_module
from nkipy.execution.residency import LOADED
from nkipy.hlo import kernel_languages
from nkipy.hlo.ir import MUST_ALIAS_SUFFIX
from nkipy.runtime.call_memo import CallMemo
from nkipy.runtime.collective import (
    CollectiveSettings,
    JobProcesses,
    collective_settings,
    compile_on_first_rank,
    described_call,
)
from nkipy.runtime.contained import ContainedArrays
from nkipy.runtime.device_tensor import DeviceTensor
from nkipy.runtime.loaded_kernels import LoadedKernels
from nkipy.runtime.ranks import check_ranks, set_up_runtime
from spike import BenchmarkResult, NrtModel, NrtTensor, SpikeModel
from spike._spike import recall

if TYPE_CHECKING:
    from typing_extensions import Self

    from spike._spike import AsyncExecution, PreparedCall

Tensors = dict[str, Any]
# A dict of one kind is none of another: inputs and outputs may be of either.
InputT = TypeVar("InputT", bound=DeviceArray)
OutputT = TypeVar("OutputT", bound=DeviceArray)

#: Kernels that compile_and_load may return again, by cache key.
_LOADED_KERNELS = LoadedKernels()

#: The other processes, where this one is of a job.
dist: Any = JobProcesses()

set_up_runtime()


def _is_distributed() -> bool:
    """Whether this process is one of several of a job: torch's, or a launcher's."""
    return dist.connects_processes()


class DeviceKernel(SpikeModel):
    """A compiled kernel, loaded onto a core, called with tensors by name.

    Inputs are named as the kernel's parameters, those inside of containers by their
    path (``weights.layers.0.w``); results are ``output0``, ``output1``, ...; a
    parameter that the kernel writes into is also a result, of its own name and in the
    same memory, and is also known as ``output<i>`` by its place. Arrays without
    elements take no part: the device has none. An array inside of a container given to
    :meth:`compile_and_load` is the input of each call that does not name another.
    """

    tensor_class = DeviceTensor

    def __init__(self, model_ref: NrtModel, name: str, neff_path: str | Path) -> None:
        super().__init__(model_ref, name, neff_path)
        self._input_names = frozenset(self.input_tensors_info)
        self._input_of = {
            name.removesuffix(MUST_ALIAS_SUFFIX): name for name in self._input_names
        }
        self._output_of = _numbered(self.output_tensors_info)
        self._contained: ContainedArrays | None = None
        self._renames = False  # calls have other names, whose tensors are not known
        LOADED.use(self)

    @classmethod
    def compile_and_load(
        cls,
        kernel: Callable[..., Any] | NKIPyKernel,
        *args: Any,
        name: str | None = None,
        additional_compiler_args: str | None = None,
        use_cached_if_exists: bool = True,
        build_dir: str | Path | None = None,
        target: CompilationTarget = CompilationTarget.DEFAULT,
        is_spmd: bool = True,
        cc_enabled: bool | None = None,
        rank_id: int | None = None,
        world_size: int | None = None,
        core_id: int = 0,
        **kwargs: Any,
    ) -> Self:
        """Compile `kernel` for arguments like these, and load it.

        A kernel that is loaded already is returned again: known by the function and
        the shapes, dtypes and static values of its arguments, or, traced anew, by its
        program; and by compiler, target, arguments, collective settings and core, and
        by the arrays inside of containers, which stay bound to it.

        Args:
            kernel: a function, or an :class:`NKIPyKernel`.
            args, kwargs: its arguments. Of arrays, on the device or not, only shape
                and dtype are looked at; those inside of containers are kept, with the
                values that they have, for calls that do not name them. A parameter
                that is named as one of those below can only be passed by position.
            name: for people and file names; by default the function's.
            additional_compiler_args: arguments after nkipy's own.
            use_cached_if_exists: if False, compile and load even if that was done.
            build_dir: where NEFF and the compiler's other files go; nothing in it is
                deleted. By default the cache of this user.
            target: the chip.
            is_spmd: in a job of several processes, rank 0 compiles for all, which
                must all come here; if False, each rank compiles its own program, in
                ``rank_<n>`` of `build_dir`, and waits for no other.
            cc_enabled: load for collectives; by default in a job.
            rank_id, world_size: of the collectives; by default the job's.
            core_id: the core, counted among the visible ones.

        Raises:
            NKIPyError: the kernel does something that cannot be traced; or ranks that
                are to have one program pass other shapes, dtypes or values.
            ValueError: collectives without a job, `rank_id` and `world_size`.
            RuntimeError: the compiler is missing or failed, here or on rank 0.
            NrtError: the device refuses the program, or a rank has not come in
                ``NEURON_RT_EXEC_TIMEOUT`` seconds, which it names.
        """
        if not callable(kernel) and not isinstance(kernel, NKIPyKernel):
            raise NotImplementedError(
                f"kernel must be a function or an NKIPyKernel, but is {kernel!r}"
            )
        distributed = _is_distributed()
        settings = collective_settings(
            dist, distributed, cc_enabled, rank_id, world_size
        )
        if not is_spmd:
            rank = settings.rank_id if rank_id is None else rank_id
            build_dir = Path(build_dir or cache_directory() / "build") / f"rank_{rank}"
        request = _Request(
            cls,
            kernel,
            args,
            kwargs,
            name or kernel_name(_function_of(kernel)),
            additional_compiler_args,
            use_cached_if_exists,
            None if build_dir is None else str(build_dir),
            target,
            settings,
            core_id,
            ContainedArrays(_function_of(kernel), args, kwargs),
        )
        if distributed:
            return request.load_in_job(is_spmd)
        return request.load_alone()

    @classmethod
    def _trace_and_compile(
        cls,
        kernel: Callable[..., Any] | NKIPyKernel,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        additional_compiler_args: str | None,
        use_cached_if_exists: bool,
        build_dir: str | Path | None,
        target: CompilationTarget,
        world_size: int | None = None,
    ) -> tuple[str, str]:
        """Path of the NEFF, and the key that names what it was made of.

        Collectives have to be over `world_size` ranks, if that is known.
        """
        if not isinstance(kernel, NKIPyKernel):
            kernel = NKIPyKernel(kernel)
        module = kernel.specialize(*args, **kwargs)
        part = device_module(module) if module is not None else None
        if part is None or part.module is None:
            raise NKIPyValueError(
                f"kernel '{name}' has no result with elements: there is nothing for a "
                "device to compute"
            )
        if world_size is not None:
            check_ranks(part.module, world_size)
        directory = None if build_dir is None else Path(build_dir)
        options = BuildOptions(target, additional_compiler_args or "", directory)
        made = build(part.module, options, name, again=not use_cached_if_exists)
        return str(made.neff), f"{name}_{made.key[:24]}"

    @overload  # type: ignore[override]  # the base takes any dict
    def __call__(
        self,
        inputs: dict[str, InputT],
        outputs: None = None,
        save_trace: bool = False,
        ntff_name: str | None = None,
    ) -> dict[str, DeviceTensor]: ...

    @overload
    def __call__(
        self,
        inputs: dict[str, InputT],
        outputs: dict[str, OutputT],
        save_trace: bool = False,
        ntff_name: str | None = None,
    ) -> None: ...

    def __call__(
        self,
        inputs: Tensors,
        outputs: Tensors | None = None,
        save_trace: bool = False,
        ntff_name: str | None = None,
    ) -> Tensors | None:
        """Run the kernel.

        Args:
            inputs: tensors by the names of the kernel's parameters.
            outputs: tensors for the results by name; where one aliases an input, it
                must be that input's. By default they are made.
            save_trace: write a profile.
            ntff_name: its file; by default beside the NEFF.

        Returns:
            The results by name if `outputs` was not given, else None.

        Raises:
            ValueError: a name is missing or unknown, or a tensor does not fit.
            SpikeError: a tensor was freed.
            NrtError: the device failed.
        """
        if LOADED.newest != id(self) and not self.model_ref.is_unloaded:
            LOADED.use(self)
        known = None if save_trace else self._known(inputs, outputs)
        if known is None:
            inputs, outputs = self._named(inputs, outputs)
            made = super().__call__(inputs, outputs, save_trace, ntff_name)
        elif outputs is None:
            made, memory = self._allocate(inputs)
            known.with_outputs(memory).execute()
        else:
            known.execute()
            made = None
        if outputs is not None:
            note_written(outputs.values())
        elif self._aliased and made is not None:
            note_written(made.values())
        return made

    def _known(self, inputs: Tensors, outputs: Tensors | None) -> PreparedCall | None:
        """The call with these tensors by the NEFF's names, if it was made ready."""
        return None if self._renames else recall(self._calls, inputs, outputs)

    def benchmark(
        self,
        inputs: Tensors,
        outputs: Tensors | None = None,
        warmup_iter: int = 5,
        benchmark_iter: int = 5,
        mode: Literal["device", "host"] = "device",
        switch_with: SpikeModel | None = None,
        switch_inputs: Tensors | None = None,
    ) -> BenchmarkResult:
        """Time the kernel; see :meth:`spike.SpikeModel.benchmark`.

        Names are those of :meth:`__call__`, of `switch_inputs` those of `switch_with`.
        A kernel that writes into its inputs does so in each iteration.
        """
        numbers = warmup_iter, benchmark_iter
        other = switch_with, switch_inputs
        return super().benchmark(inputs, outputs, *numbers, mode, *other)

    def _benchmark_call(
        self, inputs: Tensors, outputs: Tensors | None
    ) -> tuple[PreparedCall, Tensors]:
        self._check_is_dict("Input", inputs)
        call, kept = super()._benchmark_call(*self._named(inputs, outputs))
        note_written(kept.values())
        return call, kept

    def execute_async(self, inputs: Tensors, outputs: Tensors) -> AsyncExecution:
        """Start an execution; see :meth:`spike.SpikeModel.execute_async`.

        Names are those of :meth:`__call__`.
        """
        known = self._known(inputs, outputs)
        if known is None or outputs is None:
            inputs, named = self._named(inputs, outputs)
            outputs = outputs if named is None else named
            started = super().execute_async(inputs, outputs)
        else:
            started = known.execute_async()
        keep_until_done(started, inputs, outputs)
        note_written(outputs.values())
        return started

    def allocate_output_tensors(
        self, inputs: Tensors | None = None
    ) -> list[DeviceTensor]:
        """Tensors of zeros for all results, in order; see :meth:`__call__`.

        With `inputs` given, a result that is written into an input is that tensor.
        """
        if inputs is not None:
            inputs, _ = self._named(inputs, None)
        if maker_beside((inputs or {}).values()) is None:
            return super().allocate_output_tensors(inputs)
        inputs = inputs or {}
        made, memory = self._allocate(inputs)
        for name, tensor in memory.items():
            if self._aliased.get(name) not in inputs:
                tensor.fill(0)
        return list(made.values())

    def _allocate(self, inputs: Tensors) -> tuple[Tensors, dict[str, NrtTensor]]:
        for tensor in inputs.values():
            if type(tensor) not in SILENT:
                break
        else:
            return super()._allocate(inputs)
        make = maker_beside(inputs.values())
        if make is None:
            return super()._allocate(inputs)
        made: Tensors = {}
        for name, (_, shape, dtype) in self._outputs.items():
            aliased = self._aliased.get(name)
            made[name] = inputs[aliased] if aliased in inputs else make(shape, dtype)
        return made, {name: self._memory.of(tensor) for name, tensor in made.items()}

    def unload(self) -> None:
        """Free what the kernel occupies of its core; it cannot be called any more."""
        self.close()

    def close(self) -> None:
        """As :meth:`unload`."""
        _LOADED_KERNELS.forget(self)
        super().close()
        LOADED.discard(self)

    def unload_if_idle(self) -> bool:
        """Whether it is unloaded; ``compile_and_load`` keeps it no longer.

        It goes, and is unloaded, when nobody has it.
        """
        _LOADED_KERNELS.let_go(self)
        return self.model_ref.is_unloaded

    def _named(
        self, inputs: Tensors, outputs: Tensors | None
    ) -> tuple[Tensors, Tensors | None]:
        """The tensors by the names that the NEFF has for them; what is no dict stays
        as it is, to be refused."""
        if not isinstance(inputs, dict):
            return inputs, outputs
        if inputs.keys() != self._input_names:
            self._renames = True
            inputs = _renamed(inputs, self._input_of, self.input_tensors_info)
            if inputs.keys() != self._input_names:
                inputs = {**self._bound(), **inputs}
        if (
            isinstance(outputs, dict)
            and outputs.keys() != self.output_tensors_info.keys()
        ):
            self._renames = True
            outputs = _renamed(outputs, self._output_of, self.output_tensors_info)
        return inputs, outputs

    def _bound(self) -> Tensors:
        """The tensors of calls that name no others."""
        if self._contained is None:
            return {}
        tensors = self._contained.tensors(self.model_ref.core_id)
        names = {name: self._input_of.get(name, name) for name in tensors}
        # The compiler may leave out what the kernel does not read.
        return {
            names[name]: tensor
            for name, tensor in tensors.items()
            if names[name] in self._input_names
        }


def _function_of(kernel: Callable[..., Any] | NKIPyKernel) -> Callable[..., Any]:
    return kernel.func if isinstance(kernel, NKIPyKernel) else kernel


def _renamed(
    tensors: Tensors, names: Mapping[str, str], known: Mapping[str, Any]
) -> Tensors:
    """`tensors` by the names that the NEFF `known` has for them.

    Those without elements are left out: a device knows nothing of them.

    Raises:
        NKIPyValueError: one is given under two names.
    """
    made: Tensors = {}
    for given, tensor in tensors.items():
        if given not in known and 0 in getattr(tensor, "shape", ()):
            continue
        name = given if given in known else names.get(given, given)
        if name in made:
            raise NKIPyValueError(f"'{name}' is given twice, once as '{given}'")
        made[name] = tensor
    return made


def _numbered(outputs: Iterable[str]) -> dict[str, str]:
    """The names of outputs by ``output<i>``, of those that are called otherwise.

    They are in their order; what is called ``output<i>`` itself says where it stands
    among those that are left.
    """
    made, place = {}, 0
    for name in outputs:
        number = name.removeprefix("output")
        if number != name and number.isdecimal():
            place = int(number)
        else:
            made[f"output{place}"] = name
        place += 1
    return made


@dataclass(frozen=True)
class _Request:
    """What compile_and_load was asked for."""

    cls: type[Any]
    kernel: Callable[..., Any] | NKIPyKernel
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    name: str
    additional_compiler_args: str | None
    use_cached: bool
    build_dir: str | None
    target: CompilationTarget
    settings: CollectiveSettings
    core_id: int
    contained: ContainedArrays

    def load_alone(self) -> Any:
        """Without other processes: an equal call before this one is remembered."""
        func = _function_of(self.kernel)
        memo = CallMemo(func, self.args, self.kwargs, self._how())
        if self.use_cached:
            key = memo.recall()
            found = None if key is None else self._find(key)
            if found is not None:
                return found
        neff, key = self.compile()
        made = self._load(neff, key)
        memo.remember(self._loaded_key(key))
        return made

    def load_in_job(self, is_spmd: bool) -> Any:
        """With other processes, which must all come here: nothing is skipped."""
        if is_spmd and isinstance(dist, JobProcesses):
            dist.agree(described_call(self.name, self.args, self.kwargs))
        neff, key = (
            compile_on_first_rank(dist, self.compile) if is_spmd else (self.compile())
        )
        return self._load(neff, key, barrier=dist.barrier if is_spmd else None)

    def compile(self) -> tuple[str, str]:
        """Path of the NEFF, and its key."""
        world_size = self.settings.world_size if self.settings.enabled else None
        with traced_for(world_size):
            return self.cls._trace_and_compile(
                self.kernel,
                self.name,
                self.args,
                self.kwargs,
                additional_compiler_args=self.additional_compiler_args,
                use_cached_if_exists=self.use_cached,
                build_dir=self.build_dir,
                target=self.target,
                world_size=world_size,
            )

    def _load(
        self, neff: str, key: str, barrier: Callable[[], Any] | None = None
    ) -> Any:
        key = self._loaded_key(key)
        found = self._find(key) if self.use_cached else None
        if found is not None:
            return found
        if barrier is not None:
            barrier()
        where = {"core_id": self.core_id} if self.core_id else {}
        made = self.cls.load_from_neff(
            neff, name=self.name, **self.settings.load_arguments(), **where
        )
        if self.contained.key:
            made._contained = self.contained
        if self.use_cached:
            _LOADED_KERNELS[key + self.contained.key] = made
        return made

    def _find(self, key: str) -> Any | None:
        """The kernel of this key that is bound to these arrays."""
        return _LOADED_KERNELS.find(key + self.contained.key)

    def _how(self) -> tuple[Any, ...]:
        return (
            self.cls,
            self.name,
            self.additional_compiler_args,
            self.build_dir,
            self.target,
            self.settings,
            self.core_id,
            *((name, os.environ.get(name)) for name in kernel_languages.variables()),
        )

    def _loaded_key(self, key: str) -> str:
        """`key` of the program, and how it is loaded, if not in the plain way."""
        if self.settings.enabled:
            key += f"@rank{self.settings.rank_id}of{self.settings.world_size}"
        return f"{key}@core{self.core_id}" if self.core_id else key
