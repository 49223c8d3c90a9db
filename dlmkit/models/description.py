"""Describing a checkpoint: everything that can be known and checked without reading weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import torch

from dlmkit.models.arch import ArchSpec
from dlmkit.models.config import Config, read_config
from dlmkit.models.family import ModelFamily, find_family
from dlmkit.models.reference import locate_model
from dlmkit.models.special_ids import SpecialIds, find_special_ids
from dlmkit.models.tensor_files import StoredTensor, list_tensors
from dlmkit.models.tokenizer import Tokenizer, load_tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dlmkit.engine import LoadOptions
    from dlmkit.models.text_module import TextModule

__all__ = ["CheckpointDescription", "describe_checkpoint"]


@attrs.frozen(kw_only=True)
class CheckpointDescription:
    """A checkpoint without its weights: files, network, conventions, tokenizer.

    `tensors` lists what the files hold; `tokenizer` is None where the folder has none.
    """

    reference: str
    path: Path
    revision: str | None
    config: Config
    family: ModelFamily
    arch: ArchSpec
    special_ids: SpecialIds
    tokenizer: Tokenizer | None
    tensors: tuple[StoredTensor, ...]

    @property
    def architecture(self) -> str:
        """What the config calls the model; some old configs do not say."""
        stated = self.config.fields.get("architectures")
        return self.config.architecture if stated is not None else "not stated"

    def empty_network(self) -> TextModule:
        """Build the network without memory for its weights."""
        with torch.device("meta"):
            return self.family.network(self.arch)


def describe_checkpoint(reference: str, options: LoadOptions) -> CheckpointDescription:
    """Locate a checkpoint, downloading it where necessary, and read everything but weights.

    Raises:
        ModelError: the checkpoint cannot be found or understood.
    """
    located = locate_model(
        reference, revision=options.revision, local_files_only=options.local_files_only
    )
    config = read_config(located.path)
    family = options.family or _family(config, options.families)
    tensors = list_tensors(located.path)
    arch = family.describe(config, tensors)
    arch = arch if options.rope is None else options.rope.stretch(arch)
    tokenizer = load_tokenizer(located.path, family.defaults)
    return CheckpointDescription(
        reference=reference,
        path=located.path,
        revision=located.revision,
        config=config,
        family=family,
        arch=arch,
        special_ids=find_special_ids(
            config, family.defaults, arch.vocab_rows, tokenizer, mask_id=options.mask_id
        ),
        tokenizer=tokenizer,
        tensors=tuple(tensors.values()),
    )


def _family(config: Config, families: Iterable[type[ModelFamily]] | None) -> ModelFamily:
    """Choose among the given families, or among all registered ones."""
    if families is not None:
        return find_family(config, families)
    from dlmkit.plugins import get_plugins  # plugins name families, which import this package

    plugins = get_plugins()
    offered: Mapping[str, Any] = plugins.registry.of_role(ModelFamily.role)
    return find_family(config, offered.values(), map(str, plugins.failures))
