"""The examples do what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from examples.llama.__main__ import generate
from examples.llama.decoder import Config, decoder_layer
from examples.modes import MODES, resident
from nkipy.testing import run_python

EXAMPLES = Path(__file__).parents[2] / "examples"
device_modes = ["simulate", pytest.param("baremetal", marks=pytest.mark.device)]


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
