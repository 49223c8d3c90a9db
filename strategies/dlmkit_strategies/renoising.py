"""Decoding of networks whose undecided positions hold random tokens instead of a mask.

Legend: B rows, N canvas positions, P window positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import attrs
import torch
from torch import Tensor

from dlmkit.bounds import above, at_least
from dlmkit.component import StateField, option
from dlmkit.need import Need
from dlmkit.outcome import Outcome
from dlmkit.prediction import Prediction
from dlmkit.roles import InputTransform, LogitsTransform, Mixture, Reviser, Revision
from dlmkit.view import View
from dlmkit_strategies.positions import decided_here, read, write

__all__ = ["Cooling", "Renoise", "SelfConditioning", "UniformNoise"]

_STEPS = "steps for each block"


@attrs.frozen
class UniformNoise(InputTransform):
    """Feed random tokens at undecided positions, drawn anew in every step.

    Source: uniform noise as in DiffusionGemma (transformers, `EntropyBoundSampler`).
    """

    name = "uniform-noise"
    stochastic = True

    def apply(self, ids_BN: Tensor, view: View) -> Tensor:
        """A token of the vocabulary for each mask."""
        places_BN = view.canvas.columns_N.expand_as(ids_BN)
        draw_BN = view.noise.uniform_BP(self.name, places_BN)
        return torch.where(view.canvas.masked_BN, (draw_BN * view.info.vocab_size).long(), ids_BN)


@attrs.frozen
class SelfConditioning(InputTransform):
    """Show the network the distributions that it predicted in the step before.

    They are those that tokens are drawn from, as shares of all tokens; keeping them takes as much
    memory as the logits of the whole canvas.  Nothing is shown in the first step of a block.
    Source: self-conditioning (arXiv:2208.04202) as in DiffusionGemma.
    """

    name = "self-conditioning"
    need = Need(logits=True)
    history = True
    requires = frozenset({"mixed-inputs"})
    state: ClassVar[tuple[StateField, ...]] = (
        StateField("shares", "float32", 0, dims="BNV", keep=True),
    )

    def apply(self, ids_BN: Tensor, view: View) -> Tensor:
        """The tokens stay."""
        return ids_BN

    def mix(self, view: View) -> Mixture:
        """What was predicted in the current block."""
        shares_BNV, columns_N = view.recall(self)["shares"], view.canvas.columns_N
        here_BN = (columns_N >= view.block.start_B[:, None]) & (
            columns_N < view.block.stop_B[:, None]
        )
        ids_V = torch.arange(shares_BNV.shape[-1], device=shares_BNV.device)
        return Mixture(ids_V.expand_as(shares_BNV), shares_BNV * here_BN[..., None])

    def advance(self, outcome: Outcome) -> Mapping[str, Tensor]:
        """The distributions of this step."""
        view, logits_BPV = outcome.view, outcome.prediction.filtered.logits_BPV
        assert logits_BPV is not None  # noqa: S101 - declared in `need`
        now_BPV = logits_BPV.float().softmax(dim=-1)
        return {"shares": write(view.recall(self)["shares"], now_BPV, view.inside_BP, view)}


@attrs.frozen
class Cooling(LogitsTransform):
    """A temperature that falls from step to step of a block.

    In step k it is `to` + (`from` - `to`) (steps - k) / steps.
    Source: DiffusionGemma (transformers, `t_max` and `t_min`).
    """

    name = "cooling"
    stage = "sampling"

    start: float = option(0.8, doc="temperature of the first step", check=above(0), key="from")
    stop: float = option(0.4, doc="what it falls to", check=above(0), key="to")
    steps: int = option(48, doc=_STEPS, check=at_least(1), key="steps_per_block")

    def edit(self, logits_BPV: Tensor, view: View) -> Tensor:
        """Divide by the temperature of each row."""
        left_B = (self.steps - view.block_step_B).clamp_min(0) / self.steps
        temperature_B = self.stop + (self.start - self.stop) * left_B
        return logits_BPV / temperature_B.to(logits_BPV.dtype)[:, None, None]


@attrs.frozen
class Renoise(Reviser):
    """Keep the most certain proposals of a step for the next one, and take all others back.

    All positions of the block are judged anew in every step, which goes with `everything` as
    transfer rule.  In the order of entropy, proposals
    are kept while those before them sum to at most a bound.  The block ends, with the most
    probable tokens, once these stay the same and are certain, or after its last step.
    Source: DiffusionGemma (transformers, `EntropyBoundSampler` and
    `StableAndConfidentStoppingCriteria`).
    """

    name = "renoise"
    need = Need(top=1, entropy=True)
    reopens = True
    rewrites = True
    history = True
    state: ClassVar[tuple[StateField, ...]] = (
        StateField("best", "int64", -1, keep=True),
        StateField("agreed", "int64", 0, dims="B"),
    )

    bound: float = option(0.1, doc="entropy before the last that is kept, in nats", check=above(0))
    patience: int = option(1, doc="steps that agree with the last one", check=at_least(0))
    limit: float = option(0.005, doc="mean entropy of a block that is certain", check=at_least(0))
    steps: int = option(48, doc=_STEPS, check=at_least(1), key="steps_per_block")

    def revise(self, prediction: Prediction, view: View) -> Revision:
        """Proposals that are kept, masks elsewhere; the best tokens at the end of the block."""
        pack, open_BP = prediction.filtered.pack, self._open_BP(view)
        assert pack.entropy_BP is not None  # noqa: S101 - declared in `need`
        entropy_BP = pack.entropy_BP.masked_fill(~open_BP, 0.0)
        mean_B = entropy_BP.sum(dim=1) / open_BP.sum(dim=1).clamp_min(1)
        certain_B = (self._agreed_B(prediction, view) >= self.patience) & (mean_B < self.limit)
        ends_B = certain_B | (view.block_step_B + 1 >= self.steps)
        mask_BP = torch.full_like(view.tokens_BP, view.canvas.mask_id)
        kept_BP = torch.where(self._kept(entropy_BP, open_BP), view.proposal.tokens_BP, mask_BP)
        tokens_BP = torch.where(ends_B[:, None], pack.top_ids_BPK[..., 0], kept_BP)
        return Revision(open_BP & (decided_here(view) >= 0), tokens_BP, ~ends_B)

    def advance(self, outcome: Outcome) -> Mapping[str, Tensor]:
        """The best tokens of this step, and how many steps in a row had the same."""
        view, best_BP = outcome.view, outcome.prediction.filtered.pack.top_ids_BPK[..., 0]
        return {
            "best": write(view.recall(self)["best"], best_BP, self._open_BP(view), view),
            "agreed": self._agreed_B(outcome.prediction, view),
        }

    def _open_BP(self, view: View) -> Tensor:
        return view.in_block_BP & ~view.canvas.given_BN.gather(1, view.positions_BP)

    def _agreed_B(self, prediction: Prediction, view: View) -> Tensor:
        memory, best_BP = view.recall(self), prediction.filtered.pack.top_ids_BPK[..., 0]
        changed_BP = (read(memory["best"], view) != best_BP) & self._open_BP(view)
        return (memory["agreed"] + 1) * ~changed_BP.any(dim=1)

    def _kept(self, entropy_BP: Tensor, open_BP: Tensor) -> Tensor:
        """In the order of entropy, ties to the first position, while the sum before is small."""
        ranked = entropy_BP.masked_fill(~open_BP, torch.inf).sort(dim=1, stable=True)
        before_BP = ranked.values.cumsum(dim=1) - ranked.values
        small_BP = before_BP <= self.bound
        return torch.zeros_like(open_BP).scatter(1, ranked.indices, small_BP) & open_BP
