"""Promises of what turns a distribution into proposals and scores.

Legend: B rows, N canvas positions, P window positions, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dlmkit.testing.conformance.calls import call, logits_of
from dlmkit.testing.conformance.case import Check, require
from dlmkit.testing.conformance.pure import scenes_for
from dlmkit.testing.conformance.scenes import EVERYTHING, rows, scene

__all__ = ["CONFIDENCE", "GUIDE", "LOGITS", "SAMPLE"]

PRECISE = (torch.float32, torch.float64)


def _scores_every_eligible_position(scorer: Any) -> None:
    for each in scenes_for(scorer):
        score_BP = call(scorer, each)
        require(score_BP.dtype in PRECISE, f"scores are {score_BP.dtype}, not float32 or float64")
        _require_shape(score_BP, each.proposals_BP.shape)
        eligible = score_BP[each.view.eligible_BP]
        require(not bool(eligible.isnan().any()), "a score is not a number")
        require(not bool((eligible == torch.inf).any()), "a score is plus infinity")
        require(bool(eligible.isfinite().any()), "no score is finite")


def _keeps_to_its_score_space(scorer: Any) -> None:
    highest = {"probability": 1.0, "nats": 0.0}.get(scorer.score_space(), torch.inf)
    lowest = 0.0 if scorer.score_space() == "probability" else -torch.inf
    for each in scenes_for(scorer):
        score_BP = call(scorer, each)
        # Minus infinity means "last" in every unit.
        kept = score_BP[each.view.eligible_BP & score_BP.isfinite()]
        fits = bool(((kept >= lowest - 1e-6) & (kept <= highest + 1e-6)).all())
        require(
            fits,
            f"it declares the unit '{scorer.score_space()}', but scores reach from "
            f"{kept.min():.4g} to {kept.max():.4g}",
        )


def _proposes_tokens(sampler: Any) -> None:
    for each in scenes_for(sampler):
        tokens_BP, info = call(sampler, each), each.view.info
        require(tokens_BP.dtype == torch.int64, f"proposals are {tokens_BP.dtype}, not int64")
        _require_shape(tokens_BP, each.proposals_BP.shape)
        in_range = bool(((tokens_BP >= 0) & (tokens_BP < info.vocab_size)).all())
        require(in_range, "it proposes a token outside the vocabulary")


def _never_proposes_the_mask(sampler: Any) -> None:
    for each in scenes_for(sampler):
        masks_BP = (call(sampler, each) == each.view.info.mask_id) & each.view.eligible_BP
        require(not bool(masks_BP.any()), f"it proposes the mask at {masks_BP.nonzero().tolist()}")


def _proposes_the_most_probable_token(sampler: Any) -> None:
    if sampler.stochastic:
        return
    each = scene(sampler, rows(), region=True, need=EVERYTHING)
    logits_BPV = logits_of(each.prediction.filtered)
    mask_V = torch.arange(logits_BPV.shape[-1]).eq(each.view.canvas.mask_id)
    best_BP = logits_BPV.masked_fill(mask_V, -torch.inf).argmax(dim=-1)
    wrong_BP = (call(sampler, each) != best_BP) & each.view.eligible_BP
    require(
        not bool(wrong_BP.any()),
        "it draws no random numbers, yet proposes another than the most probable token at "
        f"{wrong_BP.nonzero().tolist()}",
    )


def _leaves_a_usable_distribution(transform: Any) -> None:
    for each in scenes_for(transform):
        _require_distribution(call(transform, each), logits_of(each.prediction).shape)


def _combines_to_a_usable_distribution(guide: Any) -> None:
    for each in scenes_for(guide):
        variants, logits_BPV = call(guide, each)
        shape = each.view.tokens_BN.shape
        require(bool(variants), "it returned no variant")
        for ids_BN in variants:
            require(ids_BN.dtype == torch.int64, f"a variant is {ids_BN.dtype}, not int64")
            _require_shape(ids_BN, shape)
        _require_distribution(logits_BPV, logits_of(each.prediction).shape)


def _require_distribution(logits_BPV: Tensor, shape: torch.Size) -> None:
    _require_shape(logits_BPV, shape)
    require(logits_BPV.dtype in PRECISE, f"logits are {logits_BPV.dtype}, not float32 or float64")
    require(not bool(logits_BPV.isnan().any()), "a logit is not a number")
    require(not bool((logits_BPV == torch.inf).any()), "a logit is plus infinity")
    some_left = bool(logits_BPV.isfinite().any(dim=-1).all())
    require(some_left, "a position has no token left: all its logits are minus infinity")


def _require_shape(tensor: Tensor, shape: torch.Size) -> None:
    found = tuple(tensor.shape)
    require(found == tuple(shape), f"the result has shape {found}, not {tuple(shape)}")


CONFIDENCE: dict[str, Check] = {
    "scores every eligible position": _scores_every_eligible_position,
    "keeps to its score space": _keeps_to_its_score_space,
}
SAMPLE: dict[str, Check] = {
    "proposes tokens": _proposes_tokens,
    "never proposes the mask": _never_proposes_the_mask,
    "proposes the most probable token": _proposes_the_most_probable_token,
}
LOGITS: dict[str, Check] = {"leaves a usable distribution": _leaves_a_usable_distribution}
GUIDE: dict[str, Check] = {"combines to a usable distribution": _combines_to_a_usable_distribution}
