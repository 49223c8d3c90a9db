"""Families read the real values of published configs, and refuse what they do not implement."""

from __future__ import annotations

import json

import attrs
import pytest

from dlmkit.errors import ModelError
from dlmkit.models.arch import AttentionPattern
from dlmkit.models.config import Config
from dlmkit.models.family import find_family
from dlmkit_strategies.families import FAMILIES, Dream, Llada, Qwen2
from tests.models.checkpoints import FOLDERS, folder, tiny_config

LLADA_8B = {
    "architectures": ["LLaDAModelLM"],
    "d_model": 4096,
    "embedding_size": 126464,
    "eos_token_id": 126081,
    "mask_token_id": 126336,
    "max_sequence_length": 4096,
    "mlp_hidden_size": 12288,
    "model_type": "llada",
    "multi_query_attention": None,
    "n_heads": 32,
    "n_kv_heads": 32,
    "n_layers": 32,
    "pad_token_id": 126081,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "vocab_size": 126464,
    "weight_tying": False,
}
DREAM_7B = {
    "architectures": ["DreamModel"],
    "eos_token_id": 151643,
    "hidden_act": "silu",
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "mask_token_id": 151666,
    "max_position_embeddings": 131072,
    "model_type": "Dream",
    "num_attention_heads": 28,
    "num_hidden_layers": 28,
    "num_key_value_heads": 4,
    "pad_token_id": 151643,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000.0,
    "tie_word_embeddings": False,
    "use_sliding_window": False,
    "vocab_size": 152064,
}
DREAM_TENSORS = ("lm_head.weight", "model.layers.0.self_attn.q_proj.bias")


def test_llada_8b_has_its_published_sizes():
    """Full heads of 128, 512 KiB of bfloat16 keys and values per token."""
    arch = Llada().describe(Config(LLADA_8B), ())
    sizes = (arch.layers, arch.hidden, arch.ffn, arch.heads, arch.kv_heads, arch.head_dim)
    assert (32, 4096, 12288, 32, 32, 128) == sizes
    assert 126464 == arch.vocab_rows
    assert 512 * 1024 == arch.kv_bytes_per_token(2)
    assert (5e5, 4096, 1e-5) == (arch.rotary.base, arch.max_positions, arch.norm_eps)
    assert not arch.tied_head
    assert not arch.qkv_bias


def test_dream_7b_has_its_published_sizes():
    """Four key/value heads of 128, biases on q, k and v, 56 KiB per token."""
    arch = Dream().describe(Config(DREAM_7B), DREAM_TENSORS)
    sizes = (arch.layers, arch.hidden, arch.ffn, arch.heads, arch.kv_heads, arch.head_dim)
    assert (28, 3584, 18944, 28, 4, 128) == sizes
    assert 152064 == arch.vocab_rows
    assert 56 * 1024 == arch.kv_bytes_per_token(2)
    assert (1e6, 1e-6) == (arch.rotary.base, arch.norm_eps)
    assert arch.qkv_bias
    assert not arch.tied_head


def test_qwen2_is_causal_and_has_no_mask_default():
    """The same layout as Dream, read as what it is."""
    arch = Qwen2().describe(Config(DREAM_7B), DREAM_TENSORS)
    assert "causal" == arch.attention.kind
    assert Dream().arch(Config(DREAM_7B)) == attrs.evolve(arch, attention=AttentionPattern())
    assert Qwen2.defaults.mask_id is None


def test_only_models_with_autoregressive_parents_shift():
    """Row i-1 predicts token i in models adapted from autoregressive ones."""
    shifts = [family.defaults.logit_shift for family in (Llada, Dream, Qwen2)]
    assert [0, 1, 1] == shifts


@pytest.mark.parametrize("name", FOLDERS)
def test_families_are_chosen_by_architecture(name):
    """The reference folders find their family."""
    config = Config(json.loads((folder(name) / "config.json").read_text()))
    assert find_family(config, FAMILIES).name == name.split("_")[0]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("alibi", True),
        ("layer_norm_type", "default"),
        ("layer_norm_with_affine", False),
        ("include_bias", True),
        ("include_qkv_bias", True),
        ("attention_layer_norm", True),
        ("bias_for_layer_norm", True),
        ("rope", False),
        ("activation_type", "gelu"),
        ("block_type", "sequential"),
        ("input_emb_norm", True),
        ("scale_logits", True),
    ],
)
def test_llada_refuses_switches_that_no_release_uses(field, value):
    """The error names the field, what it says, and what is supported."""
    with pytest.raises(ModelError, match=f"{field} is {json.dumps(value)}, but LLaDAModelLM"):
        Llada().arch(Config(tiny_config(**{field: value})))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"n_kv_heads": 2}, 2),
        ({"n_kv_heads": None}, 4),
        ({"n_kv_heads": None, "multi_query_attention": True}, 1),
    ],
)
def test_llada_key_value_heads(changes, expected):
    """Explicit count, else one shared head, else as many as query heads."""
    assert expected == Llada().arch(Config(tiny_config(**changes))).kv_heads


def test_llada_sizes_that_may_be_derived():
    """The feed-forward size follows from its ratio, the rows from the vocabulary."""
    arch = Llada().arch(Config(tiny_config(mlp_hidden_size=None, embedding_size=None)))
    assert (4 * 32, 60) == (arch.ffn, arch.vocab_rows)


def test_dream_refuses_relatives_with_another_layout():
    """DreamReasoner shares the model type; its q/k norms give it away."""
    names = (*DREAM_TENSORS, "model.layers.0.self_attn.q_norm.weight")
    with pytest.raises(ModelError, match="hold q/k norm tensors"):
        Dream().describe(Config(DREAM_7B), names)
    with pytest.raises(ModelError, match="hold no q/k/v biases"):
        Dream().describe(Config(DREAM_7B), ("lm_head.weight",))


def test_sliding_windows_are_refused_only_when_switched_on():
    """Qwen-style configs carry the field even where it is off."""
    off = {**DREAM_7B, "sliding_window": 4096}
    assert Dream().arch(Config(off)).layers == 28
    with pytest.raises(ModelError, match="use_sliding_window is true"):
        Dream().arch(Config({**off, "use_sliding_window": True}))


def test_unknown_architectures_list_the_known_and_the_nearest():
    """A typo is one step from its repair; a broken plugin is mentioned."""
    config = Config({"architectures": ["LLaDAModel"]})
    with pytest.raises(ModelError, match="DreamModel, EfficientDLM, Fast_dLLM") as caught:
        find_family(config, FAMILIES, failures=["plugin 'x' of y: broken"])
    assert "did you mean 'LLaDAModelLM'?" in str(caught.value)
    assert "plugin 'x' of y: broken" in str(caught.value)


def test_an_architecture_claimed_twice_is_an_error():
    """No family wins by chance."""

    class Other(Llada):
        name = "other"

    with pytest.raises(ModelError, match="claimed by several families: llada, other"):
        find_family(Config(LLADA_8B), (Llada, Other))
