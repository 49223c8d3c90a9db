"""Small diffusion models trained on OpenWebText with the vocabulary of GPT-2.

MDLM (Sahoo et al., arXiv:2406.07524); BD3-LM (Arriola et al., arXiv:2503.09573); SEDD (Lou et
al., arXiv:2310.16834).
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

__all__ = ["Bd3Lm", "Mdlm", "Sedd"]


class _OpenWebText(ModelFamily):
    """What they share: the network and its names."""

    def describe(self, config: Config, tensor_names: Collection[str]) -> ArchSpec:
        """Describe the network; its head is never tied."""
        return self.arch(config)

    def names(self, arch: ArchSpec) -> NameMap:
        """Take off the prefix; rotary frequencies and training's noise bounds are not read."""
        return NameMap(
            (
                Drop("backbone.rotary_emb.inv_freq"),
                Drop("rotary_emb.inv_freq"),
                Drop("sampling_eps_{tail}"),
                Rename("backbone.{tail}", "{tail}"),
                Rename("{tail}", "{tail}"),
            )
        )

    def network(self, arch: ArchSpec) -> TextModule:
        """Build their own transformer."""
        from dlmkit_strategies.families.dit_network import DitArch, DitNetwork, TimedDitNetwork

        assert isinstance(arch, DitArch)  # noqa: S101 - made by `arch`
        return TimedDitNetwork(arch) if arch.timed else DitNetwork(arch)


@attrs.frozen
class Mdlm(_OpenWebText):
    """MDLM: full attention; row i predicts token i.

    Releases are fed noise level zero throughout; with `time_conditioning` it is that of the row.
    """

    name = "mdlm"
    architectures = ("MDLM",)
    defaults = FamilyDefaults(mask_id=50257, mask_field="mask_index", eos_ids=(50256,))

    def arch(self, config: Config) -> ArchSpec:
        """Read the config; every layer is modulated."""
        timed = bool(config.flag("time_conditioning"))
        return attrs.evolve(_arch(config, AttentionPattern(), modulated=True), timed=timed)


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
        config.require({"time_conditioning": False}, config.architecture)
        pattern = block_causal(config, self.block, default=16)
        return _arch(config, pattern, modulated=config.flag("adaln") is not False)


@attrs.frozen
class Sedd(_OpenWebText):
    """SEDD with absorbing noise: full attention; row i predicts token i by its score.

    Its files name no architecture, so the user has to name this family (`family: sedd`).  The
    noise level follows from the share of masks in a row.
    """

    name = "sedd"
    defaults = FamilyDefaults(mask_field="tokens", eos_ids=(50256,))

    def arch(self, config: Config) -> ArchSpec:
        """Read the nested experiment config; the mask follows the tokens of the vocabulary."""
        model, graph = config.nested("model"), config.nested("graph")
        graph.require({"type": "absorb"}, self.name)
        model.require({"scale_by_sigma": True}, self.name)
        tokens = config.integer("tokens")
        arch = _arch(model, AttentionPattern(), modulated=True, rows=tokens + 1)
        return attrs.evolve(arch, timed=True)

    def network(self, arch: ArchSpec) -> TextModule:
        """Build their transformer with scores at its end."""
        from dlmkit_strategies.families.dit_network import DitArch, ScoreNetwork

        assert isinstance(arch, DitArch)  # noqa: S101 - made by `arch`
        return ScoreNetwork(arch)


def _arch(
    config: Config, attention: AttentionPattern, *, modulated: bool, rows: int | None = None
) -> DitArch:
    from dlmkit_strategies.families.dit_network import DitArch  # it imports torch

    hidden, heads = config.integer("hidden_dim", "hidden_size"), config.integer("n_heads")
    return DitArch(
        vocab_rows=rows or config.integer("vocab_size"),
        hidden=hidden,
        layers=config.integer("n_blocks"),
        heads=heads,
        kv_heads=heads,
        head_dim=hidden // heads,
        ffn=4 * hidden,
        rotary=RotarySpec(dim=hidden // heads),
        max_positions=config.integer("model_length", "length"),
        attention=attention,
        condition=config.integer("cond_dim") if modulated else 0,
    )
