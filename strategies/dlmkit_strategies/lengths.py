"""Length controllers: rows that end early, grow where they are unsure, or edit themselves.

Legend: B rows, N canvas positions, P window positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import attrs
import torch
from torch import Tensor

from dlmkit.bounds import at_least, at_most
from dlmkit.component import StateField, option
from dlmkit.host.constants import constant
from dlmkit.need import Need
from dlmkit.outcome import Outcome
from dlmkit.prediction import Prediction
from dlmkit.roles import LengthController, Resize
from dlmkit.view import View
from dlmkit_strategies.positions import decided_here

__all__ = ["Daedal", "EndOfTextCut", "ExpandDelete"]

_SHARE = (at_least(0), at_most(1))


@attrs.frozen
class EndOfTextCut(LengthController):
    """Cut a row behind the undecided position that is surest to end the text.

    What this pass decided counts as undecided; text given behind the position keeps its place.
    The published code takes any probability, and in a batch cuts every row where the first one
    ends.  Source: EoTP of Learn2PD (arXiv:2509.25188).
    """

    name = "eotp"
    span = "region"
    need = Need(top=2)
    only_cuts = True

    min_confidence: float = option(0.0, doc="smallest probability that cuts", check=_SHARE)
    tokens: Literal["eos", "eot", "both"] = option("eos", doc="which tokens end the text")

    def resize(self, prediction: Prediction, view: View) -> Resize:
        """Everything behind the best candidate goes."""
        canvas, tokens_BP = view.canvas, view.proposal.tokens_BP
        eos = view.info.eos_ids if self.tokens in ("eos", "both") else ()
        eot = view.info.eot_ids if self.tokens in ("eot", "both") else ()
        ends = constant((*eos, *eot), tokens_BP.device, torch.int64)
        given_BN = canvas.given_BN & canvas.inside_BN
        given_B1 = torch.where(given_BN, canvas.columns_N, -1).amax(dim=1, keepdim=True)
        sure_BP = prediction.logp_of(tokens_BP).exp()
        open_BP = view.masked_BP | (decided_here(view) == view.step)
        ending_BP = torch.isin(tokens_BP, ends) & (sure_BP >= self.min_confidence)
        ending_BP = ending_BP & open_BP & _predicted(view) & (view.positions_BP > given_B1)
        best_B1 = torch.where(ending_BP, sure_BP, -1.0).argmax(dim=1, keepdim=True)
        end_B1 = view.positions_BP.gather(1, best_B1)
        behind_BN = (canvas.columns_N > end_B1) & ending_BP.any(dim=1, keepdim=True)
        return Resize(insert_BN=torch.zeros_like(canvas.tokens_BN), delete_BN=behind_BN)


@attrs.frozen
class Daedal(LengthController):
    """Find a length before decoding, then insert masks where the network is least sure.

    The end confidence is the sum of the probabilities of the last `window` positions whose most
    probable token ends the text, over `window`.  While it is below `enough`, nothing is decided
    and `grow` masks are appended.  Later, where the least sure mask of the block is below `unsure`
    and the end confidence below `ended`, `grow` masks take its place; the block keeps its width.
    A row gets no longer than `limit` new tokens, or the context.
    Source: DAEDAL (arXiv:2508.00819), initial length adjustment and iterative mask insertion.
    """

    name = "daedal"
    span = "region"
    need = Need(top=2)

    grow: int = option(8, doc="masks in place of one", check=at_least(2))
    limit: int = option(2048, doc="most positions behind the prompt", check=at_least(1))
    window: int = option(32, doc="positions of the end confidence", check=at_least(1))
    enough: float = option(0.5, doc="end confidence that settles the length", check=_SHARE)
    ended: float = option(0.9, doc="end confidence that forbids insertions", check=_SHARE)
    unsure: float = option(0.1, doc="probability below which masks are inserted", check=_SHARE)

    def waits(self, prediction: Prediction, view: View) -> Tensor:
        """Rows that are still looking for their first length, `waits_B` bool."""
        starting_B = ~(view.canvas.commit_step_BN >= 0).any(dim=1)
        return starting_B & (self._end_B(prediction, view) < self.enough) & self._room_B(view)

    def resize(self, prediction: Prediction, view: View) -> Resize:
        """Masks at the end of rows that wait, and at the least sure mask of others."""
        canvas = view.canvas
        waiting_B1 = self.waits(prediction, view)[:, None]
        masked_BP = view.eligible_BP & _predicted(view)
        sure_BP = prediction.logp_of(view.proposal.tokens_BP).exp()
        sure_BP = torch.where(masked_BP, sure_BP, torch.inf)
        worst_B1 = sure_BP.argmin(dim=1, keepdim=True)
        doubtful_B = sure_BP.amin(dim=1) < self.unsure
        open_B = (self._end_B(prediction, view) < self.ended) & self._room_B(view)
        here_B1 = view.positions_BP.gather(1, worst_B1)
        at_B1 = torch.where(waiting_B1, canvas.length_B[:, None] - 1, here_B1)
        where_BN = (canvas.columns_N == at_B1) & (waiting_B1 | (doubtful_B & open_B)[:, None])
        insert_B1 = torch.where(waiting_B1, self.grow, self.grow - 1)
        return Resize(
            insert_BN=torch.where(where_BN, insert_B1, 0),
            delete_BN=torch.zeros_like(where_BN),
        )

    def _end_B(self, prediction: Prediction, view: View) -> Tensor:
        """The end confidence, `end_B` in [0, 1]."""
        ends = constant(view.info.eos_ids, view.positions_BP.device, torch.int64)
        pack = prediction.pack
        ending_BP = torch.isin(pack.top_ids_BPK[..., 0], ends) & _predicted(view)
        later_BP = ending_BP.flip(1).cumsum(dim=1).flip(1)
        counted_BP = ending_BP & (later_BP <= self.window)
        return torch.where(counted_BP, pack.top_logp_BPK[..., 0].exp(), 0).sum(dim=1) / self.window

    def _room_B(self, view: View) -> Tensor:
        """Rows that may still grow, bool."""
        length_B, start_B = view.canvas.length_B, view.canvas.start_B
        fits_B = length_B + self.grow <= view.info.max_positions
        return fits_B & (length_B - start_B + self.grow <= self.limit)


@attrs.frozen
class ExpandDelete(LengthController):
    """Let the network edit the length: one token becomes two masks, another one vanishes.

    Both act in the step that decides them.  Once a row has used up its expansions, or is full,
    the expanding token vanishes too; the published code forbids it instead, which takes a change
    of the distribution.  Source: DreamOn (github.com/DreamLM/DreamOn).
    """

    name = "expand-delete"
    state = (StateField("used_B", "int64", 0, "B"),)

    expand: int = option(doc="token that becomes two masks", check=at_least(0), examples=(3,))
    delete: int | None = option(
        None, doc="token that vanishes; absent: those that end a text", check=at_least(0)
    )
    limit: int = option(64, doc="most positions that are not given", check=at_least(1))
    expansions: int = option(128, doc="expansions in a row of the batch", check=at_least(0))

    def resize(self, prediction: Prediction, view: View) -> Resize:
        """Two masks behind each token that expands; these and the deleting ones vanish."""
        canvas = view.canvas
        new_BN = canvas.commit_step_BN == view.step
        asked_BN = new_BN & (canvas.tokens_BN == self.expand)
        ids = (self.delete,) if self.delete is not None else view.info.eos_ids
        ends = torch.tensor(ids, dtype=torch.int64, device=canvas.tokens_BN.device)
        return Resize(
            insert_BN=2 * self._granted(asked_BN, view).long(),
            delete_BN=asked_BN | (new_BN & torch.isin(canvas.tokens_BN, ends)),
        )

    def advance(self, outcome: Outcome) -> Mapping[str, Tensor]:
        """How often each row has expanded."""
        view = outcome.view
        asked_BN = (outcome.before_BN == view.canvas.mask_id) & (outcome.after_BN == self.expand)
        used_B = view.recall(self)["used_B"]
        return {"used_B": used_B + self._granted(asked_BN, view).sum(dim=1)}

    def _granted(self, asked_BN: Tensor, view: View) -> Tensor:
        """The first expansions that there is room for, bool."""
        canvas = view.canvas
        own_B = (canvas.inside_BN & ~canvas.given_BN).sum(dim=1)
        room_B = (self.limit - own_B).minimum(view.info.max_positions - canvas.length_B)
        left_B = room_B.minimum(self.expansions - view.recall(self)["used_B"])
        return asked_BN & (asked_BN.cumsum(dim=1) <= left_B[:, None])


def _predicted(view: View) -> Tensor:
    """Positions of the window that have a prediction in this step, bool."""
    return view.inside_BP if view.predicted_BP is None else view.inside_BP & view.predicted_BP
