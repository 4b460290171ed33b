"""The examples do what they say."""

from __future__ import annotations

import runpy
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from examples.llama.__main__ import generate
from examples.llama.decoder import Config, decoder_layer
from examples.modes import MODES, resident
from nkipy.testing import run_python

EXAMPLES = Path(__file__).parents[2] / "examples"
device_modes = ["simulate", pytest.param("baremetal", marks=pytest.mark.device)]

HAS_TORCH = find_spec("torch") is not None and find_spec("spike_torch") is not None
needs_torch = pytest.mark.skipif(not HAS_TORCH, reason="needs torch and its device")
needs_spiky = pytest.mark.skipif(
    not HAS_TORCH or find_spec("spiky") is None, reason="needs torch and spiky"
)
COMPILING = EXAMPLES / "torch_compile"
COMPILING_PROGRAMS = [
    path
    for path in sorted(COMPILING.glob("*.py"))
    if path.stem not in ("__init__", "models")
]
#: Runs a program in a folder, where it may write.
IN_FOLDER = (
    "import os, runpy, sys; os.chdir(sys.argv[1]); del sys.argv[:2]; "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)
TORCH_PROGRAMS = ("examples/torch_digits", "examples/playground/torch_device.py")


def run(*command: str) -> str:
    done = run_python(*command)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.device
def test_simple_kernel_shows_the_hlo_that_ran():
    text = run("examples/playground/simple_nkipy_kernel.py")
    assert "The same numbers" in text and "ENTRY" in text and "reduce(" in text


@pytest.mark.device
def test_softmax_holds_its_error_bounds():
    lines = run("examples/playground/softmax.py").strip().splitlines()
    assert [line.split(":")[0].strip() for line in lines[1:]] == list(MODES)
    assert all("bfloat16" in line for line in lines[1:])


def test_a_mode_can_be_chosen():
    text = run("examples/playground/softmax.py", "--mode", "simulate")
    assert "simulate:" in text and "baremetal" not in text


@pytest.mark.device
def test_the_device_kernel_is_timed():
    text = run("examples/playground/device_kernel.py", "--size", "128")
    assert "The same numbers" in text
    for mode in ("device", "host"):
        (line,) = [x for x in text.splitlines() if x.strip().startswith(f"{mode}:")]
        assert "over 10 runs" in line and "TFLOP/s" in line
        assert ("estimate" in line) == (mode == "device")


def test_each_example_has_a_page():
    """Which the build of the docs runs."""
    pages = {path.stem for path in (EXAMPLES / "gallery").glob("[!_]*.py")}
    scripts = {path.stem for path in (EXAMPLES / "playground").glob("[!_]*.py")}
    programs = {path.parent.name for path in EXAMPLES.glob("*/__main__.py")}
    assert len(pages) >= 5 and pages == scripts | programs


@pytest.mark.slow
@pytest.mark.device
def test_all_modes_are_compared_by_the_larger_examples(tmp_path):
    text = run("-m", "examples.llama", "--steps", "4")
    assert text.count("programs for 4 steps: 1") == 2
    assert "largest difference, baremetal" in text
    plot = tmp_path / "loss.png"
    text = run("-m", "examples.digits", "--epochs", "1", "--plot", str(plot))
    assert "largest difference of the loss, baremetal" in text
    assert plot.exists()


@pytest.mark.parametrize("mode", device_modes)
def test_digits_reach_95_percent_and_the_curves_agree(mode, tmp_path):
    from examples.digits import model, train  # and scikit-learn, which takes seconds

    data = train.load()
    losses = {}
    for name in ("numpy", mode):
        jit = MODES[name]
        params = resident(model.init(), name)
        losses[name] = train.train(name, jit(model.train_step), params, data)
        assert train.accuracy(jit(model.logits), params, data) > 0.95
    assert losses[mode].shape == (550,)
    np.testing.assert_allclose(losses[mode], losses["numpy"], atol=1e-3)
    train.plot(losses, tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("mode", device_modes)
def test_decoder_layer_equals_numpy_with_one_program_for_all_steps(mode):
    config = Config()
    layer = MODES[mode](decoder_layer)
    ours, our_cache = generate(layer, config, 8, mode=mode)
    theirs, their_cache = generate(decoder_layer, config, 8)
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(our_cache.k, their_cache.k, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(our_cache.v, their_cache.v, rtol=1e-3, atol=1e-4)
    assert layer.cache_size() == 1
    assert np.any(our_cache.k[:, 7]) and not np.any(our_cache.k[:, 8:])


# -- with torch ------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.device
@needs_torch
def test_the_first_steps_with_torch_tell_who_computes():
    text = run("examples/playground/torch_device.py", "--size", "64")
    assert "(64, 64) torch.float32 on nkipy:0, which took 16384 bytes" in text
    assert "computed by the CPU: aten::_softmax.out 1x" in text
    assert "computed by the CPU beside the kernel: nothing" in text
    assert "nkipy:0: " in text and "taken by tensors" in text


@pytest.mark.slow
@pytest.mark.device
@needs_torch
def test_torch_networks_are_trained_saved_and_loaded(tmp_path):
    plot, weights = tmp_path / "new/loss.png", tmp_path / "weights.pt"
    files = ("--plot", str(plot), "--save", str(weights))
    text = run("-m", "examples.torch_digits", "--steps", "5", *files)
    for name in ("convolutional", "transformer"):
        assert f"{name}: loss " in text
        for device in ("cpu", "nkipy"):
            assert f"{name}, saved and loaded on {device}: the same pred" in text
    assert plot.read_bytes().startswith(b"\x89PNG") and weights.stat().st_size > 1000


@pytest.mark.slow
@pytest.mark.device
@needs_torch
@pytest.mark.parametrize("name", ["convolutional", "transformer"])
def test_torch_networks_reach_95_percent_and_the_curves_agree(name, request, tmp_path):
    import torch

    from examples.torch_digits import train

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    request.addfinalizer(lambda: torch.set_num_threads(threads))
    data = {device: train.load(device) for device in ("cpu", "nkipy")}
    trained = {device: train.train(name, data[device], 300) for device in data}
    for device, done in trained.items():
        assert {p.device.type for p in done.model.parameters()} == {device}
        assert (done.losses.shape, done.losses.dtype) == ((300,), np.float32)
        assert train.accuracy(done.model, data[device]) > 0.95
    losses = {device: done.losses for device, done in trained.items()}
    np.testing.assert_allclose(losses["nkipy"][:30], losses["cpu"][:30], atol=1e-4)
    train.plot({name: losses}, tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.device
@needs_spiky
@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("quickstart", "(1, 64) on cpu: as eager says"),
        ("dynamic_shapes", "7 calls, 2 programs\ncalls by bucket: {8: 2, 16: 5}"),
        ("options", "(5, 64) on nkipy:0\n(8, 64), of which (5, 64) count"),
        ("memory_and_stats", "3 {8: 2, 16: 1}\nUsed: "),
    ],
)
def test_first_steps_with_torch_compile(program, said, tmp_path):
    assert said in run("-c", IN_FOLDER, str(tmp_path), f"{COMPILING}/{program}.py")


@pytest.mark.slow
@needs_spiky
@pytest.mark.parametrize("program", COMPILING_PROGRAMS, ids=lambda p: p.stem)
def test_programs_with_torch_compile_say_what_they_do(program, monkeypatch, capsys):
    for argument, status in (("--help", 0), ("--nothing", 2)):
        monkeypatch.setattr("sys.argv", [program.name, argument])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(program), run_name="__main__")
        assert end.value.code == status
    written = capsys.readouterr()
    assert written.out.startswith(f"usage: {program.name} [-h]")
    assert written.err.endswith("error: unrecognized arguments: --nothing\n")


@pytest.mark.slow
@pytest.mark.device
@needs_spiky
@pytest.mark.skipif(not find_spec("transformers"), reason="needs transformers")
@pytest.mark.parametrize(
    ("program", "arguments", "said"),
    [
        ("gpt2", ("--longest", "9"), "cache that grows: 3 words as eager's"),
        ("fine_tuning", ("--steps", "4"), "largest difference of the loss from eager"),
        ("resnet", ("--largest", "4"), "1 programs. Times are this machine's"),
    ],
)
def test_models_of_transformers_are_compiled(program, arguments, said, tmp_path):
    more = ()
    if program == "gpt2":
        more = ("--words", "3", "--plot", str(tmp_path / "times.png"))
    text = run(f"examples/torch_compile/{program}.py", *arguments, *more)
    assert said in text
    if more:
        assert (tmp_path / "times.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.device
@needs_spiky
def test_ranks_compile_for_a_core_each(tmp_path):
    locks = tmp_path / "locks"  # cores of this test's own
    locks.mkdir(mode=0o700)
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    done = run_python(
        *launch,
        f"{COMPILING}/distributed.py",
        env={
            "NKIPY_EMULATOR_LOCK_DIR": str(locks),
            "NEURON_RT_VISIBLE_CORES": "0,1",
        },
    )
    assert done.returncode == 0, done.stderr
    for rank in range(2):  # whose lines may be joined
        assert f"rank {rank} of 2: (1, 64)" in done.stdout


@pytest.mark.parametrize("program", TORCH_PROGRAMS)
def test_a_program_that_needs_torch_says_what_to_install(program, tmp_path):
    """Modules that cannot be found are in the place of torch."""
    hidden = "import sys; sys.modules.update(torch=None, spike_torch=None); "
    script = EXAMPLES.parent / program
    as_script = f"import runpy, sys; sys.argv[1:] = []; runpy.run_path({str(script)!r}"
    finder = (
        "import importlib.util as u; found = u.find_spec; u.find_spec = lambda n, *a: "
        "None if n in ('torch', 'spike_torch') else found(n, *a); "
    )
    done = run_python("-c", f"{finder}{hidden}{as_script}, run_name='__main__')")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "there is no torch and no spike_torch here" in done.stderr
    assert "`python3 run.py torch` in the clone installs" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "wrong", "said"),
    [
        (TORCH_PROGRAMS[0], ("--steps", "0"), "--steps: 0 is no number from 1 on"),
        (TORCH_PROGRAMS[0], ("--model", "mlp"), "--model: invalid choice: 'mlp'"),
        (TORCH_PROGRAMS[0], ("--plot", "."), "--plot: . is a folder, not a file"),
        (TORCH_PROGRAMS[0], ("--seed", "-1"), "--seed: -1 is no number from 0 on"),
        (TORCH_PROGRAMS[0], ("--plot", "x", "--save", "./x"), "are one file: x"),
        (TORCH_PROGRAMS[0], ("--save", "/dev/null/x"), "/dev/null is no folder to wr"),
        (TORCH_PROGRAMS[1], ("--size", "x"), "--size: x is no number from 1 on"),
    ],
)
def test_wrong_arguments_of_torch_programs(program, wrong, said):
    done = run_python(program, *wrong)
    assert done.returncode == 2 and said in done.stderr.splitlines()[-1]
    assert "--help" not in done.stdout
