"""The API's pages: one for each module that users import from, by public path.

``docs/conf.py`` writes them with each build; here is what they hold. Each object is on
one page alone, or links would not know where to go.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from torch_pages import HAS_TORCH

import nkipy_nki
from nkipy.core import ops  # noqa: F401  (enters ops into the tables)
from nkipy.core.ops._registry import OPS
from nkipy_nki import collectives, isa, language

#: The names that a module gives out, and nothing but its own text.
ALL, NOTHING = "", "-"


def _chapters_of(package: ModuleType) -> dict[str, str]:
    """The modules that a package takes its functions and classes from, with these."""
    found: dict[str, list[str]] = {}
    for name in package.__all__:
        value = getattr(package, name)
        if inspect.isfunction(value) or inspect.isclass(value):
            found.setdefault(_home(name, value), []).append(name)
    chapters = {module: ", ".join(found[module]) for module in sorted(found) if module}
    return {package.__name__: NOTHING, **chapters}


def _home(name: str, value: Any) -> str:
    """The module of ours that gives a name out; "" if none, or it has another page."""
    if value in vars(nkipy_nki).values():
        return ""
    ours = [m for m in sys.modules if m.startswith("nkipy_nki.")]
    homes = [m for m in ours if name in getattr(sys.modules[m], "__all__", ())]
    homes = [m for m in homes if not hasattr(sys.modules[m], "__path__")]
    homes = [m for m in homes if getattr(sys.modules[m], name) is value]
    return value.__module__ if value.__module__ in homes else (homes or [""])[0]


#: Headings, the pages under each, and the modules on a page, with their members; after
#: a minus, those that are left out.
API: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "Running kernels": {
        "nkipy": {"nkipy": ALL},
        "nkipy.runtime": {"nkipy.runtime": ALL},
        "nkipy.execution": {
            "nkipy.execution": "BindingError, BoundCall, BoundSimulation, CallCache, "
            "CallTable, HostCall, LoadedProgram, SimulatedProgram, load, simulate",
            "nkipy.execution.model": "ResidentModel",
            "nkipy.execution.residency": "Residency",
            "nkipy.execution.engines": "Engine, Executable, "
            "ReplicatedExecutable, find_engine",
        },
        "nkipy.compiler": {
            "nkipy.compiler": "-ArtifactError, cache_directory",
            "nkipy.compiler.build": "build",
            "nkipy.compiler.discovery": "FoundCompiler, CompilerInProcess",
        },
    },
    "Writing kernels": {
        "nkipy.core.tensor_apis": {"nkipy.core.tensor_apis": ALL},
        "nkipy.distributed": {
            "nkipy.distributed": NOTHING,
            "nkipy.distributed.processes": "barrier, rank, replica_groups, world_size",
            "nkipy.distributed.sharding": "shard, shards",
            "nkipy.distributed.timelines": "timeline",
        },
        "nkipy.distributed.collectives": {"nkipy.distributed.collectives": ALL},
        "nkipy.core.language": {"nkipy.core.language": NOTHING},
        "nkipy.core.typing": {"nkipy.core.typing": ALL},
        "nkipy.core.specs": {"nkipy.core.specs": ALL},
        "nkipy.core.nki_op": {"nkipy.core.nki_op": ALL},
        "nkipy.core.errors": {"nkipy.core.errors": ALL},
        "nkipy.core.dtypes": {"nkipy.core.dtypes": ALL},
        "nkipy.core.logger": {"nkipy.core.logger": ALL},
    },
    "Tracing by hand": {
        "nkipy.core.trace": {
            "nkipy.core.trace": "NKIPyKernel, trace_function, Trace",
        },
        "nkipy.core.compile": {
            "nkipy.core.compile": "compile_to_neff, get_ir, lower_to_nki",
        },
        "nkipy.core.tensor": {"nkipy.core.tensor": "NKIPyTensorRef, View"},
    },
    "Testing": {
        "nkipy.testing": {
            "nkipy.testing": ALL,
            "nkipy.testing.tolerances": NOTHING,
        },
        "nkipy.testing.samples": {
            "nkipy.testing.samples": "sampled_ops, Sample, ErrorSample, A, Special, "
            "DType, call, cases, make, unary_sampler, binary_sampler",
        },
        "nkipy.testing.pytest_plugin": {
            "nkipy.testing.pytest_plugin": "neuron_core, neuron_cores, child_python",
        },
    },
    "HLO modules": {
        "nkipy.hlo": {"nkipy.hlo": "-SimulationOptions"},
        "nkipy.hlo.opcodes": {
            "nkipy.hlo.opcodes.record": "define",
            "nkipy.hlo.opcodes.attribute": "Attribute, Kind, Wire, optional",
            "nkipy.hlo.opcodes.cost": "CostClass, CostKind",
        },
        "nkipy.hlo.interface": {"nkipy.hlo.interface": ALL},
        "nkipy.hlo.queries": {
            "nkipy.hlo.queries": ALL,
            "nkipy.hlo.numerics": ALL,
        },
        "nkipy.hlo.rewrites": {
            f"nkipy.hlo.rewrites.{name}": ALL
            for name in (
                *("base", "dots", "comparators", "divisions", "exact", "bounds"),
                *("ranks", "custom_calls", "dead_code", "materializing", "stores"),
            )
        },
        "nkipy.chips": {"nkipy.chips": "Chip, Instance, find_chip"},
    },
    "NKI kernels": {
        "nkipy_nki": {
            "nkipy_nki": "Kernel, NkiError, NkiValidationError, Simulation, "
            "Simulator, benchmark, jit, profile, simulate, simulate_ranks",
            "nkipy_nki.benchmarking": "BenchmarkResult, Estimated, Latency",
        },
        "nkipy_nki.language": _chapters_of(language),
        "nkipy_nki.isa": _chapters_of(isa),
        "nkipy_nki.collectives": _chapters_of(collectives),
        "nkipy_nki.neuronxcc.nki": {
            "nkipy_nki.neuronxcc.nki": NOTHING,
            "nkipy_nki.neuronxcc.nki.kernel": ALL,
        },
        "nkipy_nki.simulator": {"nkipy_nki.simulator": ALL},
        "nkipy_nki.typing": {"nkipy_nki.typing": NOTHING},
        "nkipy_nki.compiler": {"nkipy_nki.compiler": ALL},
        "nkipy_nki.findings": {"nkipy_nki.findings": "Finding, Findings, NkiWarning"},
        "nkipy_nki.watching": {
            "nkipy_nki.watching": "Divergence, Watch, Written, watching"
        },
        "nkipy_nki.timing": {"nkipy_nki.timing": ALL},
        "nkipy_nki.records": {
            "nkipy_nki.calls": "Call",
            "nkipy_nki.declaring": ALL,
            "nkipy_nki.records": "InstructionRecord, OperandRule, OperationRule, "
            "Sample, reads, writes",
        },
    },
    "spike and NEFFs": {
        "spike": {
            "spike": ALL,
            "spike.spike_model": "TensorMismatchError",
            "spike.library": "Library, locate",
        },
        "neff": {
            "neff": "Neff, TensorInfo, Alias, Limits, NeffError, read_neff",
        },
    },
    "The torch device": {
        "spike_torch": {"spike_torch": "-configure, spike"},
        "torch.nkipy": {"spike_torch.device_module": "-Event, Stream"},
    },
    "torch.compile": {
        "spiky": {"spiky": ALL},
        "spiky.torch": {"spiky.torch": "-current_device, device_count, set_device"},
        "spiky.report": {
            "spiky.options": "Buckets",
            "spiky.errors": "BackendError, OptionError, OptionTypeError",
            "spiky.kernels": "NKIOperation",
            "spiky.report": "GraphReport, Part, Operation, Mask, ExactSize, GraphBreak",
        },
    },
    "The emulator": {
        "nkipy_emulator": {
            "nkipy_emulator": ALL,
            "nkipy_emulator.executables": "XlaExecutable",
            "nkipy_emulator.custom_calls": "known_targets",
            "nkipy_emulator.compiler": "main, compile_in_process, EmulatorCompiler",
            "nkipy_emulator.neff_writer": ALL,
            "nkipy_emulator.libnrt": "library_path, library_dir, include_dir",
        },
        "nkipy_emulator.cost_model": {
            "nkipy_emulator.cost_model.model": "estimate",
            "nkipy_emulator.cost_model.types": "Estimate, Event",
        },
    },
}
#: What is said under a heading.
_ABOUT = {
    "Writing kernels": "Kernels are written with NumPy's functions and operators, as "
    "the [coverage table](coverage.md) lists them. `nkipy.core.tensor_apis` has what "
    "NumPy lacks, and `nkipy.core.ops` all ops.",
    "The torch device": "[The torch device](torch/index.md) shows these at work. "
    "`spike_torch.configure` is spike's; `Stream` and `Event` are torch's.",
    "torch.compile": "`spiky.torch` has the device's `current_device`, `device_count` "
    "and `set_device`, too; `torch_to_nkipy` has the names of Spiky's predecessor.",
    "HLO modules": "[HLO without a tracer](hlo.md) shows these at work.",
}
_NO_TORCH = "These pages were built where torch, or its device, is not installed."
#: What classes have from these is no news.
_FOREIGN = "Generic, Protocol, Enum, IntEnum, int, tuple, str, BaseException, object"


def write(folder: Path) -> None:
    """Write the pages, and an index of them, into a folder."""
    folder.mkdir(exist_ok=True)
    pages = {name: page(name, m) for part in API.values() for name, m in part.items()}
    pages |= {f"nkipy.core.ops.{c}": _ops_page(c) for c in _chapters()}
    pages["nkipy.core.ops"] = _all_ops_page()
    for name, text in pages.items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)  # what is the same need not be read anew


def index() -> str:
    """Tables of contents, one under each heading."""
    parts = []
    for title, pages in API.items():
        names = [*pages]
        if title == "Writing kernels":
            names.append("nkipy.core.ops")
        about = f"{_ABOUT[title]}\n\n" if title in _ABOUT else ""
        parts.append(
            f"## {title}\n\n{about}{_contents(f'api/{name}' for name in names)}"
        )
    return "\n".join(parts)


def _contents(names: Iterable[str]) -> str:
    lines = "\n".join(names)
    return f"```{{toctree}}\n:maxdepth: 1\n\n{lines}\n```\n"


def page(name: str, modules: Mapping[str, str]) -> str:
    """A page on some modules, headed by a name."""
    if not HAS_TORCH and any(m.startswith(("spike_torch", "spiky")) for m in modules):
        return f"# {name}\n\n{_NO_TORCH}\n"
    return _eval_rst(name, [_automodule(m, members) for m, members in modules.items()])


def _automodule(module: str, members: str) -> str:
    lines = [f".. automodule:: {module}"]
    named, minus, left_out = members.partition("-")
    if named:
        lines.append(f"   :members: {named}")
    elif members != NOTHING:
        lines += ["   :members:", f"   :inherited-members: {_FOREIGN}"]
        lines += [f"   :exclude-members: {left_out}"] if minus else []
    return "\n".join(lines)


def _eval_rst(title: str, directives: list[str]) -> str:
    body = "\n\n".join(directives)
    return f"# {title}\n\n```{{eval-rst}}\n{body}\n```\n"


def _chapters() -> list[str]:
    return sorted({op.chapter for op in OPS.values() if op.name.isidentifier()})


def _ops_page(chapter: str) -> str:
    names = [op.name for op in OPS.values() if op.chapter == chapter]
    members = ", ".join(sorted(name for name in names if name.isidentifier()))
    directive = _automodule(f"nkipy.core.ops.{chapter}", members)
    return _eval_rst(f"nkipy.core.ops.{chapter}", [directive])


def _all_ops_page() -> str:
    package = _eval_rst("nkipy.core.ops", [_automodule("nkipy.core.ops", NOTHING)])
    record = _automodule("nkipy.core.ops._registry", "Op")
    chapters = _contents(f"nkipy.core.ops.{c}" for c in _chapters())
    return f"{package}\n{chapters}\n```{{eval-rst}}\n{record}\n```\n"
