"""Stop rules: rows that need no more steps.

Legend: B rows, N canvas positions.
"""

from __future__ import annotations

from typing import Literal

import attrs
import torch
from torch import Tensor

from dlmkit.component import option
from dlmkit.host.constants import constant
from dlmkit.roles import StopRule
from dlmkit.view import View
from dlmkit_strategies.kernels import ends_text

__all__ = ["EndOfText"]


@attrs.frozen
class EndOfText(StopRule):
    """Stop a row once an end-of-text token is decided and nothing it waits for is undecided.

    Whatever follows the token is cut from the text anyway; its masks stay.
    Source: LLaDA2 (arXiv:2512.15745), `eos_early_stop`; with `wait: block` SDAR
    (arXiv:2510.06303), `stopping_criteria_idx`.
    """

    name = "end-of-text"

    wait: Literal["text", "block"] = option(
        "text", doc="what must be final too: the text before the token, or its whole block"
    )
    ids: tuple[int, ...] = option((), doc="tokens that end a text; empty: those of the model")

    def stop(self, view: View) -> Tensor:
        """Rows with a generated end token that wait for no mask."""
        ending_BN = self._ends_BN(view) & ~view.canvas.given_BN
        if self.wait == "block":
            return ending_BN.any(dim=1) & ~self._busy_B(view)
        ended_before_BN = ending_BN.cumsum(dim=1) > 0
        waiting_B = (view.canvas.masked_BN & ~ended_before_BN).any(dim=1)
        return ending_BN.any(dim=1) & ~waiting_B

    def _ends_BN(self, view: View) -> Tensor:
        if not self.ids:
            return ends_text(view.tokens_BN, view.info)
        ids = constant(self.ids, view.tokens_BN.device)
        return torch.isin(view.tokens_BN, ids)

    def _busy_B(self, view: View) -> Tensor:
        """Rows whose block has masks, or is held by a reviser."""
        masked_B = (view.masked_BP & view.in_block_BP).any(dim=1)
        return masked_B if view.held_B is None else masked_B | view.held_B
