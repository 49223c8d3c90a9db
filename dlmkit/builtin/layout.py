"""Writing a trained network as a checkpoint folder: LLaDA layout, or Qwen2 for the guide."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch import Tensor

from dlmkit.builtin.tasks import MASK
from dlmkit.builtin.tokenizer import EOS, special_id, write_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers import Tokenizer

    from dlmkit.models.arch import ArchSpec

__all__ = ["llada_config", "llada_name", "qwen2_config", "write_checkpoint"]

_LLADA_TOP = {
    "model.embed_tokens.weight": "model.transformer.wte.weight",
    "model.norm.weight": "model.transformer.ln_f.weight",
    "lm_head.weight": "model.transformer.ff_out.weight",
}
_LLADA_LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "q_proj",
    "self_attn.k_proj": "k_proj",
    "self_attn.v_proj": "v_proj",
    "self_attn.o_proj": "attn_out",
    "post_attention_layernorm": "ff_norm",
    "mlp.gate_proj": "ff_proj",
    "mlp.up_proj": "up_proj",
    "mlp.down_proj": "ff_out",
}


def llada_name(name: str) -> str:
    """The LLaDA name of a parameter of the shared decoder."""
    if name in _LLADA_TOP:
        return _LLADA_TOP[name]
    index, part = name.removeprefix("model.layers.").removesuffix(".weight").split(".", 1)
    return f"model.transformer.blocks.{index}.{_LLADA_LAYER[part]}.weight"


def llada_config(arch: ArchSpec, tokenizer: Tokenizer) -> dict[str, object]:
    """`config.json` of a network in the field names of the published LLaDA checkpoints."""
    eos = special_id(tokenizer, EOS)
    return {
        "activation_type": "silu",
        "architectures": ["LLaDAModelLM"],
        "block_type": "llama",
        "bias_for_layer_norm": False,
        "d_model": arch.hidden,
        "embedding_size": arch.vocab_rows,
        "eos_token_id": eos,
        "include_bias": False,
        "include_qkv_bias": False,
        "layer_norm_type": "rms",
        "layer_norm_with_affine": True,
        "mask_token_id": special_id(tokenizer, MASK),
        "max_sequence_length": arch.max_positions,
        "mlp_hidden_size": arch.ffn,
        "mlp_ratio": 4,
        "model_type": "llada",
        "n_heads": arch.heads,
        "n_kv_heads": arch.kv_heads,
        "n_layers": arch.layers,
        "pad_token_id": eos,
        "rms_norm_eps": arch.norm_eps,
        "rope": True,
        "rope_theta": arch.rotary.base,
        "scale_logits": False,
        "torch_dtype": "float16",
        "use_cache": False,
        "vocab_size": tokenizer.get_vocab_size(),
        "weight_tying": arch.tied_head,
    }


def qwen2_config(arch: ArchSpec, tokenizer: Tokenizer) -> dict[str, object]:
    """`config.json` of a network in the field names of Qwen2."""
    eos = special_id(tokenizer, EOS)
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "attention_dropout": 0.0,
        "bos_token_id": eos,
        "eos_token_id": eos,
        "hidden_act": "silu",
        "hidden_size": arch.hidden,
        "intermediate_size": arch.ffn,
        "max_position_embeddings": arch.max_positions,
        "model_type": "qwen2",
        "num_attention_heads": arch.heads,
        "num_hidden_layers": arch.layers,
        "num_key_value_heads": arch.kv_heads,
        "pad_token_id": eos,
        "rms_norm_eps": arch.norm_eps,
        "rope_theta": arch.rotary.base,
        "sliding_window": None,
        "tie_word_embeddings": arch.tied_head,
        "torch_dtype": "float16",
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": arch.vocab_rows,
    }


def write_checkpoint(
    folder: Path, arch: ArchSpec, weights: dict[str, Tensor], tokenizer: Tokenizer
) -> None:
    """Write config, float16 weights and tokenizer; a network with biases is a Qwen2 one."""
    folder.mkdir(parents=True, exist_ok=True)
    qwen2 = arch.qkv_bias
    config = (qwen2_config if qwen2 else llada_config)(arch, tokenizer)
    tensors = {
        (name if qwen2 else llada_name(name)): weight.detach().to("cpu", torch.float16).contiguous()
        for name, weight in weights.items()
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    write_tokenizer(tokenizer, folder)
