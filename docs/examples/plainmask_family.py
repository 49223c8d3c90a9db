"""A model family: everything that dlmkit must know to read one line of checkpoints."""

import attrs

from dlmkit.models.arch import ArchSpec
from dlmkit.models.config import Config
from dlmkit.models.family import FamilyDefaults, ModelFamily
from dlmkit.models.names import Drop, NameMap, Rename
from dlmkit.plugins import hookimpl


@attrs.frozen
class Plainmask(ModelFamily):
    """Plainmask: Llama's layout, full attention, per-head norms on queries and keys."""

    name = "plainmask"
    architectures = ("PlainmaskForMaskedDiffusion",)
    defaults = FamilyDefaults(mask_id=32000, eos_ids=(2,))

    def arch(self, config: Config) -> ArchSpec:
        """Read the config; a missing or malformed field is reported by name."""
        config.require({"hidden_act": "silu", "attention_bias": False}, config.architecture)
        head_dim = config.integer("head_dim")
        return ArchSpec(
            vocab_rows=config.integer("vocab_size"),
            hidden=config.integer("hidden_size"),
            layers=config.integer("num_hidden_layers"),
            heads=config.integer("num_attention_heads"),
            kv_heads=config.integer("num_key_value_heads"),
            head_dim=head_dim,
            ffn=config.integer("intermediate_size"),
            rotary=config.rotary(head_dim),
            max_positions=config.integer("max_position_embeddings"),
            norm_eps=config.number("rms_norm_eps"),
            qk_norm=True,
        )

    def names(self, arch: ArchSpec) -> NameMap:
        """Say where each tensor of the files goes."""
        return NameMap(
            (
                Drop("backbone.rotary.inv_freq"),  # recomputed, not loaded
                Rename("backbone.{tail}", "model.{tail}"),
                Rename("head.weight", "lm_head.weight"),
            )
        )


@hookimpl
def dlmkit_components():
    """Offer the family; the entry point of the package names this module."""
    return [Plainmask]
