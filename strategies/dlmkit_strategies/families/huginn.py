"""Huginn-0125, the released recurrent-depth model, in its published layout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from dlmkit.models.arch import AttentionPattern, RotarySpec
from dlmkit.models.family import FamilyDefaults, ModelFamily
from dlmkit.models.names import Drop, NameMap, Rename

if TYPE_CHECKING:
    from dlmkit.models.arch import ArchSpec
    from dlmkit.models.config import Config
    from dlmkit.models.text_module import TextModule
    from dlmkit_strategies.families.huginn_network import HuginnArch

__all__ = ["Huginn"]

EMBEDDING_SCALE, STATE_STD = 1.0, 0.6325
"""Where a config states no `init_values`: no scale, and the square root of 0.4."""


@attrs.frozen
class Huginn(ModelFamily):
    """Causal looped models in the layout of Geiping et al. (arXiv:2502.05171), with biased q and k.

    An ordinary pass begins with states of zero; the published one draws them.
    """

    name = "huginn"
    architectures = ("RavenForCausalLM",)
    tied_field = "tie_embeddings"
    looped = True
    defaults = FamilyDefaults(logit_shift=1, eos_ids=(65505,))

    def arch(self, config: Config) -> HuginnArch:
        """Read the config.

        Raises:
            ModelError: a field is missing or malformed, or noise is mixed in outside a sampler.
        """
        from dlmkit_strategies.families.huginn_network import HuginnArch  # it imports torch

        constants = {
            "block_class_name": "SandwichBlock", "mlp_class_name": "GatedMLP",
            "nonlin_name": "SiLU", "injection_type": "linear", "bias": False,
            "test_time_noise": 0,
        }  # fmt: skip
        config.require(constants, config.architecture)
        hidden, heads = config.integer("n_embd"), config.integer("num_attention_heads", "n_heads")
        prelude, coda = config.integer("n_layers_in_prelude"), config.integer("n_layers_in_coda")
        drawn = config.nested("init_values")
        scale = drawn.number("embed_scale", default=EMBEDDING_SCALE)
        return HuginnArch(
            vocab_rows=config.integer("padded_vocab_size", "vocab_size"),
            hidden=hidden,
            layers=prelude + config.integer("n_layers_in_recurrent_block") + coda,
            heads=heads,
            kv_heads=config.integer("num_key_value_heads", default=heads),
            head_dim=hidden // heads,
            ffn=config.integer("intermediate_size"),
            rotary=RotarySpec(base=config.number("rope_base"), dim=hidden // heads),
            max_positions=config.integer("block_size"),
            norm_eps=config.number("norm_eps", default=1e-6),
            qkv_bias=bool(config.flag("qk_bias")),
            attention=AttentionPattern(kind="causal"),
            prelude=prelude,
            coda=coda,
            depth=config.integer("mean_recurrence"),
            embedding_scale=scale,
            state_std=scale * drawn.number("std", default=STATE_STD),
        )

    def names(self, arch: ArchSpec) -> NameMap:
        """Read every tensor under its own name; angles are computed."""
        head = Rename("lm_head.weight", "lm_head.weight")
        return NameMap(
            (Drop("freqs_cis"), Rename("transformer.{tail}", "transformer.{tail}"), head)
        )

    def network(self, arch: ArchSpec) -> TextModule:
        """Build the looped network of sandwich layers."""
        from dlmkit_strategies.families.huginn_network import HuginnArch, HuginnNetwork

        assert isinstance(arch, HuginnArch)  # noqa: S101 - made by `arch`
        return HuginnNetwork(arch)
