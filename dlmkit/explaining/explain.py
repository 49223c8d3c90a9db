"""Explaining a document: its models, its steps, what it guarantees, and when drafting pays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from dlmkit.denoise import Denoise
from dlmkit.draft_verify.kernel import DraftVerify
from dlmkit.explaining.draft_guarantees import draft_guarantees
from dlmkit.explaining.guarantees import decode_guarantees, repeats, rows
from dlmkit.explaining.outline import Step, outline
from dlmkit.guarantee import Guarantee
from dlmkit.spec.identify import loops

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dlmkit.roles import Procedure
    from dlmkit.spec import Document

__all__ = ["Explanation", "explain"]


@attrs.frozen(kw_only=True)
class Explanation:
    """What there is to say about a document.

    `models` says where each comes from; `guarantees` are None for a procedure that tells none.
    """

    name: str
    description: str | None
    models: Mapping[str, str]
    gen_length: int
    pipeline: Step
    guarantees: tuple[Guarantee, ...] | None

    def as_json(self) -> dict[str, Any]:
        """The stable machine-readable form."""
        known = self.guarantees
        return {
            "name": self.name,
            "description": self.description,
            "models": dict(self.models),
            "gen_length": self.gen_length,
            "pipeline": self.pipeline.as_json(),
            "guarantees": None if known is None else [attrs.asdict(each) for each in known],
        }


def explain(document: Document) -> Explanation:
    """Read everything off the document; no model is loaded."""
    procedure = document.pipeline
    return Explanation(
        name=document.name,
        description=document.description,
        models={name: ref.text for name, ref in document.models.items()},
        gen_length=document.gen_length,
        pipeline=outline(procedure),
        guarantees=_guarantees(procedure, document),
    )


def _guarantees(procedure: Procedure, document: Document) -> tuple[Guarantee, ...] | None:
    looped = loops(document.models, procedure.home())
    if isinstance(procedure, DraftVerify):
        return tuple(draft_guarantees(procedure, document.gen_length, looped=looped))
    if isinstance(procedure, Denoise):
        return tuple(decode_guarantees(procedure, document.gen_length, looped=looped))
    told = procedure.guarantees()
    return None if told is None else (*told, rows(), repeats(procedure))
