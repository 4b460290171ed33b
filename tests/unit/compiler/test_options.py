"""The command line, as it is read."""

from __future__ import annotations

import pytest

from nkipy_emulator.compiler.diagnostics import CompilationError, UsageError
from nkipy_emulator.compiler.options import (
    DOWNCASTS,
    CompileOptions,
    read_options,
    take_apart,
)
from nkipy_emulator.compiler.targets import INSTANCE_VARIABLE, emulated_target

BASE = "compile --framework XLA m.pb --target trn2"


def _read(text: str) -> CompileOptions:
    return read_options(take_apart(text.split()))


def test_defaults() -> None:
    options = _read(BASE)
    assert (options.model, options.output, options.target.name) == (
        "m.pb",
        "file.neff",
        "trn2",
    )
    assert (options.auto_cast, options.auto_cast_type, options.optlevel) == (
        "none",
        "bf16",
        2,
    )
    assert options.lnc == 2  # that of trn2
    assert options.downcasts == set(DOWNCASTS)
    assert (options.pipeline, options.compress, options.notes) == (
        ("compile",),
        True,
        (),
    )


@pytest.mark.parametrize(
    "text",
    [
        "compile m.pb --framework XLA --target trn1 --auto-cast all --lnc 1",
        "compile m.pb --framework=XLA --target=trn1 --auto-cast=all --lnc=1",
        "--target=trn1 compile --framework XLA --lnc=1 --auto-cast all m.pb",
        "--target trn1 compile --framework XLA m.pb -lnc 1 --auto-cast all",
        "compile --target trn2 --target trn1 m.pb --framework XLA --lnc 2 "
        "--logical-nc-config 1 --auto-cast none --auto-cast=all",
    ],
)
def test_spellings_and_order(text: str) -> None:
    options = _read(text)
    assert (options.target.name, options.lnc) == ("trn1", 1)
    assert (options.auto_cast, options.model) == ("all", "m.pb")


@pytest.mark.parametrize(
    "text", ["-O1", "-O 1", "-O=1", "--optlevel 1", "--optlevel=1"]
)
def test_optimization_levels(text: str) -> None:
    assert _read(f"{BASE} {text}").optlevel == 1


@pytest.mark.parametrize(
    ("text", "stages"),
    [
        ("--pipeline compile SaveTemps --target trn1", ("compile", "SaveTemps")),
        ("--pipeline=compile m2.pb", ("compile",)),
        ("--pipeline tensorize", ("tensorize",)),
    ],
)
def test_pipeline(text: str, stages: tuple[str, ...]) -> None:
    assert take_apart(f"{BASE} {text}".split()).pipeline == stages


def test_what_nkipy_passes() -> None:
    options = _read(
        "compile --framework XLA /w/hlo_module.pb --pipeline compile SaveTemps "
        "--target trn2 --output=k.neff --lnc 1 --internal-tensorizer-opt-level=2"
    )
    assert (options.model, options.output) == ("/w/hlo_module.pb", "k.neff")
    assert options.lnc == 1
    (note,) = options.notes
    assert "--internal-tensorizer-opt-level=2 has no effect" in note


def test_options_without_effect_are_noted() -> None:
    options = _read(
        f"{BASE} --tensorizer-options=--a --internal-x --enable-future --dump "
        "--fast-math none --num-parallel-jobs 4 --disable-dge "
        "--distribution-strategy=llm-training"
    )
    names = [note.split()[1] for note in options.notes]
    assert sorted(names) == [
        "--disable-dge",
        "--distribution-strategy",
        "--dump",
        "--enable-future",
        "--fast-math",
        "--internal-x",
        "--num-parallel-jobs",
        "--tensorizer-options",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "compile m.pb --internal-foo 7 --framework XLA --target trn2",
        "compile --internal-foo 7 m.pb --framework XLA --target trn2",
        "--internal-foo compile --internal-bar m.pb --framework XLA --target trn2",
        "compile --internal-foo m.pb --internal-bar 7 --framework XLA --target trn2",
        "compile --internal-bar 7 --internal-foo m.pb --framework XLA --target trn2",
        "compile --enable-foo m.pb --internal-bar 7 --framework XLA --target trn2",
        "compile --framework XLA --target trn2 --experimental-foo m.pb",
    ],
)
def test_values_of_unknown_options_may_stand_apart(text: str) -> None:
    options = _read(text)
    assert options.model == "m.pb"
    unknown = [w for w in text.split() if w[2:].startswith(("int", "ena", "exp"))]
    assert options.notes == tuple(
        f"option {name} has no effect in the emulator" for name in unknown
    )


def test_options_about_numbers_are_recorded() -> None:
    options = _read(
        f"{BASE} --model-type transformer --native-int64=enabled "
        "--disable-mixed-precision-accumulation --enable-saturate-infinity"
    )
    assert options.recorded == {
        "model_type": "transformer",
        "native_int64": "enabled",
        "disable_mixed_precision_accumulation": True,
        "enable_saturate_infinity": True,
    }


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("default", set(DOWNCASTS)),
        ("all", set(DOWNCASTS)),
        ("none", set()),
        ("dot", {"dot"}),
        ("pow,all_reduce", {"pow", "all_reduce"}),
    ],
)
def test_downcasts(value: str, expected: set[str]) -> None:
    options = _read(f"{BASE} --implicit-integer-downcast={value}")
    assert options.downcasts == expected


@pytest.mark.parametrize(
    ("value", "level"), [("info", 20), ("35", 35), ("ERROR", 40), ("critical", 50)]
)
def test_verbosity(value: str, level: int) -> None:
    assert _read(f"{BASE} --verbose {value}").level == level


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("compile m.pb --target trn2", "--framework is required"),
        ("compile m.pb --framework XLA", "--target is required"),
        ("compile --framework XLA --target trn2", "got none"),
        (f"{BASE} n.pb", "one file with the HLO; got m.pb n.pb"),
        (f"{BASE} --target inf1", "--target is 'inf1'; expected inf2, trn1"),
        (f"{BASE} --framework TENSORFLOW", "expected XLA"),
        (f"{BASE} --lnc 3", "--lnc is '3'; expected 1, 2"),
        (f"{BASE} --auto-cast some", "expected none, matmult, all"),
        (f"{BASE} --auto-cast-type f8", "expected bf16, fp16, tf32, fp8_e4m3"),
        (f"{BASE} -O4", "--optlevel is '4'"),
        (f"{BASE} --verbose loud", "--verbose is 'loud'"),
        (f"{BASE} --implicit-integer-downcast sum", "expected default, all, none"),
        (f"{BASE} --output", "--output needs a value"),
        (f"{BASE} --pipeline", "--pipeline needs a value"),
        (f"{BASE} --pipeline foo", "--pipeline is 'foo'; expected compile, SaveTemps"),
        (f"{BASE} --pipeline=compile foo --lnc 1", "--pipeline is 'foo'; expected"),
        (f"{BASE} --pipeline=Compile", "--pipeline is 'Compile'; expected"),
        (f"{BASE} m2.pb --internal-foo 7", "expected one file with the HLO; got m.pb"),
        (f"{BASE} --enable-foo 7", "expected one file with the HLO; got m.pb 7"),
        (f"{BASE} --auto-kast none", "did you mean --auto-cast?"),
        (f"{BASE} --no_cache", "unknown option --no_cache"),
        (f"{BASE} --internal-emulator-checks=maybe", "expected error, warn"),
    ],
)
def test_usage_errors(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("?", r"\?")):
        _read(text)


@pytest.mark.parametrize("target", ["inf2", "trn1", "trn1n"])
def test_two_cores_to_one_where_there_is_no_such_thing(target: str) -> None:
    with pytest.raises(CompilationError) as caught:
        _read(f"{BASE} --target {target} --lnc 2")
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "NCC_EARG001"
    assert f"--lnc 2 is not supported by {target}" in diagnostic.message
    assert _read(f"{BASE} --target {target}").lnc == 1


@pytest.mark.parametrize(
    ("instance", "target"),
    [
        (None, "trn2"),
        ("", "trn2"),
        ("trn2.48xlarge", "trn2"),
        ("trn1.2xlarge", "trn1"),
        ("trn1n.32xlarge", "trn1"),
        ("inf2.xlarge", "trn1"),
        ("trn2u.48xlarge", "trn2"),
        ("trn3", "trn3"),
        ("m5.large", "trn2"),
    ],
)
def test_target_of_the_emulated_machine(
    instance: str | None, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(INSTANCE_VARIABLE, raising=False)
    if instance is not None:
        monkeypatch.setenv(INSTANCE_VARIABLE, instance)
    assert emulated_target() == target
