"""Small models of transformers, with random weights, and inputs of theirs."""

from __future__ import annotations

from collections.abc import Callable

import torch
import transformers

#: Numbers of words.
WORDS = 31

Inputs = dict[str, torch.Tensor]


def words_of(batch: int, length: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, WORDS, (batch, length), generator=generator)


def gpt2() -> tuple[torch.nn.Module, Inputs]:
    config = transformers.GPT2Config(
        n_layer=2,
        n_head=2,
        n_embd=16,
        vocab_size=WORDS,
        n_positions=64,
        bos_token_id=1,
        eos_token_id=2,
        attn_pdrop=0.0,
        embd_pdrop=0.0,
        resid_pdrop=0.0,
    )
    text = words_of(2, 5)
    model = transformers.GPT2LMHeadModel(config)
    model.loss_type = "ForCausalLM"  # it warns in each graph where none is named
    return model, {"input_ids": text, "labels": text}


def llama() -> tuple[torch.nn.Module, Inputs]:
    """Rotated positions, and two heads that share keys."""
    config = transformers.LlamaConfig(
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        hidden_size=16,
        intermediate_size=32,
        vocab_size=WORDS,
        max_position_embeddings=64,
    )
    text = words_of(2, 5)
    model = transformers.LlamaForCausalLM(config)
    return model, {"input_ids": text, "labels": text}


def mixtral() -> tuple[torch.nn.Module, Inputs]:
    """A mixture of experts, whose tokens it counts by a histogram."""
    config = transformers.MixtralConfig(
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        num_local_experts=3,
        hidden_size=16,
        intermediate_size=32,
        vocab_size=WORDS,
        max_position_embeddings=64,
    )
    text = words_of(2, 5)
    return transformers.MixtralForCausalLM(config), {"input_ids": text, "labels": text}


def bert() -> tuple[torch.nn.Module, Inputs]:
    """With a mask: the second text is shorter."""
    config = transformers.BertConfig(
        num_hidden_layers=2,
        num_attention_heads=2,
        hidden_size=16,
        intermediate_size=32,
        vocab_size=WORDS,
        max_position_embeddings=64,
        num_labels=3,
        problem_type="single_label_classification",
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    inputs = {"input_ids": words_of(2, 5), "attention_mask": mask}
    model = transformers.BertForSequenceClassification(config)
    return model, {**inputs, "labels": torch.tensor([2, 0])}


def _images(size: int) -> Inputs:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(4, 1, size, size, generator=generator)
    return {"pixel_values": images, "labels": torch.tensor([2, 0, 1, 1])}


def vit() -> tuple[torch.nn.Module, Inputs]:
    config = transformers.ViTConfig(
        num_hidden_layers=2,
        num_attention_heads=2,
        hidden_size=16,
        intermediate_size=32,
        image_size=8,
        patch_size=4,
        num_channels=1,
        num_labels=3,
        problem_type="single_label_classification",
    )
    return transformers.ViTForImageClassification(config), _images(8)


def resnet() -> tuple[torch.nn.Module, Inputs]:
    """Its running statistics are buffers, which training writes."""
    config = transformers.ResNetConfig(
        num_channels=1,
        embedding_size=4,
        hidden_sizes=[4, 8],
        depths=[1, 1],
        layer_type="basic",
        num_labels=3,
        problem_type="single_label_classification",
    )
    return transformers.ResNetForImageClassification(config), _images(16)


MODELS: dict[str, Callable[[], tuple[torch.nn.Module, Inputs]]] = {
    make.__name__: make for make in (gpt2, llama, bert, vit, resnet)
}


def made(name: str, device: str) -> tuple[torch.nn.Module, Inputs]:
    """The same model, with the same numbers, each time."""
    return on_device(MODELS[name], device)


def on_device(
    make: Callable[[], tuple[torch.nn.Module, Inputs]], device: str
) -> tuple[torch.nn.Module, Inputs]:
    torch.manual_seed(0)
    model, inputs = make()
    return model.to(device), {key: x.to(device) for key, x in inputs.items()}
