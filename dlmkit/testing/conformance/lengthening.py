"""Promises of length controllers.

Legend: B rows, N canvas positions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import torch
from torch import Tensor

from dlmkit.roles import Resize
from dlmkit.testing.conformance.calls import call
from dlmkit.testing.conformance.case import Check, require
from dlmkit.testing.conformance.pure import scenes_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlmkit.testing.conformance.scenes import Scene

__all__ = ["LENGTH"]


def _resizes(controller: Any) -> Iterator[tuple[Scene, Tensor | None, Resize | None]]:
    """The scenes as they are, and in a context that is full."""
    for each in scenes_for(controller):
        full = attrs.evolve(each.view.info, max_positions=each.view.tokens_BN.shape[1])
        for info in (each.view.info, full):
            scene = attrs.evolve(each, view=attrs.evolve(each.view, info=info))
            yield scene, *call(controller, scene)


def _edits_what_it_may(controller: Any) -> None:
    for each, _, resize in _resizes(controller):
        if resize is None:
            continue
        canvas = each.view.canvas
        require(isinstance(resize, Resize), f"it returned {type(resize).__name__}, not a Resize")
        insert_BN, delete_BN = resize.insert_BN, resize.delete_BN
        expected = canvas.tokens_BN.shape
        require(insert_BN.shape == expected == delete_BN.shape, "the shapes do not fit the canvas")
        require(insert_BN.dtype == torch.int64, f"`insert_BN` is {insert_BN.dtype}, not int64")
        require(delete_BN.dtype == torch.bool, f"`delete_BN` is {delete_BN.dtype}, not bool")
        require(bool((insert_BN >= 0).all()), "it inserts fewer than no masks")
        given = (delete_BN & canvas.given_BN & canvas.inside_BN).nonzero().tolist()
        require(not given, f"it deletes given text: {given}")
        early_BN = (insert_BN > 0) & (canvas.columns_N < canvas.start_B[:, None] - 1)
        require(
            not bool(early_BN.any()), f"it inserts into a prompt: {early_BN.nonzero().tolist()}"
        )


def _stays_within_the_context(controller: Any) -> None:
    for each, _, resize in _resizes(controller):
        if resize is None:
            continue
        canvas, limit = each.view.canvas, each.view.info.max_positions
        kept_BN = canvas.inside_BN & ~resize.delete_BN
        length_B = kept_BN.sum(dim=1) + (resize.insert_BN * canvas.inside_BN).sum(dim=1)
        longest = int(length_B.masked_fill(~each.view.live_B, 0).max())
        require(longest <= limit, f"a row becomes {longest} positions long; the context is {limit}")


def _changes_the_rows_that_wait(controller: Any) -> None:
    for each, waiting_B, resize in _resizes(controller):
        if waiting_B is None:
            continue
        require(waiting_B.dtype == torch.bool, f"the rows are {waiting_B.dtype}, not bool")
        changed_B = torch.zeros_like(waiting_B)
        if resize is not None:
            changed_B = ((resize.insert_BN > 0) | resize.delete_BN).any(dim=1)
        idle_B = waiting_B & each.view.live_B & ~changed_B
        require(not bool(idle_B.any()), f"rows {idle_B.nonzero().tolist()} wait for nothing")


def _only_cuts_if_it_says_so(controller: Any) -> None:
    for each, _, resize in _resizes(controller) if controller.only_cuts else ():
        if resize is None:
            continue
        canvas = each.view.canvas
        require(not bool((resize.insert_BN > 0).any()), "it says that it only cuts, but inserts")
        kept_BN = canvas.inside_BN & ~resize.delete_BN
        behind_BN = kept_BN.flip(1).cumsum(dim=1).flip(1) > 0
        torn_BN = resize.delete_BN & canvas.inside_BN & behind_BN
        require(not bool(torn_BN.any()), f"it cuts before the end: {torn_BN.nonzero().tolist()}")


LENGTH: dict[str, Check] = {
    "edits what it may": _edits_what_it_may,
    "stays within the context": _stays_within_the_context,
    "changes the rows that wait": _changes_the_rows_that_wait,
    "only cuts if it says so": _only_cuts_if_it_says_so,
}
