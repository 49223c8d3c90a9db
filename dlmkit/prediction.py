"""What a forward pass says about the wanted positions: statistics, and logits where asked for.

Strategies read a `Prediction`.  Its statistics (the *score pack*) are what an engine returns by
default; full logits travel only when a component declares that it needs them.

Legend: B rows, P window positions, K kept candidates, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor

from dlmkit.need import Need

if TYPE_CHECKING:
    from dlmkit.passes.taps import Taps

__all__ = ["Need", "Prediction", "ScorePack", "score_pack"]


@attrs.frozen(kw_only=True)
class ScorePack:
    """Statistics of a distribution at each window position, float32 at least.

    `top_ids_BPK` int64 and `top_logp_BPK` in nats, most probable first, ties to the lowest id;
    `lse_BP` log-sum-exp of the logits; `entropy_BP` in nats; `current_logp_BP` log-probability
    of the token now at the position.  What was not asked for is None.
    """

    top_ids_BPK: Tensor
    top_logp_BPK: Tensor
    lse_BP: Tensor
    entropy_BP: Tensor | None = None
    current_logp_BP: Tensor | None = None


@attrs.frozen(kw_only=True)
class Prediction:
    """A score pack, the logits behind it where they were asked for, and its filtered form.

    `filtered` is the distribution that tokens are drawn from, after sampling-stage transforms
    (temperature, top-p, top-k); without such transforms it is the prediction itself.
    `unedited` is the distribution before score-stage transforms, in the same way.  `shadow` is
    the prediction of the same positions by queries that do not see the tokens there, where
    somebody declared that need; its pack holds `current_logp_BP`.  `taps` is what attention saw,
    likewise; with guidance, under the first input.
    """

    pack: ScorePack
    logits_BPV: Tensor | None = None
    shadow: Prediction | None = None
    taps: Taps | None = None
    sampling: Prediction | None = None
    original: Prediction | None = None

    @property
    def filtered(self) -> Prediction:
        """The distribution that tokens are drawn from."""
        return self.sampling or self

    @property
    def unedited(self) -> Prediction:
        """The distribution before the transforms that everybody sees, guidance included."""
        return self.original or self

    def logp_of(self, tokens_BP: Tensor) -> Tensor:
        """Log-probability in nats of the given token at each position, `logp_BP`.

        Exact with logits.  Without them the token must be among the kept candidates; any other
        token gets minus infinity.
        """
        if self.logits_BPV is not None:
            best_BP1, dtype = self.pack.top_ids_BPK[..., :1], self.pack.lse_BP.dtype
            chosen_BP1 = self.logits_BPV.gather(-1, tokens_BP[..., None]).to(dtype)
            below_BP1 = chosen_BP1 - self.logits_BPV.gather(-1, best_BP1).to(dtype)
            return below_BP1[..., 0] + self.pack.top_logp_BPK[..., 0]
        hit_BPK = self.pack.top_ids_BPK == tokens_BP[..., None]
        return torch.where(hit_BPK, self.pack.top_logp_BPK, -torch.inf).amax(dim=-1)


def score_pack(logits_BPV: Tensor, need: Need, current_BP: Tensor | None = None) -> ScorePack:
    """Reduce logits to the statistics in `need`.

    Everything is relative to the largest logit, whose own weight of 1 is left out of the sums:
    beside it, what the other tokens weigh together would be rounded away.  So logarithms of
    probabilities and entropies are exact to relative precision where a token is all but certain.
    `current_BP` is required when `need.current` is set.
    """
    wide_BPV = logits_BPV if logits_BPV.dtype == torch.float64 else logits_BPV.float()
    top_BPK, ids_BPK = _top(wide_BPV, need.top)
    peak_BP1, best_BP1 = top_BPK[..., :1], ids_BPK[..., :1]
    lowered_BPV = wide_BPV - peak_BP1
    weight_BPV = lowered_BPV.exp().scatter_(-1, best_BP1, 0.0)
    rest_BP = weight_BPV.sum(dim=-1)
    spread_BP = rest_BP.log1p()
    current_logp_BP = entropy_BP = None
    if need.current and current_BP is not None:
        current_logp_BP = lowered_BPV.gather(-1, current_BP[..., None])[..., 0] - spread_BP
    if need.entropy:
        least = torch.finfo(lowered_BPV.dtype).min
        product_BP = weight_BPV.mul_(lowered_BPV.clamp_min_(least)).sum(dim=-1)
        entropy_BP = spread_BP - product_BP / (1 + rest_BP)
    return ScorePack(
        top_ids_BPK=ids_BPK,
        top_logp_BPK=(top_BPK - peak_BP1) - spread_BP[..., None],
        lse_BP=peak_BP1[..., 0] + spread_BP,
        entropy_BP=entropy_BP,
        current_logp_BP=current_logp_BP,
    )


def _top(logits_BPV: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Largest logits and their ids; equal logits in the order of their ids.

    `topk` picks any of several equal values, so tokens equal to the last kept value are chosen
    anew: the lowest ids among them follow the strictly larger ones.
    """
    if count == 1:
        ids_BP1 = logits_BPV.argmax(dim=-1, keepdim=True)
        return logits_BPV.gather(-1, ids_BP1), ids_BP1
    vocabulary = logits_BPV.shape[-1]
    top_BPK, ids_BPK = logits_BPV.topk(min(count, vocabulary), dim=-1)
    last_BP1 = top_BPK[..., -1:]
    every_V = torch.arange(vocabulary, dtype=torch.int32, device=logits_BPV.device)
    equal_BPV = torch.where(logits_BPV == last_BP1, every_V, vocabulary)
    lowest_BPK = equal_BPV.topk(top_BPK.shape[-1], dim=-1, largest=False).values.long()
    by_id_BPK = ids_BPK.argsort(dim=-1, stable=True)
    top_BPK, ids_BPK = top_BPK.gather(-1, by_id_BPK), ids_BPK.gather(-1, by_id_BPK)
    order_BPK = top_BPK.argsort(dim=-1, descending=True, stable=True)
    top_BPK, ids_BPK = top_BPK.gather(-1, order_BPK), ids_BPK.gather(-1, order_BPK)
    larger_BPK = top_BPK > last_BP1
    rank_BPK = larger_BPK.logical_not().cumsum(dim=-1).sub(1).clamp_min(0)
    return top_BPK, torch.where(larger_BPK, ids_BPK, lowest_BPK.gather(-1, rank_BPK))
