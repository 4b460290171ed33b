"""XLA on the CPU, reached through jaxlib. No other module touches jaxlib.

Its Python entry points are private and move between releases; these ones have been the
same over the releases that `KNOWN` spans. ``jax`` itself is not needed.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import re
import sys
import weakref
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module, util
from importlib.machinery import ExtensionFileLoader
from math import prod
from pathlib import Path
from types import FunctionType, MappingProxyType
from typing import Any, NamedTuple, Protocol

import numpy as np

from nkipy_emulator.apart import run_apart
from nkipy_emulator.errors import (
    EngineUnavailableError,
    ExecutionTimeoutError,
    OutOfBoundsError,
    SimulationError,
    WorldError,
)
from nkipy_emulator.memory import ZERO_COPY_BYTES
from nkipy_emulator.progress import ProgressLine

#: The first and the last release of jaxlib that this module was tried with.
KNOWN = ("0.6.2", "0.11")
_LIBRARY = "libnkipy_xla_handlers.so"


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:3] if part.isdigit())


def check_version(version: str) -> None:
    """Raise EngineUnavailableError unless `version` of jaxlib is one of those known."""
    first, last = (_release(v) for v in KNOWN)
    found = _release(version)
    if found < first or found[: len(last)] > last:
        raise EngineUnavailableError(
            f"jaxlib {version} is installed; the XLA engine knows the entry points of "
            f"jaxlib {KNOWN[0]} to {KNOWN[1]}.x: pip install 'jaxlib>={KNOWN[0]},<0.12'"
        )


def _import_jaxlib() -> tuple[Any, str]:
    # Otherwise XLA greets on stderr. An explicit setting of the user's wins.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        version = import_module("jaxlib.version").__version__
        check_version(version)
        # Apart from handlers of signals: what one raises in the midst of it aborts.
        core = run_apart(lambda: import_module("jaxlib._jax"), name="nkipy-import")
    except ImportError as e:
        if isinstance(e, EngineUnavailableError):
            raise
        raise EngineUnavailableError(
            f"the XLA engine needs jaxlib: pip install 'jaxlib>={KNOWN[0]},<0.12' ({e})"
        ) from e
    return core, version


def _import_handlers() -> Any:
    path = Path(__file__).with_name(_LIBRARY)
    if not path.exists():
        raise EngineUnavailableError(
            f"{path} is missing; reinstall nkipy-emulator with a C++17 compiler"
        )
    name = "nkipy_emulator._handlers"
    loader = ExtensionFileLoader(name, str(path))
    spec = util.spec_from_file_location(name, str(path), loader=loader)
    assert spec is not None
    module = util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def environment() -> tuple[str, ...]:
    """What XLA takes from the environment that its code depends on."""
    flags = os.environ.get("XLA_FLAGS", "")
    return flags, os.environ.get("NPROC", ""), os.environ.get("PJRT_NPROC", "")


def cores() -> int:
    """Those that this process may use: loops are divided for as many."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_jax, VERSION = _import_jaxlib()
_handlers = _import_handlers()
_TARGETS: Mapping[str, Any] = MappingProxyType(_handlers.targets())


def _register_handlers() -> None:
    try:
        for name, capsule in _TARGETS.items():
            _jax.register_custom_call_target(name, capsule, "cpu", 1)
    except RuntimeError as e:
        raise EngineUnavailableError(
            f"jaxlib {VERSION} refuses {_LIBRARY}: reinstall nkipy-emulator ({e})"
        ) from e


_register_handlers()


#: XLA's custom_call_api_version of handlers with typed arguments.
_TYPED_FFI = 4


def handler_call(
    target: str, config: bytes = b"{}", has_side_effect: bool = False
) -> Mapping[str, Any]:
    """Attributes of a custom call to a handler of the handler library.

    Args:
        target: the handler.
        config: its own attributes, a dictionary of MLIR's.
        has_side_effect: it is made for what it does besides its results.
    """
    attributes = {
        "custom_call_target": target,
        "backend_config": config,
        "api_version": _TYPED_FFI,
        "has_side_effect": has_side_effect,
    }
    return MappingProxyType(attributes)


class Seat(Protocol):
    """A rank's place in a world, in C++: ``seat_type.h``."""

    rank: int
    ranks: int
    reason: str | None

    def form(
        self, descriptor: int, spins: int, links: Sequence[tuple[int, Sequence[int]]]
    ) -> None: ...
    def follow(self, descriptor: int, rank: int) -> None: ...
    def fail(self, reason: str) -> None: ...
    def end(self, rank: int, reason: str) -> None: ...
    def leave(self, reason: str) -> None: ...
    def lose(self, rank: int) -> None: ...
    def expect(self, whom: str) -> None: ...
    def limit(self, milliseconds: int) -> None: ...
    def all_gather(self, data: bytes, text: str, seconds: float) -> bytes: ...


def seat(rank: int, ranks: int) -> Seat:
    """A place in a world that has not formed. Raises ValueError."""
    return _handlers.Seat(rank, ranks)


def world_bytes(ranks: int) -> int:
    """How much memory as many ranks share on one machine."""
    return _handlers.world_bytes(ranks)


def reduces(opcode: str, element_type: int) -> bool:
    """Whether the handler of collectives has a reduction: ``find_reduction`` in C++.

    Args:
        opcode: HLO's, of two operands.
        element_type: of both, as XLA's protos number them.
    """
    return _handlers.reduces(opcode, element_type)


def add_function(name: str, ufunc: np.ufunc, index: int) -> None:
    """Let handlers call the loop ``ufunc.types[index]`` by that name."""
    _handlers.add_function(name, ufunc, index)


#: Random bytes that :func:`digest` takes.
DIGEST_KEYS = 4096


def digest(array: np.ndarray, keys: bytes) -> bytes:
    """What a C-contiguous array holds, by all cores, in a 256th of its bytes.

    With other elements it has another digest, but for one in 2**64 of `keys`, which are
    random and nobody else's, :data:`DIGEST_KEYS` of them. Raises ValueError for another
    layout, or other than so many keys.
    """
    return _handlers.digest(array, array.nbytes, keys)


class MemoryWatch:
    """Whether the pages of memory have been written to since this was made.

    The system notes it (Linux from 6.7 on), so that nothing is read. That nobody has
    written is certain; a page that was moved, say, counts as written, too.

    Args:
        address, nbytes: whole pages. They may be freed while they are watched.

    Attributes:
        works: whether they are watched: the system can do it, and they are private
            memory of this process, which no other process or device writes to.
    """

    def __init__(self, address: int, nbytes: int) -> None:
        self._pages = address, nbytes
        self._number: int = _handlers.watch(address, nbytes)
        self.works = self._number > 0
        if self.works:
            end = weakref.finalize(self, _handlers.end_watch, address, nbytes)
            end.atexit = False

    def holds(self) -> bool:
        """Whether nobody has written; False where nothing is watched."""
        return self.works and _handlers.watch_holds(*self._pages, self._number)


def orders_by_numpy() -> bool:
    """Whether handlers can sort, and look for extremes: NumPy has the kernels."""
    return _handlers.orders_by_numpy()


Hook = Callable[[int, list[memoryview], list[memoryview], Any], None]


def set_python_hook(hook: Hook) -> None:
    """Let `hook` answer the custom call ``nkipy_call_python``.

    Args:
        hook: ``hook(id, inputs, outputs, printer)``, the last one for
            :func:`print_tensor` and :func:`require_time`.
    """
    _handlers.set_hook(hook)


def print_tensor(
    printer: Any, rank: int, prefix: str, dtype: str, shape: Sequence[int], data: bytes
) -> bool:
    """Print a tensor to where the caller of an execution takes it.

    Args:
        printer: what the hook got; it is of use until the hook returns.
        rank: for which, of a call that the first rank runs for all; else 0.
        prefix: a text that stands before it, without NUL.
        dtype: NumPy's or ml_dtypes' name.
        shape: its shape.
        data: its elements, in C's order.

    Returns:
        Whether it was taken: if not, nobody has said where it goes.
    """
    taken: bool = _handlers.print_tensor(
        printer, rank, prefix, dtype, tuple(shape), data
    )
    return taken


def require_time(printer: Any) -> None:
    """Look at the time of an execution on a device, from within a call of Python's.

    Args:
        printer: what the hook got; it is of use until the hook returns.

    Raises:
        ExecutionTimeoutError: the execution takes longer than it may.
    """
    _handlers.require_time(printer)


def device_api(
    load: Callable[..., Any],
    error: Callable[..., Any],
    all_gather: Callable[[str, bytes], bytes],
    close: Callable[[], None],
) -> Any:
    """A capsule with the functions that libnrt calls (``libnrt/engine_api.h``).

    Args:
        load: ``load(neff, options) -> (runner, description, estimate)``, the last one
            with ``estimate() -> text``.
        error: ``error(exception, phase) -> (status, text, is_interrupt)``, the last one
            if a handler of a signal has raised the exception.
        all_gather: ``all_gather(meeting, data) -> data of all ranks``.
        close: leaves the worlds that the ranks of programs are in.
    """
    return _handlers.device_api(load, error, all_gather, close)


def close_gate() -> None:
    """Wait for calls that are under way, and keep out those of other threads.

    For the end of the interpreter, which a thread inside of XLA must not outlive: see
    ``exit_gate.h``.
    """
    global _is_ending
    _handlers.close_gate()
    _is_ending = True


#: Only the thread that ends the interpreter still gets in.
_is_ending = False
atexit.register(close_gate)


def apart_until_the_end(
    function: Callable[[], Any],
    seconds: float | None,
    name: str,
    tell: Callable[[float], None] | None = None,
    key: Hashable | None = None,
) -> Any:
    """As :func:`run_apart`; in this thread if no other gets past the gate any more."""
    return function() if _is_ending else run_apart(function, seconds, name, tell, key)


@contextmanager
def _before_the_end() -> Iterator[None]:
    """The interpreter does not end meanwhile."""
    _handlers.enter_gate()
    try:
        yield
    finally:
        _handlers.leave_gate()


def _call(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    return function(*arguments, **keywords)


#: The same, for functions in C, which import with the builtins of who calls them.
_call_where_no_jax_is = FunctionType(
    _call.__code__, {"__builtins__": {"__import__": _handlers.import_without_jax}}
)


def _call_without_jax(
    make: Callable[..., Any], *arguments: Any, **keywords: Any
) -> Any:
    """``make(*arguments, **keywords)``, which does not import jax.

    Whenever an array is made, jaxlib tries to import jax for what only jax's own code
    would ask of that array. That takes seconds where jax is installed and a futile
    search where it is not. It goes on without jax whatever the attempt raises, so no
    code in Python may run in it: what a handler of a signal raises there would be lost.
    If the program uses jax itself, there is nothing left to import.
    """
    call = _call if "jax" in sys.modules else _call_where_no_jax_is
    return call(make, *arguments, **keywords)


_NOISE = re.compile(r"Failed to parse using StableHLO|: in bytecode version \d")


def _clean(text: str) -> str:
    """XLA's message less the lines about versions, which are never the reason."""
    return "\n".join(x for x in text.splitlines() if not _NOISE.search(x)).strip()


_handlers.set_out_of_bounds_error(OutOfBoundsError)
_handlers.set_timeout_error(ExecutionTimeoutError)
_handlers.set_world_error(WorldError)
_handlers.set_error_translator(lambda error: SimulationError(_clean(str(error))))


# ------------------------------------------------------------------------- clients

_clients: dict[int, Any] = {}


def _client(num_devices: int) -> Any:
    """The client with that many devices.

    It is synchronous: a program runs in the calling thread (without the GIL), is done
    on return and raises its errors there, which saves 40 microseconds per call.
    """
    check_process()
    client = _clients.get(num_devices)
    if client is None:
        client = _jax.get_tfrt_cpu_client(asynchronous=False, num_devices=num_devices)
        _clients[num_devices] = client
    return client


# XLA's threads do not exist in a forked child, and part of them belongs to no client,
# so that even a new one compiles nothing there: it aborts the process or hangs.
_used_before_fork = False


def check_process() -> None:
    """Raise SimulationError in a child forked from a process that has used XLA."""
    if _used_before_fork:
        raise SimulationError(
            "this process was forked from one that had used XLA, whose threads a fork "
            "does not copy; start processes with multiprocessing's 'spawn' method, or "
            "fork before the first simulation"
        )


def leave_alone(value: object) -> None:
    """Never free `value`: for a forked child, where to do so may crash or hang."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))


def _note_fork() -> None:
    global _used_before_fork
    _used_before_fork = _used_before_fork or bool(_clients)
    for client in _clients.values():
        leave_alone(client)


os.register_at_fork(after_in_child=_note_fork)


# ------------------------------------------------------------------------- programs


def direct_runner(
    input_sizes: Sequence[int],
    output_sizes: Sequence[int],
    kind: str,
    program: tuple[Any, ...],
) -> Any:
    """As :meth:`Program.runner`, for what needs no XLA (``direct_program.h``).

    Args:
        input_sizes: bytes of each input.
        output_sizes: bytes of each output.
        kind: ``"elements"`` or ``"handlers"``.
        program: what ``read_element_program`` (``element_program.h``) reads, or
            ``read_handler_program`` (``handler_program.h``).
    """
    steps = (0,) * len(input_sizes)
    return _handlers.Runner(
        *(None, None, tuple(input_sizes), tuple(output_sizes), 1, ZERO_COPY_BYTES),
        *(None, steps, (), (), None, (), (kind, tuple(program))),
    )


def target(name: str) -> Any:
    """A handler of the handler library, as a capsule."""
    return _TARGETS[name]


class Program:
    """A compiled program and what its arguments have to be made of."""

    def __init__(
        self, executable: Any, devices: Sequence[Any], device_list: Any
    ) -> None:
        self._executable = executable
        self._devices = devices
        self._device_list = device_list

    def runner(
        self,
        input_sizes: Sequence[int],
        output_sizes: Sequence[int],
        calls_python: bool,
        steps: Sequence[int] = (),
        constants: Sequence[np.ndarray] = (),
        own: Sequence[int] = (),
        own_shapes: Results = (),
        blanks: Sequence[Blank] = (),
    ) -> Any:
        """What calls it: ``run(inputs, outputs)`` and ``run_replicas``, in C++.

        Args:
            input_sizes: bytes of each input, those that are constant included.
            output_sizes: bytes of each output.
            calls_python: whether it calls functions in Python, which see signals
                themselves, and their caller's thread. Any other can be left behind.
            steps: for each input, 0, or of one that is read through a slice, how many
                bytes an element has (:mod:`nkipy_emulator.operands`).
            constants: the last inputs, the same in each call.
            own: which results ``run_for`` makes itself, if it gets no array for them.
            own_shapes: shapes and dtypes of these.
            blanks: memory for the last parameters, behind the call vector, which become
                results.
        """
        one = len(self._devices) == 1
        importer = self._import_one if one else self._import_sharded
        return _handlers.Runner(
            self._executable.execute_sharded if one else self._execute_all,
            importer,
            tuple(input_sizes),
            tuple(output_sizes),
            len(self._devices),
            ZERO_COPY_BYTES,
            None if calls_python else _execute_apart,
            tuple(steps) or (0,) * len(input_sizes),
            tuple(constants),
            tuple(own),
            partial(_take, own_shapes),
            tuple(blanks),
            None,
        )

    def code(self) -> bytes:
        """What :func:`load_code` makes a program of, in another process too.

        Raises:
            RuntimeError, ValueError: XLA cannot make it.
        """
        if hasattr(self._executable, "serialize"):
            return self._executable.serialize()
        return _client(1).serialize_executable(self._executable)  # before jaxlib 0.8

    def blank(self) -> Blank:
        """Of a program whose result is memory."""
        return Blank(self._executable.execute_sharded)

    def _execute_all(self, arguments: list[Any]) -> None:
        # One replica is done on return; several are only under way by then. Their
        # tokens are what can be waited for without making arrays of their results.
        results = self._executable.execute_sharded(arguments, with_tokens=True)
        results.consume_token().block_until_ready()

    def _import_one(self, addresses: tuple[int, ...], nbytes: int) -> Any:
        return _import_memory(addresses[0], nbytes, self._devices[0])

    def _import_sharded(self, addresses: tuple[int, ...], nbytes: int) -> Any:
        from jaxlib import xla_client

        sharding = _jax.GSPMDSharding(
            self._device_list, xla_client.HloSharding.replicate()
        )
        shards = [
            _import_memory(address, nbytes, device)
            for address, device in zip(addresses, self._devices)
        ]
        return _call_without_jax(
            _jax.ArrayImpl, _Aval(nbytes), sharding, shards, True, _skip_checks=True
        )


Results = Sequence[tuple[Sequence[int], np.dtype]]


class _Owned:
    """Memory of an array of XLA's, as NumPy takes it."""

    def __init__(self, array: Any, nbytes: int) -> None:
        self._array = _handlers.own(array)  # frees the memory when it goes
        self.__array_interface__ = {
            "version": 3,
            "typestr": "|u1",
            "shape": (nbytes,),
            "data": (array.unsafe_buffer_pointer(), False),
        }


def _take(shapes: Results, results: Any) -> list[np.ndarray]:
    """Arrays over the memory of an execution's results, behind the first.

    They are writable, nobody else has that memory, and XLA frees it when nobody has an
    array of it any more.
    """
    shards = _call_without_jax(results.disassemble_into_single_device_arrays)
    made = []
    for (shape, dtype), (array,) in zip(shapes, shards[1:]):
        flat = np.asarray(_Owned(array, dtype.itemsize * prod(shape)))
        made.append(flat.view(dtype).reshape(shape))
    return made


class Blank:
    """Makes memory of XLA's that a program may take for a result.

    Args:
        execute: executes what has the memory as its result.
    """

    def __init__(self, execute: Callable[[list[Any]], Any]) -> None:
        self._execute = execute

    def __call__(self) -> Any:
        results = self._execute([])
        split = results.disassemble_into_single_device_arrays
        return _call_without_jax(split)[0][0]


def _execute_apart(execute: Callable[[], Any], seconds: float | None) -> Any:
    return apart_until_the_end(execute, seconds, "nkipy-execute")


class _Aval:
    """The little that an array of several devices wants to know of itself."""

    weak_type = False
    dtype = np.dtype(np.uint8)

    def __init__(self, nbytes: int) -> None:
        self.shape = (nbytes,)


def _import_memory(address: int, nbytes: int, device: Any) -> Any:
    """An XLA array over memory that the caller keeps. The address is 64-byte aligned.

    XLA compares sizes only, so everything is flat bytes, whatever its dtype.
    """
    capsule = _handlers.flat_bytes(address, nbytes)
    make = _jax.dlpack_managed_tensor_to_buffer
    return _call_without_jax(make, capsule, device, None)


#: The pass that removes them before loops are fused.
_BARRIERS = "cse_barrier_expander"
#: Results are those of the program as written. XLA's algebraic simplifier computes
#: others, log(exp(1000)) = 1000 and x / 3 = x * (1 / 3) among them; without it nothing
#: that was measured runs slower. What else there is to prevent,
#: :mod:`nkipy.hlo.rewrites.exact` does.
EXACT: tuple[tuple[str, bool | str], ...] = (
    ("xla_allow_excess_precision", False),  # bfloat16 operations round one by one
    ("xla_cpu_enable_fast_math", False),
    ("xla_cpu_enable_fast_min_max", False),  # minimum and maximum return NaN
    # The reshape mover leaves pairs of reshapes and transposes to the simplifier, else
    # they add up, from pass to pass, until their number overflows the stack. Barriers
    # stay until loops are fused, which is what they are for.
    ("xla_disable_hlo_passes", f"algsimp,reshape-mover,{_BARRIERS}"),
)
#: The same, without fused loops.
UNFUSED = (
    *EXACT[:-1],
    ("xla_disable_hlo_passes", f"algsimp,reshape-mover,{_BARRIERS},fusion"),
)
#: Makes one function of a small loop and its body, by code that knows no barriers.
_HOISTING = "small-while-loop-hoisting"
#: Divides loops among threads.
_SHARING = "cpu-parallel-task-assigner"
#: Compiles small modules in half the time.
FAST_COMPILE: tuple[tuple[str, bool | str], ...] = (
    ("xla_cpu_use_fusion_emitters", False),
)
#: LLVM's optimisation levels: code as it finds it, which halves the time that many
#: small loops take to compile; and all it can do.
NO_OPTIMIZATION, MOST_OPTIMIZATION = 0, 3
#: What is right for loops as XLA makes them. At the highest level, LLVM reads what a
#: loop's parts get, the exactness fence's zero for one, anew for each element: it can
#: be seen no more that no element is written there, so that nothing is vectorised.
OPTIMIZATION = 2


class Care(NamedTuple):
    """What code is made with.

    Attributes:
        fast_compile: whether to compile in less time, to code that may be slower.
        fuse: whether chains of instructions are in one loop.
        optimization: how much LLVM does to make code fast, from 0 to 3.
        hoist: whether small loops are one function each. None may have a barrier then.
        share: whether threads share loops.
    """

    fast_compile: bool = False
    fuse: bool = True
    optimization: int = OPTIMIZATION
    hoist: bool = True
    share: bool = True

    def overrides(self) -> list[tuple[str, bool | str | int]]:
        """The options of XLA's that say so."""
        *exact, (disabled, passes) = EXACT if self.fuse else UNFUSED
        found: list[tuple[str, bool | str | int]] = list(exact)
        unwanted = ((self.hoist, _HOISTING), (self.share, _SHARING))
        passes = ",".join([str(passes), *(name for has, name in unwanted if not has)])
        found.append((disabled, passes))
        found += FAST_COMPILE if self.fast_compile else ()
        found.append(("xla_backend_optimization_level", self.optimization))
        return found


@_before_the_end()
def compile_proto(
    proto: bytes,
    num_replicas: int = 1,
    care: Care | None = None,
    seconds: float | None = None,
    name: str = "",
) -> Program:
    """Compile bytes of an ``HloModuleProto``.

    Of what somebody has given up waiting for, and XLA still compiles, the result is
    waited for: it is not compiled twice at once.

    Args:
        proto: the module.
        num_replicas: how many ranks run it at once.
        care: what its code is made with.
        seconds: how long it may take; None is no limit.
        name: what a terminal calls it if that takes long.

    Raises:
        SimulationError: with XLA's reason.
        NotDoneError: XLA takes longer, and still does in the background.
    """
    client = _client(num_replicas)
    devices = client.devices()
    device_list = _jax.DeviceList(tuple(devices))
    options = _jax.CompileOptions()
    options.env_option_overrides = (care or Care()).overrides()
    if num_replicas > 1:
        options.num_replicas = num_replicas
        options.executable_build_options.num_replicas = num_replicas
        options.executable_build_options.device_assignment = _assignment(num_replicas)

    # All that the code depends on. The bytes themselves: they are rarely hashed.
    key = (proto, num_replicas, care or Care(), environment())

    @_before_the_end()
    def compile_here() -> Any:
        try:
            portable = _jax.mlir.hlo_to_stablehlo(proto)
            return client.compile_and_load(portable, device_list, options)
        except (RuntimeError, ValueError) as e:  # XlaRuntimeError, JaxRuntimeError
            raise SimulationError(_clean(str(e))) from None

    def compile_now() -> Any:
        line = ProgressLine(f"compiling {name!r}")
        try:
            return apart_until_the_end(
                compile_here, seconds, "nkipy-compile", line.tell, key
            )
        finally:
            line.erase()

    return Program(compile_now(), devices, device_list)


@_before_the_end()
def load_code(code: bytes) -> Program | None:
    """The program of one rank whose :meth:`Program.code` that is.

    None if this XLA does not understand it.
    """
    client = _client(1)
    devices = client.devices()
    device_list = _jax.DeviceList(tuple(devices))
    # In this thread: on another one, the C library's memory for it grows page by page,
    # which takes longer than the loading.
    try:
        executable = client.deserialize_executable(code, device_list, None)
    except (RuntimeError, ValueError, TypeError):
        return None
    return Program(executable, devices, device_list)


def _assignment(num_replicas: int) -> Any:
    from jaxlib import xla_client

    return xla_client.DeviceAssignment.create(
        np.arange(num_replicas, dtype=np.int32).reshape(-1, 1)
    )
