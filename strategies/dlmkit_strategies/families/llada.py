"""LLaDA: dense masked diffusion models trained from scratch (LLaDA-8B, LLaDA-1.5).

Nie et al., Large Language Diffusion Models, arXiv:2502.09992.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from dlmkit.models.arch import ArchSpec
from dlmkit.models.family import FamilyDefaults, ModelFamily
from dlmkit.models.names import NameMap, Rename

if TYPE_CHECKING:
    from dlmkit.models.config import Config

__all__ = ["Llada"]

_CONSTANT_SWITCHES = {
    "activation_type": "silu",
    "alibi": False,
    "attention_layer_norm": False,
    "bias_for_layer_norm": False,
    "block_type": "llama",
    "include_bias": False,
    "include_qkv_bias": False,
    "input_emb_norm": False,
    "layer_norm_type": "rms",
    "layer_norm_with_affine": True,
    "rope": True,
    "scale_logits": False,
}
"""Fields kept from the training framework; every release has these values."""

_IN_LAYER = {
    "attn_norm": "input_layernorm",
    "q_proj": "self_attn.q_proj",
    "k_proj": "self_attn.k_proj",
    "v_proj": "self_attn.v_proj",
    "attn_out": "self_attn.o_proj",
    "ff_norm": "post_attention_layernorm",
    "ff_proj": "mlp.gate_proj",
    "up_proj": "mlp.up_proj",
    "ff_out": "mlp.down_proj",
}
"""Names inside a layer.  `ff_out` at top level is the head: only full paths tell them apart."""


@attrs.frozen
class Llada(ModelFamily):
    """LLaDA's dense models: full attention, row i predicts token i, no bias, no q/k norm."""

    name = "llada"
    architectures = ("LLaDAModelLM",)
    tied_field = "weight_tying"
    defaults = FamilyDefaults(
        mask_id=126336,
        eos_ids=(126081,),
        eot_ids=(126348,),
        eot_tokens=("<|eot_id|>",),
        chat_template=Path(__file__).with_name("llada.jinja"),
    )

    def arch(self, config: Config) -> ArchSpec:
        """Read LLaDA's own field names."""
        config.require(_CONSTANT_SWITCHES, config.architecture)
        hidden, heads = config.integer("d_model"), config.integer("n_heads")
        one_kv_head = config.flag("multi_query_attention")
        ratio = config.number("mlp_ratio", default=4)
        return ArchSpec(
            vocab_rows=config.integer("embedding_size", "vocab_size"),
            hidden=hidden,
            layers=config.integer("n_layers"),
            heads=heads,
            kv_heads=config.integer("n_kv_heads", default=1 if one_kv_head else heads),
            head_dim=hidden // heads,
            ffn=config.integer("mlp_hidden_size", default=int(ratio * hidden)),
            rotary=config.rotary(hidden // heads),
            max_positions=config.integer("max_sequence_length"),
            norm_eps=config.number("rms_norm_eps", default=1e-5),
        )

    def names(self, arch: ArchSpec) -> NameMap:
        """Map the OLMo-style names."""
        root = "model.transformer"
        return NameMap(
            (
                Rename(f"{root}.wte.weight", "model.embed_tokens.weight"),
                Rename(f"{root}.ln_f.weight", "model.norm.weight"),
                Rename(f"{root}.ff_out.weight", "lm_head.weight"),
                *(
                    Rename(
                        f"{root}.blocks.{{layer}}.{source}.weight",
                        f"model.layers.{{layer}}.{target}.weight",
                    )
                    for source, target in _IN_LAYER.items()
                ),
            )
        )
