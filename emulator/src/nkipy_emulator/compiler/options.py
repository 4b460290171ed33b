"""The command line of ``compile``, as neuronx-cc reads it.

``--opt v`` and ``--opt=v`` are the same, and of options given twice the last counts.
Options that only tune code generation are accepted and have no effect here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from textwrap import wrap
from typing import Any, get_args

from nkipy.hlo.options import CAST_TYPES, AutoCast
from nkipy_emulator.compiler.console import DEFAULT_LOG
from nkipy_emulator.compiler.diagnostics import (
    CompilationError,
    Diagnostic,
    UsageError,
)
from nkipy_emulator.compiler.targets import TARGETS, Target

#: Operators whose integers may be computed as floats: ``--implicit-integer-downcast``.
DOWNCASTS = ("dot", "scatter", "all_reduce", "reduce_scatter", "pow")

_CHOICES: dict[str, tuple[str, ...]] = {
    "--framework": ("XLA",),
    "--target": tuple(TARGETS),
    "--lnc": ("1", "2"),
    "--auto-cast": get_args(AutoCast),
    "--auto-cast-type": tuple(CAST_TYPES),
    "--optlevel": ("1", "2", "3"),
    "--model-type": ("generic", "transformer", "unet-inference", "cnn-training"),
    "--distribution-strategy": ("llm-training", "nemo"),
    "--native-int64": ("default", "enabled", "disabled"),
    # Ours: "warn" compiles what the emulator can run though the vendor's cannot.
    "--internal-emulator-checks": ("error", "warn"),
}
_WITH_VALUE = frozenset(
    {
        *_CHOICES,
        *("--output", "--logfile", "--verbose", "--implicit-integer-downcast"),
        # Seen in use, undocumented, without effect here.
        *("--tensorizer-options", "--hbm-scratchpad-page-size", "--fast-math"),
        *("--num-parallel-jobs", "--temp-dir", "--logfile-verbose"),
    }
)
_FLAGS = frozenset(
    {
        "--enable-mixed-precision-accumulation",
        "--disable-mixed-precision-accumulation",
        "--enable-saturate-infinity",
        "--enable-fast-context-switch",
        "--enable-fast-loading-neuron-binaries",
        "--enable-internal-neff-wrapper",
        "--experimental-unsafe-fp8e4m3fn-as-fp8e4m3",
        "--disable-dge",
    }
)
_ALIASES = {"-O": "--optlevel", "-lnc": "--lnc", "--logical-nc-config": "--lnc"}
#: Options of these kinds come and go between releases: unknown ones are let pass.
_OPEN_PREFIXES = ("--internal-", "--enable-", "--disable-", "--experimental-", "--dump")
#: Those of them that may have a value, which may stand apart.
_OPEN_WITH_VALUE = ("--internal-", "--experimental-", "--dump")
_SUBCOMMANDS = ("compile", "list-operators")
_STAGES = ("compile", "SaveTemps", "tensorize")
_WITHOUT_EFFECT = (
    "--distribution-strategy",
    "--tensorizer-options",
    "--hbm-scratchpad-page-size",
    "--fast-math",
    "--num-parallel-jobs",
    "--temp-dir",
    "--logfile-verbose",
    "--enable-saturate-infinity",
    "--enable-fast-context-switch",
    "--enable-internal-neff-wrapper",
    "--disable-mixed-precision-accumulation",
    "--disable-dge",
)
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


#: The NEFF's name if none is given.
DEFAULT_OUTPUT = "file.neff"


@dataclass(frozen=True, kw_only=True)
class CompileOptions:
    """What ``compile`` was asked for.

    Attributes:
        model: the file with the HLO.
        target: the chip.
        output: the NEFF to write.
        lnc: physical cores to a logical core.
        pipeline: stages.
        auto_cast, auto_cast_type, optlevel: as the options of these names.
        downcasts: operators whose integers may be computed as floats.
        unsafe_fp8: F8E4M3FN is taken on chips that do not have it.
        compress: write a gzipped NEFF.
        warn_only: what the emulator can run is compiled, though the vendor's refuses.
        logfile: the log's name; None for the usual one.
        level: least level of what is shown, as of Python's logging.
        recorded: options that the NEFF tells of though they change nothing.
        notes: options that were ignored.
    """

    model: str
    target: Target
    output: str = DEFAULT_OUTPUT
    lnc: int = 1
    pipeline: tuple[str, ...] = ("compile",)
    auto_cast: str = "none"
    auto_cast_type: str = "bf16"
    optlevel: int = 2
    downcasts: frozenset[str] = frozenset(DOWNCASTS)
    unsafe_fp8: bool = False
    compress: bool = True
    warn_only: bool = False
    logfile: str | None = None
    level: int = _LEVELS["warning"]
    recorded: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass
class Words:
    """A command line, taken apart.

    Attributes:
        positional: words that belong to no option; the first is the subcommand.
        values: the last value of each option; True of a flag.
        pipeline: the words of ``--pipeline``.
        unknown: options that no table has and that are let pass.
        loose: words after such options: their values, or else the file.
    """

    positional: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    flags: set[str] = field(default_factory=set)
    pipeline: tuple[str, ...] = ("compile",)
    unknown: list[str] = field(default_factory=list)
    loose: list[str] = field(default_factory=list)


def take_apart(argv: Sequence[str]) -> Words:
    """Sort the words of a command line.

    Raises:
        UsageError: an option is unknown or lacks its value.
    """
    found, pending = Words(), list(argv)[::-1]
    while pending:
        word = pending.pop()
        if not word.startswith("-") or word == "-":
            found.positional.append(word)
            continue
        name, has_value, value = word.partition("=")
        if name.startswith("-O") and len(name) == 3 and not has_value:
            name, has_value, value = "-O", "=", name[2:]
        name = _ALIASES.get(name, name)
        if name == "--pipeline":
            found.pipeline = _pipeline(value, pending)
        elif name in _WITH_VALUE:
            found.values[name] = value if has_value else _next(name, pending)
        elif name in _FLAGS and not has_value or name in ("--help", "-h", "--version"):
            found.flags.add(name)
        elif name.startswith(_OPEN_PREFIXES):
            found.unknown.append(word)
            if not has_value and _may_be_value(name, pending, found):
                found.loose.append(pending.pop())
        else:
            raise UsageError(_unknown(name))
    _take_file(found)
    return found


def _may_be_value(name: str, pending: list[str], found: Words) -> bool:
    if not name.startswith(_OPEN_WITH_VALUE) or not pending:
        return False
    word = pending[-1]
    is_subcommand = not found.positional and word in _SUBCOMMANDS
    return not word.startswith("-") and not is_subcommand


def _take_file(found: Words) -> None:
    """Find the file among the words after unknown options, if it is nowhere else."""
    if len(found.positional) == 1 and found.loose:
        file = next((w for w in found.loose if w.endswith(".pb")), found.loose[-1])
        found.loose.remove(file)
        found.positional.append(file)


def _next(name: str, pending: list[str]) -> str:
    if not pending:
        raise UsageError(f"option {name} needs a value")
    return pending.pop()


def _pipeline(value: str, pending: list[str]) -> tuple[str, ...]:
    """The stages: words up to the next option or file."""
    stages = value.split()
    while pending and pending[-1].isalnum():
        stages.append(pending.pop())
    if not stages:
        raise UsageError("option --pipeline needs a value")
    unknown = next((stage for stage in stages if stage not in _STAGES), None)
    if unknown is not None:
        raise UsageError(
            f"option --pipeline is {unknown!r}; expected {', '.join(_STAGES)}"
        )
    return tuple(stages)


def _unknown(name: str) -> str:
    import difflib  # which no right command line needs

    known = [*_WITH_VALUE, *_FLAGS, "--help", "--version"]
    near = difflib.get_close_matches(name, known, 1)
    return f"unknown option {name}" + (f"; did you mean {near[0]}?" if near else "")


def read_options(words: Words) -> CompileOptions:
    """The options of ``compile``.

    Raises:
        UsageError: one is missing or has a value that it cannot have.
        CompilationError: the target does not have what an option asks for.
    """
    values = words.values
    for name in ("--framework", "--target"):
        if name not in values:
            raise UsageError(f"option {name} is required")
    for name, choices in _CHOICES.items():
        if name in values and values[name] not in choices:
            raise UsageError(
                f"option {name} is {values[name]!r}; expected {', '.join(choices)}"
            )
    target = TARGETS[values["--target"]]
    return CompileOptions(
        model=_model(words.positional[1:]),
        target=target,
        output=values.get("--output", DEFAULT_OUTPUT),
        lnc=_lnc(values.get("--lnc"), target),
        pipeline=words.pipeline,
        auto_cast=values.get("--auto-cast", "none"),
        auto_cast_type=values.get("--auto-cast-type", "bf16"),
        optlevel=int(values.get("--optlevel", "2")),
        downcasts=_downcasts(values.get("--implicit-integer-downcast", "default")),
        unsafe_fp8="--experimental-unsafe-fp8e4m3fn-as-fp8e4m3" in words.flags,
        compress="--enable-fast-loading-neuron-binaries" not in words.flags,
        warn_only=values.get("--internal-emulator-checks") == "warn",
        logfile=values.get("--logfile"),
        level=_level(values.get("--verbose", "warning")),
        recorded=_recorded(words),
        notes=_notes(words),
    )


def _model(files: list[str]) -> str:
    if len(files) != 1:
        raise UsageError(
            f"expected one file with the HLO; got {' '.join(files) or 'none'}"
        )
    return files[0]


def _lnc(value: str | None, target: Target) -> int:
    lnc = int(value) if value is not None else target.chip.lnc[0]
    if lnc not in target.chip.lnc:
        known = " or ".join(map(str, sorted(target.chip.lnc)))
        message = f"--lnc {lnc} is not supported by {target.name}, which has {known}"
        raise CompilationError([Diagnostic("NCC_EARG001", message)])
    return lnc


def _downcasts(value: str) -> frozenset[str]:
    if value in ("default", "all"):
        return frozenset(DOWNCASTS)
    if value == "none":
        return frozenset()
    chosen = frozenset(value.split(","))
    if not chosen <= set(DOWNCASTS):
        raise UsageError(
            f"option --implicit-integer-downcast is {value!r}; expected default, all, "
            f"none, or a list of {', '.join(DOWNCASTS)}"
        )
    return chosen


def _level(value: str) -> int:
    if value.isdigit() and int(value) <= 100:
        return int(value)
    if value.lower() not in _LEVELS:
        raise UsageError(
            f"option --verbose is {value!r}; expected {', '.join(_LEVELS)} or a number"
        )
    return _LEVELS[value.lower()]


def _recorded(words: Words) -> dict[str, Any]:
    """Options that are about numbers, which somebody may ask the NEFF for."""
    recorded: dict[str, Any] = {
        name.strip("-").replace("-", "_"): words.values[name]
        for name in ("--model-type", "--native-int64", "--implicit-integer-downcast")
        if name in words.values
    }
    for name in sorted(words.flags & _FLAGS):
        recorded[name.strip("-").replace("-", "_")] = True
    return recorded


def _notes(words: Words) -> tuple[str, ...]:
    given = [n for n in _WITHOUT_EFFECT if n in words.values or n in words.flags]
    return tuple(
        f"option {name} has no effect in the emulator"
        for name in [*given, *words.unknown]
    )


#: What the options that have an effect do, for the help text. {} are the values.
_MEANINGS = {
    "--framework": "what the file comes from: {}; required",
    "--target": "the chip to compile for: {}; required",
    "--output": f"the NEFF to write (default: {DEFAULT_OUTPUT})",
    "--logfile": f"where all messages go (default: {DEFAULT_LOG})",
    "--verbose": "the least level of messages shown: " + ", ".join(_LEVELS) + ", or a "
    "number up to 100 (default: warning)",
    "--lnc": "physical cores that act as one: {} (default: the chip's)",
    "--auto-cast": "operands that are rounded: {} (default: none)",
    "--auto-cast-type": "to what they are rounded: {} (default: bf16)",
    "--optlevel": "{} (default: 2); 1 compiles faster when the program is loaded",
    "--implicit-integer-downcast": "operators that may compute integers as floats: "
    f"all, none, or a list of {', '.join(DOWNCASTS)} (default: all)",
    "--pipeline": f"stages: {', '.join(_STAGES)} (default: compile)",
    "--internal-emulator-checks": "{} (default: error); warn compiles what the "
    "emulator can run, though the vendor's compiler would refuse it",
    "--experimental-unsafe-fp8e4m3fn-as-fp8e4m3": "take F8E4M3FN on chips that have "
    "F8E4M3 only",
    "--enable-fast-loading-neuron-binaries": "write a NEFF that is not compressed",
    "--model-type": "recorded in the NEFF: {}",
    "--native-int64": "recorded in the NEFF: {}",
    "--enable-mixed-precision-accumulation": "recorded in the NEFF",
}


def explained_options() -> list[str]:
    """Lines of the help text: each option, with its short names and what it does."""
    lines = []
    for name in sorted({*_WITH_VALUE, *_FLAGS, "--pipeline"} - {*_WITHOUT_EFFECT}):
        short = [alias for alias, full in _ALIASES.items() if full == name]
        value = "" if name in _FLAGS else " VALUE"
        lines.append(f"  {', '.join([name, *short])}{value}")
        meaning = _MEANINGS[name].format(", ".join(_CHOICES.get(name, ())))
        text = wrap(meaning, 70, break_on_hyphens=False)
        lines += [f"        {line}" for line in text]
    return lines


def options_without_effect() -> list[str]:
    """Options that are taken and change nothing, for the help text."""
    return sorted(_WITHOUT_EFFECT)
