"""The diffusion-forcing sampler of looped networks.

Legend: B rows, N canvas positions, W wavefront positions.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import ClassVar, Literal

import attrs
import torch
from torch import Tensor

from dlmkit.accounts.records import StepRecord
from dlmkit.bounds import at_least, at_most
from dlmkit.canvas import Canvas
from dlmkit.component import option
from dlmkit.context import Context
from dlmkit.errors import RequestError
from dlmkit.network import NetworkInfo
from dlmkit.roles import Procedure
from dlmkit.view import BlockSpan
from dlmkit_strategies.autoregressive.wavefront import Wavefront
from dlmkit_strategies.kernels import ends_text

__all__ = ["RecurrentDepth"]


@attrs.frozen(kw_only=True)
class RecurrentDepth(Procedure):
    """Go on to the next tokens before the last ones have been computed to their full depth.

    The prompt is read at full depth.  Then every pass refines the latent states of a *wavefront*
    by some recurrences, guesses each next token again, adds positions at the front, and freezes
    those at the back that `freeze` finds converged, or that have had `patience` recurrences.
    Frozen tokens never change.  Keys and values of frozen positions are those of their last pass.
    With `wave: 1` and `recurrences` = `depth` that is greedy decoding, or sampling.

    `latent-diff`: the relative change of a state is below `tolerance`; `latent-acceleration`: that
    change less the one before is; `token-stability`: the guess has stayed as it was in more than
    `depth` / `recurrences` passes, in all; `fixed`: nothing is, so each waits for its `patience`.
    Source: Geiping et al. (arXiv:2510.14961), `generate_diffusion_style`, which has no `patience`.
    """

    name = "recurrent-depth"
    requires: ClassVar[frozenset[str]] = frozenset({"causal", "latents"})

    model: str = option("main", doc="name of the network in `models`")
    recurrences: int = option(4, doc="recurrences in each pass", check=at_least(1))
    depth: int = option(32, doc="recurrences of the prompt", check=at_least(1))
    freeze: Literal["latent-diff", "latent-acceleration", "token-stability", "fixed"] = option(
        "latent-diff", doc="when a position has converged"
    )
    patience: int | None = option(
        None, doc="recurrences after which a position is final; absent: `depth`", check=at_least(1)
    )
    headway: int = option(1, doc="positions added in each pass", check=at_least(1))
    wave: int = option(128, doc="positions refined at a time, at most", check=at_least(1))
    tolerance: float = option(
        0.03, doc="relative change of a state below which it has converged", check=at_least(0)
    )
    contiguous: bool = option(
        True,
        doc="freeze only converged positions; else everything up to the last converged one",
    )
    momentum: float = option(
        0.1, doc="share that stays of what a token gave before", check=(at_least(0), at_most(1))
    )
    noise: float = option(
        0.5,
        doc="share of random states mixed in before a pass, divided by 1 + recurrences so far",
        check=(at_least(0), at_most(1)),
    )
    scale: float = option(1.0, doc="size of random states, by that of training", check=at_least(0))
    temperature: float = option(
        0.0, doc="divides logits before guesses are drawn; 0: the best tokens", check=at_least(0)
    )

    def home(self) -> str:
        """The only model there is."""
        return self.model

    def steps(self, context: Context, canvas: Canvas) -> Iterator[StepRecord]:
        """Decode the canvas in place; the first pass reads the prompt.

        Raises:
            RequestError: given text follows a mask.
            EngineError: the network has no latents.
        """
        _refuse_infilling(canvas)
        session, width = context.session(self.model), min(self.wave, canvas.region_width)
        found = Wavefront.begin(
            canvas,
            session,
            width=width,
            scale=self.scale,
            temperature=self.temperature,
            seed=context.seed,
        )
        for step in count():
            live_B = (canvas.masked_BN & canvas.undone_B1).any(dim=1)
            if not bool(live_B.any()):
                return
            before_BN = canvas.tokens_BN
            if step:
                done = self._go_on(found, canvas, live_B, step)
            else:
                done = self._read_prompt(found, canvas, live_B)
            next_BW = done.positions_BW + 1
            canvas.commit(next_BW, done.final_BW, found.tokens_BN.gather(1, next_BW), step)
            _end(canvas, session.info, step)
            found.move(canvas, done.final_B, self.headway)
            yield self._record(done, found, canvas, before_BN, live_B, step)

    def _read_prompt(self, found: Wavefront, canvas: Canvas, live_B: Tensor) -> Pass:
        """Refine the prompt to full depth; all of it is final."""
        positions_B1 = canvas.start_B[:, None] - 1
        probability_B1 = found.refine(canvas, live_B, positions_B1, self.depth, 0.0, 0)
        return Pass(positions_B1, probability_B1, live_B[:, None], found.size_B)

    def _go_on(self, found: Wavefront, canvas: Canvas, live_B: Tensor, step: int) -> Pass:
        """Refine the wavefront a little, and see what is final."""
        positions_BW = found.positions_BW(canvas)
        inside_BW = found.inside_BW & live_B[:, None]
        found.note_states()
        if self.noise:
            found.add_noise(canvas, positions_BW, self.noise, step)
        probability_BW = found.refine(
            canvas, live_B, positions_BW, self.recurrences, self.momentum, step
        )
        patience = self.depth if self.patience is None else self.patience
        converged_BW = self._converged_BW(found, positions_BW)
        converged_BW = converged_BW | (found.count_BN.gather(1, positions_BW) >= patience)
        final_BW = inside_BW & self._final_BW(converged_BW & inside_BW)
        return Pass(positions_BW, probability_BW, final_BW, final_BW.sum(dim=1))

    def _converged_BW(self, found: Wavefront, positions_BW: Tensor) -> Tensor:
        """Which positions need no more passes, by the rule."""
        match self.freeze:
            case "latent-diff":
                return found.change_BW(positions_BW) < self.tolerance
            case "latent-acceleration":
                return found.acceleration_BW(positions_BW, self.recurrences) < self.tolerance
            case "token-stability":
                stable_BW = found.stable_BN.gather(1, positions_BW)
                return stable_BW > self.depth // self.recurrences
            case "fixed":
                return torch.zeros_like(positions_BW, dtype=torch.bool)

    def _final_BW(self, converged_BW: Tensor) -> Tensor:
        """What is frozen: a run of positions from the back of the wavefront."""
        if self.contiguous:
            return converged_BW.cumprod(dim=1).bool()
        return converged_BW.flip(1).cumsum(dim=1).flip(1) > 0

    def _record(
        self,
        done: Pass,
        found: Wavefront,
        canvas: Canvas,
        before_BN: Tensor,
        live_B: Tensor,
        step: int,
    ) -> StepRecord:
        next_BW = done.positions_BW + 1
        first_B, width = next_BW[:, 0], next_BW.shape[1]
        return StepRecord(
            step=step,
            network=self.model,
            counts=found.session.counts,
            before_BN=before_BN,
            after_BN=canvas.tokens_BN,
            positions_BP=next_BW,
            proposals_BP=found.tokens_BN.gather(1, next_BW),
            confidence_BP=done.probability_BW,
            live_B=live_B,
            block=BlockSpan(first_B, first_B + width, first_B - canvas.start_B, width),
        )


@attrs.frozen
class Pass:
    """What a pass came to: its positions, the probabilities of what follows each, what is final.

    `final_B` counts the final positions, those of the prompt included.
    """

    positions_BW: Tensor
    probability_BW: Tensor
    final_BW: Tensor
    final_B: Tensor


def _refuse_infilling(canvas: Canvas) -> None:
    begun_BN = canvas.columns_N >= canvas.start_B[:, None]
    if bool((begun_BN & canvas.inside_BN & canvas.given_BN).any()):
        raise RequestError(
            "procedure 'recurrent-depth' writes from left to right and reads nothing behind a mask",
            hint="give prompts without masks, or fill masks with a diffusion model",
        )


def _end(canvas: Canvas, info: NetworkInfo, step: int) -> None:
    """Let nothing follow a token that ends the text."""
    if not info.eos_ids:
        return
    ending_BN = ends_text(canvas.tokens_BN, info) & ~canvas.given_BN
    over_BN = ending_BN.cumsum(dim=1) - ending_BN.long() > 0
    changed_BN = over_BN & (canvas.tokens_BN != info.eos_ids[0])
    ends_BN = torch.full_like(canvas.tokens_BN, info.eos_ids[0])
    canvas.commit(canvas.columns_N.expand_as(ends_BN), changed_BN, ends_BN, step)
