"""Documents: what a spec file holds."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal

import attrs

from dlmkit.bounds import at_least, not_empty
from dlmkit.component import option
from dlmkit.engine import Engine
from dlmkit.models.derivation import Derivation
from dlmkit.models.family import ModelFamily
from dlmkit.models.reach import RopeScaling
from dlmkit.roles import Procedure
from dlmkit.spec.report import Problem

__all__ = ["FORMAT", "Document", "ModelRef", "default_models"]

FORMAT = "pipeline/1"
"""The document kind and version that this release reads and writes."""

MODEL_NAME = re.compile(r"[a-z][a-z0-9_-]*")


@attrs.frozen(kw_only=True)
class ModelRef:
    """Which checkpoint to load and how, or which other model to derive it from."""

    shorthand: ClassVar[str] = "repo"

    repo: str | None = option(
        None,
        doc="`builtin/verifier`, `builtin/drafter`, `builtin/guide`, a folder, or a hub id",
        check=not_empty,
    )
    derive: Derivation | None = option(
        None, doc="instead of `repo`: make it from another model, whose weights it shares"
    )
    revision: str | None = option(None, doc="branch, tag or commit of a hub id")
    dtype: Literal["float32", "bfloat16", "float16"] | None = option(
        None, doc="number format of the weights; null takes the one that suits the device"
    )
    device: str | None = option(None, doc="`cpu`, `cuda` or `cuda:1`; null takes the fastest")
    engine: Engine | None = option(None, doc="what runs the network; null takes `torch`")
    family: ModelFamily | None = option(
        None,
        doc="how to read the checkpoint; null asks its `architectures`. Name it to set options "
        "(`{use: sdar, block: 8}`), or where files say less than they should (`open-dcoder`)",
    )
    mask_id: int | None = option(
        None, doc="id of the mask token where the checkpoint does not say", check=at_least(0)
    )
    rope: RopeScaling | None = option(
        None, doc="makes texts possible that are longer than the trained context; null: none"
    )
    local_files_only: bool = option(False, doc="never ask the hub; fail if a file is not here")

    @property
    def text(self) -> str:
        """Where it comes from: a repository, or `main without layers 1, 3`."""
        return f"{self.derive.source} {self.derive.text}" if self.derive else str(self.repo)


def default_models() -> dict[str, ModelRef]:
    """The models of a document that names none: the built-in verifier."""
    return {"main": ModelRef(repo="builtin/verifier")}


def _model_names(models: Any) -> str | None:
    wrong = [name for name in models if not MODEL_NAME.fullmatch(name)]
    return f"has a name that is not lower-case letters and digits: {wrong[0]!r}" if wrong else None


@attrs.frozen(kw_only=True)
class Document:
    """One pipeline with its models and the length of the text to generate."""

    name: str = option(doc="what the pipeline is called in reports", check=not_empty)
    description: str | None = option(None, doc="what it does, and which paper it comes from")
    models: dict[str, ModelRef] = option(
        attrs.Factory(default_models),
        doc="the checkpoints by the names that the pipeline uses",
        check=[not_empty, _model_names],
    )
    gen_length: int = option(doc="tokens to generate", check=at_least(1))
    pipeline: Procedure = option(doc="the decoding strategy; `use` defaults to `denoise`")
    warnings: tuple[Problem, ...] = attrs.field(default=(), eq=False, repr=False)

    def derived_from(self, name: str) -> list[str]:
        """The models that are derived from another one."""
        return [
            other
            for other, ref in self.models.items()
            if ref.derive is not None and ref.derive.source == name
        ]

    @property
    def spec_id(self) -> str:
        """SHA-256 of the canonical form, as hexadecimal text.

        Two documents that decode alike on the same models have the same one: comments, order,
        names, devices and number formats do not count.
        """
        from dlmkit.spec.canonical import spec_id

        return spec_id(self)
