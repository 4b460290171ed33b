"""Models of transformers, small and with random weights, compiled: as eager ones."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import spiky
from nkipy.testing import run_python
from spiky.torch import init_nkipy_backend

if importlib.util.find_spec("transformers") is None:
    pytest.skip(
        "needs transformers, which `python3 run.py torch` installs",
        allow_module_level=True,
    )

import transformers

from .models import MODELS, made, mixtral, on_device, words_of

#: Sums in another order than the CPU's.
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(autouse=True)
def _initialized() -> None:
    init_nkipy_backend()
    spiky.reset_stats()


def _slow(*values: Any) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


# -- inference -------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("gpt2", "cpu"),
        *(
            _slow(name, device)
            for name in MODELS
            for device in ("cpu", "nkipy")
            if (name, device) != ("gpt2", "cpu")
        ),
    ],
)
def test_what_is_compiled_says_what_eager_says(name: str, device: str) -> None:
    model, inputs = made(name, "cpu")
    model.eval()
    with torch.no_grad():
        wanted = model(**inputs)
        model, inputs = made(name, device)
        compiled = torch.compile(model.eval(), backend="nkipy", fullgraph=True)
        for _ in range(2):
            found = compiled(**inputs)
            assert found.logits.device.type == device
            torch.testing.assert_close(found.logits.cpu(), wanted.logits, **CLOSE)
            torch.testing.assert_close(found.loss.cpu(), wanted.loss, **CLOSE)
    stats = spiky.get_stats()
    assert (stats.total_compile_count, stats.total_executions) == (1, 2)


@pytest.mark.slow
def test_a_mixture_of_experts_is_the_cpu_s() -> None:
    """As it is and compiled; its products by groups run eagerly between two parts."""
    model, inputs = on_device(mixtral, "cpu")
    with torch.no_grad():
        wanted = model.eval()(**inputs).logits
        model, inputs = on_device(mixtral, "nkipy")
        found = model.eval()(**inputs).logits
        torch.testing.assert_close(found.cpu(), wanted, **CLOSE)
        compiled = torch.compile(model, backend="nkipy")
        with pytest.warns(UserWarning, match="grouped_mm_fallback.*runs eagerly"):
            found = compiled(**inputs).logits
        torch.testing.assert_close(found.cpu(), wanted, **CLOSE)


PROCESS = """
import json, sys
sys.path.insert(0, sys.argv[1])
import torch
from nkipy.compiler.driver import Compiler
from models import made
from spiky import get_stats
from spiky.torch import init_nkipy_backend

if sys.argv[4] == "again":
    del Compiler.compile  # whoever calls it fails

init_nkipy_backend(nkipy_cache=sys.argv[2])
model, inputs = made(sys.argv[3], "nkipy")
compiled = torch.compile(model.eval(), backend="nkipy", fullgraph=True)
with torch.no_grad():
    logits = compiled(**inputs).logits
stats = get_stats()
print(json.dumps([logits.tolist(), stats.total_compile_count]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=[] if n == "bert" else pytest.mark.exhaustive)
        for n in MODELS
    ],
)
def test_another_process_finds_what_was_compiled(name: str, tmp_path: Path) -> None:
    locks = tmp_path / "locks"  # cores of this test's own
    locks.mkdir(mode=0o700)
    said = []
    for which in ("first", "again"):
        arguments = (str(Path(__file__).parent), str(tmp_path / "cache"), name, which)
        done = run_python(
            "-c", PROCESS, *arguments, env={"NKIPY_EMULATOR_LOCK_DIR": str(locks)}
        )
        assert done.returncode == 0, done.stderr
        said.append(json.loads(done.stdout))
    assert said[0] == said[1] and said[0][1] == 1
    model, inputs = made(name, "cpu")
    with torch.no_grad():
        wanted = model.eval()(**inputs).logits
    torch.testing.assert_close(torch.tensor(said[1][0]), wanted, **CLOSE)


# -- training --------------------------------------------------------------------------
def _trained(
    name: str, device: str, steps: int, is_compiled: bool
) -> tuple[list[float], Mapping[str, torch.Tensor]]:
    """The loss of each step, and what there is at the end."""
    model, inputs = made(name, device)
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    step = torch.compile(model, backend="nkipy") if is_compiled else model
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = step(**inputs).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, {key: value.cpu() for key, value in model.state_dict().items()}


@pytest.mark.parametrize(
    ("name", "device", "steps"),
    [
        ("gpt2", "nkipy", 3),
        *(_slow(name, "nkipy", 20) for name in MODELS),
        _slow("bert", "cpu", 20),
    ],
)
def test_losses_of_training_are_those_of_eager(
    name: str, device: str, steps: int
) -> None:
    wanted, state = _trained(name, "cpu", steps, False)
    found, other = _trained(name, device, steps, True)
    assert wanted[-1] < wanted[0]
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(other, state, rtol=1e-3, atol=1e-3)


# -- sizes -----------------------------------------------------------------------------
@pytest.mark.usefixtures("filled_padding")
@pytest.mark.parametrize("name", ["gpt2", _slow("llama"), _slow("bert")])
def test_texts_of_any_length_take_a_few_buckets(name: str) -> None:
    model, inputs = made(name, "nkipy")
    model.eval()
    eager, _ = made(name, "cpu")
    eager.eval()
    compiled = torch.compile(model, backend="nkipy")
    lengths = (5, 3, 8, 9, 16)
    with torch.no_grad():
        for length in lengths:
            words = {
                key: words_of(2, length, seed=length)
                if key == "input_ids"
                else torch.ones(2, length, dtype=torch.int64)
                for key in inputs
                if key != "labels"
            }
            given = {key: x.to("nkipy") for key, x in words.items()}
            for x in given.values():
                torch._dynamo.mark_dynamic(x, 1)
            found = compiled(**given).logits.cpu()
            torch.testing.assert_close(found, eager(**words).logits, **CLOSE)
    stats = spiky.get_stats()
    assert stats.bucket_hits == {8: 3, 16: 2}
    assert (stats.total_compile_count, stats.total_executions) == (2, len(lengths))


# -- generating ------------------------------------------------------------------------
def _generated(model: Any, cache: Any, words: torch.Tensor, count: int) -> list[int]:
    """The words that follow, each the likeliest, with what is kept of those before."""
    device, position, found = words.device, 0, []
    for _ in range(count):
        stop = position + words.shape[1]
        out = model(
            input_ids=words,
            past_key_values=cache,
            use_cache=True,
            position_ids=torch.arange(position, stop, device=device)[None],
        )
        words, position = out.logits[:, -1:].argmax(-1), stop
        found.append(int(words))
    return found


@pytest.mark.usefixtures("filled_padding")
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("gpt2", "static"),
        _slow("gpt2", "dynamic"),
        _slow("llama", "static"),
        _slow("llama", "dynamic"),
    ],
)
def test_the_words_that_follow_are_those_of_eager(name: str, kind: str) -> None:
    words, count = torch.tensor([[3, 9, 5]]), 8
    eager: Any = made(name, "cpu")[0].eval()
    wanted = eager.generate(
        words,
        attention_mask=torch.ones_like(words),
        do_sample=False,
        min_new_tokens=count,
        max_new_tokens=count,
    )
    model = made(name, "nkipy")[0].eval()
    config: Any = model.config
    if kind == "static":
        cache = transformers.StaticCache(config=config, max_cache_len=16)
        compiled = torch.compile(model, backend="nkipy")
    else:
        cache = transformers.DynamicCache(config=config)
        compiled = torch.compile(model, backend="nkipy", dynamic=True)
    with torch.no_grad():
        found = _generated(compiled, cache, words.to("nkipy"), count)
    assert found == wanted[0, 3:].tolist()
    stats = spiky.get_stats()
    assert stats.total_executions == count
    assert stats.total_compile_count <= (2 if kind == "static" else 4)
