"""Looped transformers, whose depth is chosen when they run; a layout of this project's own.

The architecture follows Geiping et al. (arXiv:2502.05171); the family `huginn` reads their release.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from dlmkit.errors import ModelError
from dlmkit.models.arch import AttentionPattern
from dlmkit.models.family import FamilyDefaults, ModelFamily
from dlmkit.models.names import NameMap, Rename
from dlmkit_strategies.families.llama_layout import llama_arch

if TYPE_CHECKING:
    from dlmkit.models.arch import ArchSpec
    from dlmkit.models.config import Config
    from dlmkit.models.looped import LoopedArch
    from dlmkit.models.text_module import TextModule

__all__ = ["Looped"]


@attrs.frozen
class Looped(ModelFamily):
    """Causal looped models: row i-1 predicts token i.

    Config fields are Llama's, with `num_prelude_layers` and `num_coda_layers` out of
    `num_hidden_layers`, and `recurrences`, how often an ordinary pass runs the layers between.
    Tensors have the names of the module's parameters.
    """

    name = "looped"
    architectures = ("LoopedForCausalLM",)
    looped = True
    defaults = FamilyDefaults(logit_shift=1)

    def arch(self, config: Config) -> LoopedArch:
        """Read the config.

        Raises:
            ModelError: as for Llama, or no layer is left to be repeated.
        """
        from dlmkit.models.looped import LoopedArch  # it imports torch

        plain = llama_arch(config, AttentionPattern(kind="causal"))
        prelude, coda = config.integer("num_prelude_layers"), config.integer("num_coda_layers")
        if prelude + coda >= plain.layers:
            raise ModelError(
                f"{config.origin}: {prelude} prelude and {coda} coda layers leave none of "
                f"{plain.layers} to be repeated",
                hint="`num_hidden_layers` counts all three parts",
            )
        sizes = attrs.asdict(plain, recurse=False)
        depth = config.integer("recurrences")
        return LoopedArch(**sizes, prelude=prelude, coda=coda, depth=depth)

    def names(self, arch: ArchSpec) -> NameMap:
        """Read every tensor under its own name."""
        return NameMap((Rename("{tail}", "{tail}"),))

    def network(self, arch: ArchSpec) -> TextModule:
        """Build the looped decoder."""
        from dlmkit.models.looped import LoopedArch, LoopedDecoder

        assert isinstance(arch, LoopedArch)  # noqa: S101 - made by `arch`
        return LoopedDecoder(arch)
