"""The examples do what they say."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from examples.digits import model, train
from examples.llama.__main__ import generate
from examples.llama.decoder import Config, decoder_layer
from nkipy.runtime import simulate_jit


def run(*command: str, cwd: str | None = None) -> str:
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, cwd=cwd
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_simple_kernel_shows_the_hlo_that_ran():
    text = run("examples/playground/simple_nkipy_kernel.py")
    assert "The same numbers" in text and "ENTRY" in text and "reduce(" in text


def test_softmax_holds_its_error_bounds():
    assert text_lines(run("examples/playground/softmax.py")) == 4


def text_lines(text: str) -> int:
    return len(text.strip().splitlines())


def test_digits_reach_95_percent_and_the_curves_agree(tmp_path):
    data = train.load()
    results = {}
    for name, wrap in (("numpy", lambda kernel: kernel), ("simulate", simulate_jit)):
        step = wrap(model.train_step)
        params, losses = train.train(name, step, data)
        results[name] = losses
        assert train.accuracy(wrap(model.logits), params, data) > 0.95
    assert results["simulate"].shape == (550,)
    np.testing.assert_allclose(results["simulate"], results["numpy"], atol=1e-3)
    train.plot(results, tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_decoder_layer_equals_numpy_with_one_program_for_all_steps():
    config = Config()
    simulated = simulate_jit(decoder_layer)
    ours, our_cache = generate(simulated, config, 8)
    theirs, their_cache = generate(decoder_layer, config, 8)
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(our_cache.k, their_cache.k, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(our_cache.v, their_cache.v, rtol=1e-3, atol=1e-4)
    assert simulated.cache_size() == 1
    assert np.any(our_cache.k[:, 7]) and not np.any(our_cache.k[:, 8:])
