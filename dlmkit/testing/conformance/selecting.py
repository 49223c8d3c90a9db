"""Promises of rules that choose positions: transfer rules and commit guards.

Legend: B rows, P window positions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import torch
from torch import Tensor

from dlmkit.loop.memory import parts
from dlmkit.testing.conformance.calls import call
from dlmkit.testing.conformance.case import Check, require
from dlmkit.testing.conformance.decoding import GEN_LENGTH, PROMPTS
from dlmkit.testing.conformance.looped import decodes_of
from dlmkit.testing.conformance.pure import scenes_for

if TYPE_CHECKING:
    from dlmkit.testing.conformance.scenes import Scene

__all__ = ["GUARD", "TRANSFER"]


def _selects_eligible_positions(rule: Any) -> None:
    for each in scenes_for(rule):
        _require_selection(call(rule, each), each)


def _require_selection(commit_BP: Any, scene: Scene) -> None:
    require(isinstance(commit_BP, Tensor), f"it returned {type(commit_BP).__name__}, not a tensor")
    require(commit_BP.dtype == torch.bool, f"the selection is {commit_BP.dtype}, not bool")
    expected = scene.confidence_BP.shape
    require(
        commit_BP.shape == expected,
        f"the selection has shape {tuple(commit_BP.shape)}, not {tuple(expected)}",
    )
    outside_BP = commit_BP & ~scene.view.eligible_BP
    require(
        not bool(outside_BP.any()),
        "it selects positions that are decided, outside the block, or in a stopped row: "
        f"{outside_BP.nonzero().tolist()}",
    )


def _selects_everything_if_it_says_so(rule: Any) -> None:
    for each in scenes_for(rule) if rule.whole else ():
        left_BP = each.view.eligible_BP & ~call(rule, each)
        require(not bool(left_BP.any()), f"it leaves out {left_BP.nonzero().tolist()}")


def _breaks_ties_towards_the_first_position(rule: Any) -> None:
    if rule.stochastic or any(_ranks_otherwise(part) for part in parts(rule)):
        return
    for each in scenes_for(rule):
        tied = attrs.evolve(each, confidence_BP=_level(each.confidence_BP))
        commit_BP = call(rule, tied)
        for chosen_P, eligible_P in zip(commit_BP, each.view.eligible_BP, strict=True):
            kept = chosen_P[eligible_P].tolist()
            require(
                kept == sorted(kept, reverse=True),
                f"of equally confident positions it selects {kept}, not the first ones",
            )


def _ranks_otherwise(part: Any) -> bool:
    """Whether it orders positions by where they are, or by doubt."""
    return bool(getattr(part, "locality", None) or getattr(part, "doubtful", False))


def _level(confidence_BP: Tensor) -> Tensor:
    """The same score at every eligible position."""
    finite_BP = confidence_BP.isfinite()
    level = confidence_BP[finite_BP].mean()
    return torch.where(finite_BP, level, confidence_BP)


def _makes_progress(rule: Any) -> None:
    """The loop raises when a row with something to decide gets nothing decided in time."""
    for decoded in decodes_of(rule):
        if rule.may_wait:
            continue
        idle = [number for number, changes in enumerate(decoded.trace) if not changes]
        require(not idle, f"passes {idle} decided nothing")


def _keeps_to_the_steps_it_states(rule: Any) -> None:
    for decoded, block in zip(decodes_of(rule), (GEN_LENGTH, GEN_LENGTH, 4, 4), strict=True):
        stated = rule.steps_per_block(block)
        if stated is None:
            require(not rule.may_wait, "a rule that may wait must state its steps for each block")
            continue
        most, took = stated * GEN_LENGTH // block, len(decoded.trace)
        require(took <= most, f"{took} passes for {len(PROMPTS)} rows, but it states {most}")


TRANSFER: dict[str, Check] = {
    "selects eligible positions": _selects_eligible_positions,
    "selects everything if it says so": _selects_everything_if_it_says_so,
    "breaks ties towards the first position": _breaks_ties_towards_the_first_position,
    "makes progress": _makes_progress,
    "keeps to the steps it states": _keeps_to_the_steps_it_states,
}

GUARD: dict[str, Check] = {"selects eligible positions": _selects_eligible_positions}
