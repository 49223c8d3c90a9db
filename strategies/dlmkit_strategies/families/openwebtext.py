"""Small diffusion models trained on OpenWebText with the vocabulary of GPT-2: MDLM and BD3-LM.

MDLM (Sahoo et al., arXiv:2406.07524); BD3-LM (Arriola et al., arXiv:2503.09573).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from dlmkit.bounds import at_least
from dlmkit.component import option
from dlmkit.models.arch import AttentionPattern, RotarySpec
from dlmkit.models.family import FamilyDefaults, ModelFamily
from dlmkit.models.names import Drop, NameMap, Rename
from dlmkit_strategies.families.llama_layout import block_causal

if TYPE_CHECKING:
    from collections.abc import Collection

    from dlmkit.models.arch import ArchSpec
    from dlmkit.models.config import Config
    from dlmkit.models.text_module import TextModule
    from dlmkit_strategies.families.dit_network import DitArch

__all__ = ["Bd3Lm", "Mdlm"]


class _OpenWebText(ModelFamily):
    """What both share: the network, its names, and that noise level zero is fed throughout."""

    def describe(self, config: Config, tensor_names: Collection[str]) -> ArchSpec:
        """Describe the network; its head is never tied."""
        config.require({"time_conditioning": False}, config.architecture)
        return self.arch(config)

    def names(self, arch: ArchSpec) -> NameMap:
        """Take off the prefix; rotary frequencies and training's noise bounds are not read."""
        return NameMap(
            (
                Drop("backbone.rotary_emb.inv_freq"),
                Drop("sampling_eps_{tail}"),
                Rename("backbone.{tail}", "{tail}"),
            )
        )

    def network(self, arch: ArchSpec) -> TextModule:
        """Build their own transformer."""
        from dlmkit_strategies.families.dit_network import DitArch, DitNetwork

        assert isinstance(arch, DitArch)  # noqa: S101 - made by `arch`
        return DitNetwork(arch)


@attrs.frozen
class Mdlm(_OpenWebText):
    """MDLM: full attention; row i predicts token i."""

    name = "mdlm"
    architectures = ("MDLM",)
    defaults = FamilyDefaults(mask_id=50257, mask_field="mask_index", eos_ids=(50256,))

    def arch(self, config: Config) -> ArchSpec:
        """Read the config; every layer is modulated."""
        return _arch(config, AttentionPattern(), modulated=True)


@attrs.frozen
class Bd3Lm(_OpenWebText):
    """BD3-LM: block-causal attention; row i predicts token i."""

    name = "bd3-lm"
    architectures = ("BD3LM",)
    defaults = FamilyDefaults(mask_id=50257, eos_ids=(50256,))

    block: int | None = option(
        None, doc="positions per attention block; null takes the config's", check=at_least(1)
    )

    def arch(self, config: Config) -> ArchSpec:
        """Read the config; without `adaln` it is on, as in all releases."""
        pattern = block_causal(config, self.block, default=16)
        return _arch(config, pattern, modulated=config.flag("adaln") is not False)


def _arch(config: Config, attention: AttentionPattern, *, modulated: bool) -> DitArch:
    from dlmkit_strategies.families.dit_network import DitArch  # it imports torch

    hidden, heads = config.integer("hidden_dim"), config.integer("n_heads")
    return DitArch(
        vocab_rows=config.integer("vocab_size"),
        hidden=hidden,
        layers=config.integer("n_blocks"),
        heads=heads,
        kv_heads=heads,
        head_dim=hidden // heads,
        ffn=4 * hidden,
        rotary=RotarySpec(dim=hidden // heads),
        max_positions=config.integer("model_length"),
        attention=attention,
        condition=config.integer("cond_dim") if modulated else 0,
    )
