"""Promises of what decides where to work: blocks, cache policies, input transforms.

Legend: B rows, N canvas positions, P window positions, Q fed positions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dlmkit.passes.plan import Plan
from dlmkit.testing.conformance.calls import call
from dlmkit.testing.conformance.case import Check, require
from dlmkit.testing.conformance.pure import scenes_for
from dlmkit.view import View

__all__ = ["BLOCKS", "CACHE", "INPUTS"]


def _stays_inside_the_region(blocks: Any) -> None:
    for each in scenes_for(blocks):
        canvas, span = each.view.canvas, call(blocks, each)
        require(bool((span.start_B >= canvas.start_B).all()), "a block starts before the region")
        require(bool((span.stop_B <= canvas.length_B).all()), "a block ends after the region")
        require(bool((span.start_B <= span.stop_B).all()), "a block ends before it starts")
        require(type(span.width) is int, f"the width is {type(span.width).__name__}, not int")
        widest = int((span.stop_B - span.start_B).max())
        require(span.width >= widest, f"the width is {span.width}, but a block has {widest}")


def _covers_a_mask_where_one_is_left(blocks: Any) -> None:
    for each in scenes_for(blocks):
        canvas, span = each.view.canvas, call(blocks, each)
        columns_N = torch.arange(canvas.tokens_BN.shape[1])
        inside_BN = (columns_N >= span.start_B[:, None]) & (columns_N < span.stop_B[:, None])
        missed_B = canvas.masked_BN.any(dim=1) & ~(canvas.masked_BN & inside_BN).any(dim=1)
        require(
            not bool(missed_B.any()), f"rows {missed_B.nonzero().tolist()} have masks elsewhere"
        )


def _leaves_no_mask_to_its_left(blocks: Any) -> None:
    for each in scenes_for(blocks):
        canvas, span = each.view.canvas, call(blocks, each)
        columns_N = torch.arange(canvas.tokens_BN.shape[1])
        left_B = (canvas.masked_BN & (columns_N < span.start_B[:, None])).any(dim=1)
        require(not bool(left_B.any()), f"rows {left_B.nonzero().tolist()} have masks before it")


def _feeds_what_is_wanted(cache: Any) -> None:
    for each in scenes_for(cache):
        plan, view = call(cache, each), each.view
        require(isinstance(plan, Plan), f"it returned {type(plan).__name__}, not a Plan")
        columns = view.tokens_BN.shape[1]
        got_BP = plan.predicted_BP(view.positions_BP, view.info.logit_shift, columns)
        silent_B = view.live_B & ~(got_BP & view.eligible_BP).any(dim=1)
        require(not bool(silent_B.any()), f"rows {silent_B.nonzero().tolist()} can decide nothing")
        missing_BP = _promised(cache, view) & view.live_B[:, None] & ~got_BP
        require(
            not bool(missing_BP.any()),
            f"it provides {cache.provides()!r}, but computes no prediction at "
            f"{missing_BP.nonzero().tolist()}",
        )


def _promised(cache: Any, view: View) -> Tensor:
    """Where a policy says that every step has predictions."""
    where = {
        "region": view.inside_BP,
        "block": view.in_block_BP,
        "undecided": view.eligible_BP,
        "some": torch.zeros_like(view.inside_BP),
    }
    return where[cache.provides()]


def _feeds_no_position_twice(cache: Any) -> None:
    for each in scenes_for(cache):
        plan = call(cache, each)
        valid_BQ = plan.feed_valid_BQ
        for number, feed_Q in enumerate(plan.feed_BQ):
            real_Q = feed_Q if valid_BQ is None else feed_Q[valid_BQ[number]]
            distinct = len(set(real_Q.tolist()))
            require(distinct == len(real_Q), f"row {number} feeds {len(real_Q) - distinct} twice")


def _feeds_token_ids(transform: Any) -> None:
    for each in scenes_for(transform):
        ids_BN, mixture = call(transform, each)
        require(ids_BN.shape == each.view.tokens_BN.shape, "the ids do not fit the canvas")
        prompts = torch.tensor(each.view.info.prompt_ids, dtype=torch.int64)
        ordinary = ids_BN[~torch.isin(ids_BN, prompts)]
        _require_tokens(ordinary, each.view.info.vocab_size)
        if mixture is not None:
            _require_tokens(mixture.ids_BNK, each.view.info.vocab_size)
            total_BN = mixture.weights_BNK.sum(dim=-1)
            shares = bool(((mixture.weights_BNK >= 0).all(-1) & (total_BN <= 1 + 1e-6)).all())
            require(shares, "shares of a mixture are negative, or more than 1 together")


def _require_tokens(ids: Tensor, vocabulary: int) -> None:
    require(ids.dtype == torch.int64, f"ids are {ids.dtype}, not int64")
    in_range = bool(((ids >= 0) & (ids < vocabulary)).all())
    require(in_range, "an id lies outside the vocabulary")


BLOCKS: dict[str, Check] = {
    "stays inside the region": _stays_inside_the_region,
    "covers a mask where one is left": _covers_a_mask_where_one_is_left,
    "leaves no mask to its left": _leaves_no_mask_to_its_left,
}
CACHE: dict[str, Check] = {
    "feeds what is wanted": _feeds_what_is_wanted,
    "feeds no position twice": _feeds_no_position_twice,
}
INPUTS: dict[str, Check] = {"feeds token ids": _feeds_token_ids}
