"""Families without a recorded checkpoint read a tiny one in their published layout.

The weights and the expected logits come from transformers' own classes of the same architecture,
under an explicit mask; only the config's names and, where a release differs, the tensors' names
are changed.
"""

from __future__ import annotations

import json

import attrs
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from dlmkit_strategies.families import OpenDcoder
from tests.engines.calls import logits
from tests.models.checkpoints import load_folder
from tests.models.test_parity import TOLERANCE, pattern_mask

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "vocab_size": 96,
}
EXPERTS = {"moe_intermediate_size": 16, "norm_topk_prob": True, "num_experts": 4}
ENCODER = {"model.": "encoder.", "lm_head.": "diffusion_head."}


@attrs.frozen(kw_only=True)
class Release:
    """How a release differs from a stock model, and what is expected of it."""

    stock: str
    architecture: str
    family: str
    fields: dict = attrs.field(factory=dict)
    sizes: dict = attrs.field(factory=dict)
    renamed: dict = attrs.field(factory=dict)
    named: object = None
    attention: tuple = ("full", None)
    shift: int = 0
    mask_id: int | None = 90


RELEASES = {
    "Dream-Coder, DreamOn, DiffuCoder": Release(
        stock="Qwen2", architecture="DreamModel", family="dream", shift=1
    ),
    "DreamReasoner": Release(
        stock="Qwen3",
        architecture="DreamForCausalLM",
        family="dream-reasoner",
        sizes={"head_dim": 12},
        attention=("block-causal", 32),
    ),
    "Open-dCoder": Release(
        stock="Qwen2",
        architecture="Qwen2ForCausalLM",
        family="open-dcoder",
        named=OpenDcoder(),
        sizes={"tie_word_embeddings": True},
        shift=1,
    ),
    "iLLaDA": Release(
        stock="Llama",
        architecture="ILLaDAForCausalLM",
        family="illada",
        sizes={"tie_word_embeddings": True},
        mask_id=5,
    ),
    "Stable-DiffCoder": Release(
        stock="Llama",
        architecture="StableDiffcoderForCausalLM",
        family="stable-diffcoder",
        fields={"model_type": "llama"},
        attention=("block-causal", 4),
        mask_id=5,
    ),
    "TraDo": Release(
        stock="Qwen3",
        architecture="SDARForCausalLM",
        family="sdar",
        sizes={"head_dim": 12},
        attention=("block-causal", 4),
    ),
    "SDAR with experts": Release(
        stock="Qwen3Moe",
        architecture="SDARMoeForCausalLM",
        family="sdar",
        sizes={**EXPERTS, "num_experts_per_tok": 2, "decoder_sparse_step": 1},
        fields={"block_size": 8},
        attention=("block-causal", 8),
    ),
    "Efficient-DLM 4B": Release(
        stock="Qwen3",
        architecture="EfficientDLM",
        family="efficient-dlm",
        fields={"block_size": 32, "dlm_paradigm": "bidirectional", "model_type": "qwen3"},
        renamed=ENCODER,
        attention=("prefix-causal", 32),
    ),
    "Efficient-DLM 1.5B": Release(
        stock="Qwen2",
        architecture="EfficientDLM",
        family="efficient-dlm",
        fields={"attention_bias": True, "block_size": 16},
        attention=("prefix-causal", 16),
    ),
    "A2D from Qwen2": Release(stock="Qwen2", architecture="A2DQwen2LMHeadModel", family="a2d"),
    "A2D from Qwen3": Release(stock="Qwen3", architecture="A2DQwen3LMHeadModel", family="a2d"),
    "A2D from Llama": Release(stock="Llama", architecture="A2DLlamaLMHeadModel", family="a2d"),
}


def stock_model(release):
    """The stock network with random weights, wide enough that mistakes change the argmax."""
    sizes = SIZES | {"tie_word_embeddings": False} | release.sizes
    config = getattr(transformers, f"{release.stock}Config")(**sizes)
    torch.manual_seed(3)
    model = getattr(transformers, f"{release.stock}ForCausalLM")(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3 + (parameter.ndim == 1))
    return model.eval()


def published(release, model, path):
    """The checkpoint as a release writes it."""
    model.save_pretrained(path)
    config = json.loads((path / "config.json").read_text())
    named = {"architectures": [release.architecture], "model_type": "elsewhere"}
    stated = {} if release.mask_id == 5 else {"mask_token_id": release.mask_id}
    (path / "config.json").write_text(json.dumps({**config, **named, **stated, **release.fields}))
    tensors = load_file(path / "model.safetensors")
    for old, new in release.renamed.items():
        tensors = {name.replace(old, new, 1): value for name, value in tensors.items()}
    save_file(tensors, path / "model.safetensors")
    return load_folder(path, dtype="float32", family=release.named)


@pytest.mark.parametrize("release", RELEASES.values(), ids=RELEASES.keys())
def test_a_published_layout_gives_the_stock_logits(release, tmp_path):
    """Names, biases, norms, experts, rotary and heads land where they belong."""
    model = stock_model(release)
    found = published(release, model, tmp_path)
    info = found.network.info
    assert (release.family, release.shift) == (found.provenance.family, info.logit_shift)
    assert release.attention == (info.attention.kind, info.attention.block)
    assert release.mask_id == info.mask_id
    ids_BQ = torch.randint(0, 90, (2, 21), generator=torch.Generator().manual_seed(1))
    mask_B1QQ = pattern_mask(info.attention, ids_BQ)
    allowed = torch.ones(2, 1, 21, 21, dtype=torch.bool) if mask_B1QQ is None else mask_B1QQ
    added = torch.zeros(allowed.shape).masked_fill(~allowed, torch.finfo(torch.float32).min)
    with torch.inference_mode():
        expected_BQV = model(ids_BQ, attention_mask=added).logits
    found_BQV = logits(found.network, ids_BQ, mask_new_B1QQ=mask_B1QQ)
    assert_close(expected_BQV, found_BQV, **TOLERANCE["float32"])
