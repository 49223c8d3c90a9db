"""What is known of a document's models before they are loaded: their configs and families."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dlmkit.errors import DlmkitError
from dlmkit.spec.documents import default_models

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dlmkit.models.config import Config
    from dlmkit.models.description import CheckpointDescription
    from dlmkit.models.family import ModelFamily
    from dlmkit.spec.documents import ModelRef

__all__ = ["described", "identify", "loops", "source_of"]


def source_of(models: Mapping[str, ModelRef], name: str) -> ModelRef | None:
    """The checkpoint that a model has its weights from; None: there is no such model."""
    ref = models.get(name)
    return ref if ref is None or ref.derive is None else models.get(ref.derive.source)


def identify(ref: ModelRef) -> tuple[Config, ModelFamily] | None:
    """Config and family of a named checkpoint on this machine; None where they cannot be read.

    A document without a model of its own, such as a preset, is judged when it is run with one.
    """
    from dlmkit.models.config import read_config
    from dlmkit.models.family import find_family
    from dlmkit.models.reference import locate_model
    from dlmkit.plugins import get_plugins  # plugins name strategies, which checks are about

    if ref.repo is None or ref == default_models()["main"]:
        return None
    try:
        folder = locate_model(ref.repo, revision=ref.revision, local_files_only=True).path
        config = read_config(folder)
        known: Any = get_plugins().registry.of_role("family").values()
        return config, ref.family or find_family(config, known)
    except DlmkitError:
        return None  # loading will say what is wrong with the model


def described(ref: ModelRef | None) -> CheckpointDescription | None:
    """What a checkpoint on this machine says of itself; None where it cannot be read.

    That is reported when the model is loaded.
    """
    from dlmkit.engine import LoadOptions
    from dlmkit.models.description import describe_checkpoint

    if ref is None or ref.repo is None:
        return None
    options = LoadOptions(revision=ref.revision, local_files_only=True, family=ref.family)
    try:
        return describe_checkpoint(ref.repo, options)
    except DlmkitError:
        return None


def loops(models: Mapping[str, ModelRef], name: str) -> bool:
    """Whether a model is known to run some of its layers again and again."""
    ref = source_of(models, name)
    known = None if ref is None else identify(ref)
    return known is not None and known[1].looped
