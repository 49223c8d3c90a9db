"""Verdicts: what the verifier thinks of a draft, and what comes of it.

Legend: B rows, E entries.
"""

from __future__ import annotations

import attrs
from torch import Tensor

__all__ = ["Resolution", "Verdict"]


@attrs.frozen(kw_only=True, eq=False)
class Verdict:
    """A judge's opinion of every entry.

    `ok_BE` bool; `token_BE` int64 is what the verifier would write there instead.
    """

    ok_BE: Tensor
    token_BE: Tensor


@attrs.frozen(kw_only=True, eq=False)
class Resolution:
    """What is written: drafted tokens where `keep_BE`, the verifier's where `correct_BE`.

    The two exclude each other; every other entry is sent back, which leaves a mask.
    """

    keep_BE: Tensor
    correct_BE: Tensor
