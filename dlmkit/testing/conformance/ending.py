"""Promises of what ends or takes back: exits, revisers, stop rules.

Legend: B rows, P window positions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dlmkit.roles import Exit, Revision
from dlmkit.testing.conformance.calls import call
from dlmkit.testing.conformance.case import Check, require
from dlmkit.testing.conformance.pure import scenes_for

__all__ = ["EXIT", "REVISE", "STOP"]


def _says_which_rows_exit(rule: Any) -> None:
    for each in scenes_for(rule):
        verdict = call(rule, each)
        if verdict is None:
            continue
        require(isinstance(verdict, Exit), f"it returned {type(verdict).__name__}, not an Exit")
        require(verdict.scope in ("block", "canvas"), f"the scope is {verdict.scope!r}")
        _require_rows(verdict.rows_B, len(each.view.tokens_BN))


def _says_which_rows_stop(rule: Any) -> None:
    for each in scenes_for(rule):
        _require_rows(call(rule, each), len(each.view.tokens_BN))


def _require_rows(rows_B: Tensor, count: int) -> None:
    require(rows_B.dtype == torch.bool, f"the rows are {rows_B.dtype}, not bool")
    found = tuple(rows_B.shape)
    require(found == (count,), f"the rows have shape {found}, not ({count},)")


def _revises_decided_positions(reviser: Any) -> None:
    for each in scenes_for(reviser):
        revision, view = call(reviser, each), each.view
        if revision is None:
            continue
        kind = type(revision).__name__
        require(isinstance(revision, Revision), f"it returned {kind}, not a Revision")
        where_BP, tokens_BP = revision.where_BP, revision.tokens_BP
        require(where_BP.dtype == torch.bool, f"`where_BP` is {where_BP.dtype}, not bool")
        require(tokens_BP.dtype == torch.int64, f"`tokens_BP` is {tokens_BP.dtype}, not int64")
        expected = view.positions_BP.shape
        require(where_BP.shape == expected == tokens_BP.shape, "the shapes do not fit the window")
        undecided_BP = where_BP & view.masked_BP
        where = undecided_BP.nonzero().tolist()
        require(not where, f"it revises positions that are not decided: {where}")
        tokens = tokens_BP[where_BP]
        in_range = bool(((tokens >= 0) & (tokens < view.info.vocab_size)).all())
        require(in_range, "it writes a token outside the vocabulary")


EXIT: dict[str, Check] = {"says which rows exit": _says_which_rows_exit}
STOP: dict[str, Check] = {"says which rows stop": _says_which_rows_stop}
REVISE: dict[str, Check] = {"revises decided positions": _revises_decided_positions}
