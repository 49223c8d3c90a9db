"""Families read the sizes of published configs; what no file states has the documented default."""

from __future__ import annotations

import math

import attrs
import pytest
import torch

from dlmkit.errors import ModelError
from dlmkit.models.arch import Llama3Scaling, QueryScale, RotarySpec, YarnScaling
from dlmkit.models.config import Config
from dlmkit.models.rotary import frequencies
from dlmkit_strategies import families
from dlmkit_strategies.families import FAMILIES

QWEN3 = {
    "attention_bias": False,
    "head_dim": 128,
    "hidden_act": "silu",
    "max_position_embeddings": 32768,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1e6,
    "tie_word_embeddings": False,
    "vocab_size": 151936,
}
SDAR_4B = {
    **QWEN3,
    "architectures": ["SDARForCausalLM"],
    "hidden_size": 2560,
    "intermediate_size": 9728,
    "num_hidden_layers": 36,
}
SDAR_30B = {
    **QWEN3,
    "architectures": ["SDARMoeForCausalLM"],
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "moe_intermediate_size": 768,
    "norm_topk_prob": True,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 48,
    "num_key_value_heads": 4,
}
LLADA2_MINI = {
    "architectures": ["LLaDA2MoeModelLM"],
    "first_k_dense_replace": 1,
    "head_dim": 128,
    "hidden_size": 2048,
    "intermediate_size": 5120,
    "max_position_embeddings": 32768,
    "moe_intermediate_size": 512,
    "moe_router_enable_expert_bias": True,
    "n_group": 8,
    "norm_topk_prob": True,
    "num_attention_heads": 16,
    "num_experts": 256,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 20,
    "num_key_value_heads": 4,
    "num_shared_experts": 1,
    "partial_rotary_factor": 0.5,
    "rms_norm_eps": 1e-6,
    "rope_theta": 6e5,
    "routed_scaling_factor": 2.5,
    "tie_word_embeddings": False,
    "topk_group": 4,
    "vocab_size": 157184,
}
LLADA_MOE = {
    "architectures": ["LLaDAMoEModelLM"],
    "dense_intermediate_size": 8192,
    "expert_intermediate_size": 1024,
    "hidden_size": 2048,
    "max_position_embeddings": 8192,
    "norm_topk_prob": None,
    "num_attention_heads": 16,
    "num_experts": 64,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 16,
    "num_key_value_heads": 16,
    "qk_layernorm": True,
    "rope_theta": 50000.0,
    "tie_word_embeddings": False,
    "vocab_size": 157184,
}
NEMOTRON_8B = {
    "architectures": ["NemotronLabsDiffusionModel"],
    "head_dim": 128,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 262144,
    "num_attention_heads": 32,
    "num_hidden_layers": 34,
    "num_key_value_heads": 8,
    "rope_parameters": {
        "factor": 16.0,
        "llama_4_scaling_beta": 0.1,
        "mscale": 1.0,
        "mscale_all_dim": 1.0,
        "original_max_position_embeddings": 16384,
        "rope_theta": 1e6,
        "rope_type": "yarn",
    },
    "tie_word_embeddings": False,
    "vocab_size": 131072,
}


def family_of(fields):
    name = fields["architectures"][0]
    return next(family for family in FAMILIES if name in family.architectures)


def described(fields, **options):
    return family_of(fields)(**options).describe(Config(fields), ("lm_head.weight",))


def parameters(fields):
    family = family_of(fields)()
    with torch.device("meta"):
        module = family.network(described(fields))
    return sum(value.numel() for value in module.parameters())


@pytest.mark.parametrize(
    ("fields", "billions", "kib", "attention"),
    [
        (SDAR_4B, 4.4, 144, ("block-causal", 4)),
        (SDAR_30B, 30.5, 96, ("block-causal", 4)),
        (LLADA2_MINI, 16.3, 40, ("block-causal", 32)),
        (LLADA_MOE, 7.4, 128, ("full", None)),
        (NEMOTRON_8B, 8.5, 136, ("prefix-causal", 32)),
    ],
    ids=["sdar-4b", "sdar-30b", "llada2-mini", "llada-moe", "nemotron-8b"],
)
def test_published_models_have_their_size(fields, billions, kib, attention):
    """Parameters as the release's name says, bytes of bfloat16 keys and values per token."""
    arch = described(fields)
    assert billions == pytest.approx(parameters(fields) / 1e9, abs=0.06)
    assert kib * 1024 == arch.kv_bytes_per_token(2)
    assert attention == (arch.attention.kind, arch.attention.block)


def test_routing_is_that_of_the_release():
    """Grouped sigmoid with a shared expert, or plain softmax with or without renormalising."""
    llada2 = described(LLADA2_MINI).moe
    assert ("sigmoid", 8, 4, 2.5) == (
        llada2.score,
        llada2.groups,
        llada2.kept_groups,
        llada2.scale,
    )
    assert (512, 1, True) == (llada2.shared_ffn, llada2.dense_layers, llada2.selection_bias)
    assert described(SDAR_30B).moe.renormalise
    assert not described(LLADA_MOE).moe.renormalise


def test_llada22_is_read_as_its_line():
    """128 K of context, and otherwise the arrangement of 2.0 and 2.1."""
    longer = described({**LLADA2_MINI, "max_position_embeddings": 131072})
    assert described(LLADA2_MINI) == attrs.evolve(longer, max_positions=32768)


def test_half_of_each_llada2_head_rotates():
    """Stated as a share of the head, or as a number of dimensions."""
    assert 64 == described(LLADA2_MINI).rotary.dim
    assert 32 == described({**LLADA2_MINI, "rotary_dim": 32}).rotary.dim


@pytest.mark.parametrize(
    ("changes", "options", "block"),
    [({}, {}, 4), ({"block_size": 8}, {}, 8), ({"block_size": 8}, {"block": 16}, 16)],
)
def test_the_block_is_the_users_then_the_configs_then_the_familys(changes, options, block):
    """Releases of SDAR say it only in the repository's name."""
    assert block == described({**SDAR_4B, **changes}, **options).attention.block


@pytest.mark.parametrize(
    ("fields", "field", "value"),
    [
        (SDAR_4B, "attention_bias", True),
        (SDAR_30B, "decoder_sparse_step", 2),
        (LLADA2_MINI, "score_function", "softmax"),
        (LLADA2_MINI, "use_qkv_bias", True),
        (LLADA_MOE, "attention_bias", True),
        (LLADA_MOE, "qk_layernorm", False),
        (LLADA_MOE, "routed_scaling_factor", 2),
        (NEMOTRON_8B, "attention_bias", True),
        (NEMOTRON_8B, "mlp_bias", True),
    ],
)
def test_switches_that_no_release_uses_are_refused(fields, field, value):
    """The error names the field and the architecture."""
    with pytest.raises(ModelError, match=f"{field} is .*, but {fields['architectures'][0]}"):
        described({**fields, field: value})


def test_families_without_architectures_are_never_chosen():
    """A user names Open-dCoder; its files look like Qwen2's."""
    assert () == families.OpenDcoder.architectures
    assert family_of({"architectures": ["Qwen2ForCausalLM"]}) is families.Qwen2


def test_llama3_scaling_keeps_fast_and_stretches_slow_frequencies():
    """As in the Llama 3 report: kept, stretched, and blended between, one by one."""
    scaling = Llama3Scaling(factor=8.0, low=1.0, high=4.0, original=64)
    plain = RotarySpec(base=5e5, dim=16)
    found = frequencies(attrs.evolve(plain, scaling=scaling), torch.device("cpu")).tolist()
    for before, after in zip(frequencies(plain, torch.device("cpu")).tolist(), found, strict=True):
        turns = 64 * before / (2 * math.pi)
        kept = min(max((turns - 1) / (4 - 1), 0), 1)
        assert after == pytest.approx(kept * before + (1 - kept) * before / 8)


def test_yarn_interpolates_between_its_borders():
    """The fastest frequency is kept, the slowest divided; the temperature follows the factor."""
    fields = {
        "rope_theta": 1e4,
        "rope_scaling": {"type": "yarn", "factor": 4, "original_max_position_embeddings": 32},
    }
    spec = Config(fields).rotary(16)
    assert isinstance(spec.scaling, YarnScaling)
    assert spec.scaling.magnitude == pytest.approx(0.1 * math.log(4) + 1)
    found = frequencies(spec, torch.device("cpu"))
    plain = frequencies(attrs.evolve(spec, scaling=None), torch.device("cpu"))
    assert 1.0 == found[0] / plain[0]
    assert 0.25 == found[-1] / plain[-1]


def test_nemotron_scales_queries_by_their_position():
    """The factor and the length come from the rotary fields."""
    assert QueryScale(beta=0.1, original=16384) == described(NEMOTRON_8B).query_scale
