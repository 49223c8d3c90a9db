"""A promise of cache policies about drafts: states looked at side by side are read as in turn."""

from __future__ import annotations

from typing import Any

import attrs

from dlmkit.denoise import Denoise
from dlmkit.draft_verify.kernel import DraftVerify
from dlmkit.testing.conformance.case import Check, require
from dlmkit.testing.conformance.decoding import decode
from dlmkit.testing.conformance.looped import toy_networks
from dlmkit.testing.conformance.pipelines import pipeline_around
from dlmkit.testing.conformance.scenes import attention_for
from dlmkit.testing.knowing import Knowing
from dlmkit.testing.plain import FoursInOrder
from dlmkit.testing.plain_drafting import (
    EveryRow,
    PassedOnly,
    SameStep,
    StepByStep,
    ThreeSteps,
    UpToFailure,
)

__all__ = ["VERIFYING"]


def _decides_with_drafts_as_without(cache: Any) -> None:
    if not cache.forks():
        return  # then drafts may change the text, and `explain` says so
    for shift in (0, 1):
        networks = toy_networks(shift, attention_for(cache))
        pipeline = pipeline_around(cache, blocks=FoursInOrder())
        assert isinstance(pipeline, Denoise)
        verifier = attrs.evolve(pipeline, max_steps=None)
        expected = decode(verifier, networks)
        for wrong in (2, 99):
            procedure = DraftVerify(
                verifier=verifier,
                draft=Knowing(trace=expected.trace, wrong=wrong),
                view=StepByStep(),
                judge=SameStep(),
                scope=UpToFailure(),
                resolve=PassedOnly(),
                bonus=EveryRow(),
                schedule=ThreeSteps(),
            )
            found = decode(procedure, networks)
            require(
                expected.rows == found.rows,
                f"with drafts, of which every {wrong}th guess is wrong, the text is {found.rows}; "
                f"without, it is {expected.rows}; say so by `forks`, or foresee the state",
            )


VERIFYING: dict[str, Check] = {"decides with drafts as without": _decides_with_drafts_as_without}
