"""Splitters: how a decoded text falls into fragments.

Legend: B rows, N canvas positions.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from dlmkit.bounds import at_least, not_empty
from dlmkit.canvas import Canvas
from dlmkit.component import option
from dlmkit.network import NetworkInfo
from dlmkit.roles import Splitter

__all__ = ["AtTokens", "EveryFew"]


@attrs.frozen
class AtTokens(Splitter):
    """Fragments lie between certain tokens, which belong to none.

    Source: SAFE strings in GenMol (arXiv:2501.06158), whose fragments are separated by dots.
    """

    name = "at-tokens"

    tokens: tuple[int, ...] = option(
        doc="separating token ids", check=not_empty, examples=((3, 7),)
    )

    def fragments(self, canvas: Canvas, info: NetworkInfo) -> Tensor:
        """Numbered from left to right."""
        separators = torch.tensor(self.tokens, device=canvas.tokens_BN.device)
        own_BN = _own(canvas, info) & ~torch.isin(canvas.tokens_BN, separators)
        return _numbered(own_BN, _begins(own_BN))


@attrs.frozen
class EveryFew(Splitter):
    """Fragments of one length, from the row's first undecided position on.

    Source: dlmkit.
    """

    name = "every"

    length: int = option(
        8, doc="tokens in a fragment; the last one may have fewer", check=at_least(1)
    )

    def fragments(self, canvas: Canvas, info: NetworkInfo) -> Tensor:
        """Numbered from left to right; given text ends a fragment too."""
        own_BN = _own(canvas, info)
        edge_BN = (canvas.columns_N - canvas.start_B[:, None]) % self.length == 0
        return _numbered(own_BN, _begins(own_BN) | (own_BN & edge_BN))


def _own(canvas: Canvas, info: NetworkInfo) -> Tensor:
    """Positions that were decoded and stand before the end of the text, bool."""
    ids = torch.tensor((*info.eos_ids, *info.eot_ids), dtype=torch.int64)
    decoded_BN = ~canvas.given_BN & ~canvas.masked_BN
    ending_BN = torch.isin(canvas.tokens_BN, ids.to(canvas.tokens_BN.device)) & decoded_BN
    return decoded_BN & (ending_BN.cumsum(dim=1) == 0)


def _begins(own_BN: Tensor) -> Tensor:
    """First positions of unbroken runs, bool."""
    return own_BN & ~torch.nn.functional.pad(own_BN[:, :-1], (1, 0))


def _numbered(own_BN: Tensor, begins_BN: Tensor) -> Tensor:
    return torch.where(own_BN, begins_BN.cumsum(dim=1) - 1, -1)
