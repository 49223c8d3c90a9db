"""Short ways to make draft-verify procedures of the built-in parts, and toy networks for them."""

from __future__ import annotations

from dlmkit.denoise import Denoise
from dlmkit.draft_verify.kernel import DraftVerify
from dlmkit.testing.conformance.decoding import decode
from dlmkit.testing.toy import toy_network
from dlmkit_strategies.blocks import FixedBlocks
from dlmkit_strategies.confidence import Probability
from dlmkit_strategies.draft_verify import (
    EveryState,
    Fixed,
    ModelSteps,
    Prefix,
    Remask,
    Transition,
    VerifierStep,
)
from dlmkit_strategies.sample import Greedy
from dlmkit_strategies.transfer import TopK

__all__ = ["alone", "drafter", "networks", "procedure", "together"]


def alone(model="verifier", length=4, **slots):
    """An ordinary pipeline: blocks from left to right, one token in each step."""
    parts = {
        "blocks": FixedBlocks(length=length, partial=True) if length else None,
        "sample": Greedy(),
        "confidence": Probability(),
        "transfer": TopK(k=1),
    }
    return Denoise(model=model, **(parts | slots))


def drafter(model="drafter", **slots):
    """A pipeline that drafts."""
    return ModelSteps(pipeline=alone(model, **slots))


def procedure(verifier=None, draft=None, **parts):
    """The lossless composition, unless other parts are given."""
    lossless = {
        "view": EveryState(),
        "judge": Transition(),
        "scope": Prefix(),
        "resolve": Remask(),
        "bonus": VerifierStep(),
        "schedule": Fixed(steps=3),
    }
    return DraftVerify(verifier=verifier or alone(), draft=draft or drafter(), **(lossless | parts))


def networks(seed=0, other=50, **options):
    """A verifier, and an unrelated drafter."""
    return {
        "verifier": toy_network(seed, **options),
        "drafter": toy_network(seed + other, **options),
    }


def together(pipeline, nets, **options):
    """Decode the toy prompts in one batch."""
    return decode(pipeline, nets, **options)
