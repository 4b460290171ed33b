"""What the examples share: models of transformers with random weights, and clocks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
import transformers

#: Words that a text is made of.
WORDS = 64
#: What a table of times is about.
TIMES = (
    "Times are this machine's: measured, none estimated. Without a Trainium, the core "
    "is emulated, and they say nothing of one."
)


def gpt2(width: int = 32, positions: int = 128) -> Any:
    """GPT-2 of two layers, without dropout."""
    config = transformers.GPT2Config(
        n_layer=2,
        n_head=2,
        n_embd=width,
        vocab_size=WORDS,
        n_positions=positions,
        bos_token_id=1,
        eos_token_id=2,
    )
    torch.manual_seed(0)
    return transformers.GPT2LMHeadModel(config).eval()


def bert(words: int, length: int, labels: int) -> Any:
    """A BERT of two layers that tells texts apart, without dropout."""
    config = transformers.BertConfig(
        num_hidden_layers=2,
        num_attention_heads=2,
        hidden_size=32,
        intermediate_size=64,
        vocab_size=words,
        max_position_embeddings=length,
        num_labels=labels,
        problem_type="single_label_classification",
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    torch.manual_seed(0)
    return transformers.BertForSequenceClassification(config)


def resnet() -> Any:
    """A residual network for images (n, 3, 32, 32)."""
    config = transformers.ResNetConfig(
        num_channels=3,
        embedding_size=8,
        hidden_sizes=[8, 16],
        depths=[1, 1],
        layer_type="basic",
        num_labels=10,
    )
    torch.manual_seed(0)
    return transformers.ResNetForImageClassification(config).eval()


def seconds(call: Callable[[], object], runs: int = 5) -> float:
    """The shortest of some calls."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)
