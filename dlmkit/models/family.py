"""Model families: what it takes to read one line of published checkpoints.

A family is a plugin of a few dozen lines.  It says which architectures it answers to, reads
their `config.json` into an `ArchSpec`, maps their tensor names, and states the conventions that
no file states.  Everything else (files, weights, tokenizer, engine) is shared.
"""

from __future__ import annotations

import difflib
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import attrs

from dlmkit.component import Component
from dlmkit.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from dlmkit.models.arch import ArchSpec
    from dlmkit.models.config import Config
    from dlmkit.models.names import NameMap
    from dlmkit.models.text_module import TextModule

__all__ = ["FamilyDefaults", "ModelFamily", "find_family"]


@attrs.frozen(kw_only=True)
class FamilyDefaults:
    """Conventions of a family, used where a checkpoint's own files are silent.

    `mask_field` is the config field that states the mask token.  `eos_ids` end a text (the first
    one pads), `eot_ids` and `eot_tokens` end a turn of a dialogue.  `logit_shift` is 1 where row
    i-1 predicts token i.  `chat_template` is a Jinja template.  `bpe_pattern` splits text before
    byte-level BPE and `added_tokens` completes its vocabulary, for checkpoints that ship
    `vocab.json` and `merges.txt` only.
    """

    mask_id: int | None = None
    mask_field: str = "mask_token_id"
    eos_ids: tuple[int, ...] = ()
    eot_ids: tuple[int, ...] = ()
    eot_tokens: tuple[str, ...] = ()
    logit_shift: int = 0
    chat_template: Path | None = None
    bpe_pattern: str | None = None
    added_tokens: Mapping[str, int] = attrs.field(factory=dict)


class ModelFamily(Component):
    """Base of families; subclasses are plugins registered under the role `family`.

    `architectures` lists the values of `architectures[0]` that the family answers to; without
    any, a user has to name the family.
    `tied_field` is the config field that says whether the head shares the embedding's weights.
    `edits` says that checkpoints of the family are trained to replace tokens that stand there,
    `looped` that their networks refine latent states (`latents`).
    """

    role = "family"
    elsewhere = "a family for another architecture is a small plugin, see the how-to 'Add a model'"
    architectures: ClassVar[tuple[str, ...]] = ()
    tied_field: ClassVar[str] = "tie_word_embeddings"
    edits: ClassVar[bool] = False
    looped: ClassVar[bool] = False
    defaults: ClassVar[FamilyDefaults] = FamilyDefaults()

    @abstractmethod
    def arch(self, config: Config) -> ArchSpec:
        """Describe the network; reads nothing but the config.

        `tied_head` is left alone: the loader decides it, see `describe`.

        Raises:
            ModelError: a field is missing, malformed, or asks for what is not implemented.
        """

    @abstractmethod
    def names(self, arch: ArchSpec) -> NameMap:
        """Map the names in this family's files to the shared decoder's parameters."""

    def logit_shift(self) -> int:
        """1 where row i-1 predicts token i; by default that of the conventions."""
        return self.defaults.logit_shift

    def network(self, arch: ArchSpec) -> TextModule:
        """Build the module that `names` maps to; the shared decoder unless overridden."""
        from dlmkit.models.decoder import Decoder  # torch is slow to import

        return Decoder(arch)

    def confirm(self, config: Config, tensor_names: Collection[str]) -> None:
        """Refuse a checkpoint that has this architecture's name but not its layout.

        Raises:
            ModelError: says what does not fit.
        """

    def describe(self, config: Config, tensor_names: Collection[str]) -> ArchSpec:
        """Describe the network and decide whether its head is tied to the embedding.

        An explicit flag in the config wins; without one, the head is tied if the files hold no
        tensor for it.  A library's default is never consulted, because defaults differ.
        """
        self.confirm(config, tensor_names)
        arch = self.arch(config)
        tied = config.flag(self.tied_field)
        if tied is None:
            tied = self.names(arch).to_source("lm_head.weight") not in tensor_names
        return attrs.evolve(arch, tied_head=tied)


def find_family(
    config: Config, families: Iterable[type[ModelFamily]], failures: Iterable[str] = ()
) -> ModelFamily:
    """Choose the family that answers to the config's architecture.

    Args:
        config: the checkpoint's config.
        families: known families, in any order.
        failures: names of plugins that failed to load; mentioned in the error, since one of
            them may hold the missing family.

    Raises:
        ModelError: no family knows the architecture, or two claim it.
    """
    known: dict[str, list[type[ModelFamily]]] = {}
    for family in families:
        for name in family.architectures:
            known.setdefault(name, []).append(family)
    wanted = config.architecture
    if len(known.get(wanted, ())) > 1:
        claims = ", ".join(family.name for family in known[wanted])
        raise ModelError(
            f"architecture {wanted!r} is claimed by several families: {claims}",
            hint="uninstall or disallow the plugin that you do not want",
        )
    if wanted in known:
        return known[wanted][0]()
    near = difflib.get_close_matches(wanted, known, n=1)
    broken = sorted(failures)
    raise ModelError(
        f"{config.origin}: architecture {wanted!r} is unknown; known are: "
        + (", ".join(sorted(known)) or "none"),
        hint=(f"did you mean {near[0]!r}? " if near else "")
        + (f"these plugins failed to load and may hold it: {', '.join(broken)}; " if broken else "")
        + ModelFamily.elsewhere,
    )
