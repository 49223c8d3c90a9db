"""The wavefront of a looped network: positions whose latent states are still being refined.

Legend: B rows, N canvas positions, W wavefront positions, P predicted positions, D latent size.
"""

from __future__ import annotations

from typing import Self

import attrs
import torch
from torch import Tensor

from dlmkit.canvas import Canvas
from dlmkit.need import Need
from dlmkit.noise import Noise
from dlmkit.passes.latents import Latents, refine
from dlmkit.passes.plan import Plan
from dlmkit.passes.session import Session

__all__ = ["Wavefront"]


@attrs.define(kw_only=True, eq=False)
class Wavefront:
    """What a decode holds of every position.

    `tokens_BN` are the canvas with guesses where it is undecided; `count_BN` counts recurrences and
    `stable_BN` the passes in which the guess behind a position stayed as it was.  `before_BND` are
    the states before the last pass, `earlier_BND` those before the one before.  Guesses are drawn
    at a `temperature`; at 0 they are the best tokens.  Random states have the standard deviation
    `spread`.  Each row's wavefront is `size_B` positions from `begin_B` on; what lies before it is
    final and stored.  `width` bounds the size, and is known on the host.
    """

    session: Session
    latents: Latents
    tokens_BN: Tensor
    count_BN: Tensor
    stable_BN: Tensor
    before_BND: Tensor
    earlier_BND: Tensor
    temperature: float
    spread: float
    begin_B: Tensor
    size_B: Tensor
    width: int
    seed: int

    @classmethod
    def begin(
        cls,
        canvas: Canvas,
        session: Session,
        *,
        width: int,
        scale: float,
        temperature: float,
        seed: int,
    ) -> Self:
        """No wavefront yet: states of their own for all positions, and random tokens as guesses."""
        info, places_BN = session.info, canvas.columns_N.expand_as(canvas.tokens_BN)
        noise = Noise(seed, canvas.samples_B, 0)
        spread = scale * info.latent_scale
        state_BND = spread * noise.normal_BPW("latents", places_BN, info.latent_dim)
        uniform_BN = noise.uniform_BP("guesses", places_BN)
        guess_BN = (uniform_BN * info.vocab_size).long().clamp_max(info.vocab_size - 1)
        state_BND = state_BND.to(info.dtype)
        return cls(
            session=session,
            latents=Latents(
                state_BND=state_BND,
                condition_BND=torch.zeros_like(state_BND),
                kept_BN=torch.zeros_like(uniform_BN, dtype=info.dtype),
                recurrences=0,
            ),
            tokens_BN=torch.where(canvas.masked_BN, guess_BN, canvas.tokens_BN),
            count_BN=torch.zeros_like(canvas.tokens_BN),
            stable_BN=torch.zeros_like(canvas.tokens_BN),
            before_BND=state_BND,
            earlier_BND=state_BND,
            temperature=temperature,
            spread=spread,
            begin_B=torch.zeros_like(canvas.start_B),
            size_B=canvas.start_B,
            width=width,
            seed=seed,
        )

    @property
    def inside_BW(self) -> Tensor:
        """Which of `positions_BW` belong to the row's wavefront, bool."""
        return torch.arange(self.width, device=self.size_B.device) < self.size_B[:, None]

    def positions_BW(self, canvas: Canvas) -> Tensor:
        """The wavefronts' positions, and others in their place where one is shorter."""
        offset_W = torch.arange(self.width, device=self.begin_B.device)
        return (self.begin_B[:, None] + offset_W).clamp_max(canvas.tokens_BN.shape[1] - 2)

    def note_states(self) -> None:
        """Remember the states before a pass."""
        self.before_BND, self.earlier_BND = self.latents.state_BND, self.before_BND

    def add_noise(self, canvas: Canvas, positions_BW: Tensor, share: float, step: int) -> None:
        """Mix random states into those of the wavefront, fewer after more recurrences."""
        state_BND = self.latents.state_BND
        noise = Noise(self.seed, canvas.samples_B, step)
        random_BWD = noise.normal_BPW("renewal", positions_BW, state_BND.shape[-1])
        random_BWD = (self.spread * random_BWD).to(state_BND)
        offset_BN = (canvas.columns_N - self.begin_B[:, None]).clamp(0, self.width - 1)
        index_BND = offset_BN[..., None].expand_as(state_BND)
        share_BN = (share / (1 + self.count_BN) * self._inside_BN(canvas)).to(state_BND)
        mixed_BND = torch.lerp(state_BND, random_BWD.gather(1, index_BND), share_BN[..., None])
        self.latents = attrs.evolve(self.latents, state_BND=mixed_BND)

    def refine(
        self,
        canvas: Canvas,
        live_B: Tensor,
        positions_BW: Tensor,
        recurrences: int,
        kept: float,
        step: int,
    ) -> Tensor:
        """Refine the wavefront and guess again what follows these of its positions.

        Returns the probability of each guess, `probability_BW` float64; guesses of positions that
        are decided change nothing.
        """
        fed_BN = self._inside_BN(canvas) & live_B[:, None]
        behind_BN = (canvas.columns_N < self.begin_B[:, None]) & live_B[:, None]
        seen_BN = (self.count_BN > 0).to(self.latents.kept_BN)
        latents = attrs.evolve(self.latents, recurrences=recurrences, kept_BN=kept * seen_BN)
        next_BW, valid_BW = positions_BW + 1, fed_BN.gather(1, positions_BW)
        prediction, self.latents = refine(
            self.session,
            self.tokens_BN,
            canvas,
            next_BW,
            Plan.of(fed_BN, cached_BN=behind_BN, commit_BN=fed_BN),
            Need(logits=True),
            valid_BW,
            latents,
        )
        before_BN, self.count_BN = self.tokens_BN, self.count_BN + recurrences * fed_BN
        assert prediction.logits_BPV is not None  # noqa: S101 - asked for
        logits_BWV, noise = prediction.logits_BPV, Noise(self.seed, canvas.samples_B, step)
        guess_BW, probability_BW = self._drawn(logits_BWV, canvas.mask_id, next_BW, noise)
        self._guess(canvas, next_BW, valid_BW, guess_BW)
        same_BN = torch.nn.functional.pad((before_BN == self.tokens_BN)[:, 1:], (0, 1))
        self.stable_BN = self.stable_BN + (same_BN & fed_BN & (seen_BN > 0))
        return probability_BW

    def _drawn(
        self, logits_BWV: Tensor, mask_id: int, next_BW: Tensor, noise: Noise
    ) -> tuple[Tensor, Tensor]:
        """A token for each place, and its probability, float64."""
        ids_V = torch.arange(logits_BWV.shape[-1], device=logits_BWV.device)
        logits_BWV = logits_BWV.double().masked_fill(ids_V == mask_id, -torch.inf)
        score_BWV = logits_BWV
        if self.temperature:
            logits_BWV = logits_BWV / self.temperature
            score_BWV = logits_BWV + noise.gumbel_BPV("tokens", next_BW, logits_BWV.shape[-1])
        guess_BW1 = score_BWV.argmax(dim=-1, keepdim=True)
        probability_BW1 = logits_BWV.softmax(dim=-1).gather(-1, guess_BW1)
        return guess_BW1[..., 0], probability_BW1[..., 0]

    def _inside_BN(self, canvas: Canvas) -> Tensor:
        offset_BN = canvas.columns_N - self.begin_B[:, None]
        return (offset_BN >= 0) & (offset_BN < self.size_B[:, None])

    def _guess(self, canvas: Canvas, next_BW: Tensor, valid_BW: Tensor, guess_BW: Tensor) -> None:
        columns = canvas.tokens_BN.shape[1]
        # Positions in place of missing ones repeat others; those guess nothing, in a spare column.
        target_BW = torch.where(valid_BW, next_BW, columns)
        tokens_BM = torch.nn.functional.pad(self.tokens_BN, (0, 1)).scatter(1, target_BW, guess_BW)
        self.tokens_BN = torch.where(canvas.masked_BN, tokens_BM[:, :columns], canvas.tokens_BN)

    def change_BW(self, positions_BW: Tensor) -> Tensor:
        """How far states have moved in the last pass, by their own size, float64."""
        return self._by_size(self.latents.state_BND - self.before_BND).gather(1, positions_BW)

    def acceleration_BW(self, positions_BW: Tensor, recurrences: int) -> Tensor:
        """How much that move differs from the one before, likewise; infinite where none was."""
        bend_BND = self.latents.state_BND - 2 * self.before_BND + self.earlier_BND
        once_BN = self.count_BN <= recurrences
        bend_BN = self._by_size(bend_BND).masked_fill(once_BN, torch.inf)
        return bend_BN.gather(1, positions_BW)

    def _by_size(self, change_BND: Tensor) -> Tensor:
        size_BN: Tensor = self.latents.state_BND.double().norm(dim=-1)
        change_BN: Tensor = change_BND.double().norm(dim=-1)
        return change_BN / size_BN

    def move(self, canvas: Canvas, final_B: Tensor, headway: int) -> None:
        """Leave the final positions behind, and go on by so many new ones."""
        self.begin_B = self.begin_B + final_B
        room_B = canvas.length_B - 1 - self.begin_B
        size_B = (self.size_B - final_B + headway).clamp_max(self.width)
        self.size_B = size_B.minimum(room_B).clamp_min(0)
