"""Evidence of one pass over a toy draft."""

from __future__ import annotations

import torch

from dlmkit.canvas import Canvas
from dlmkit.draft_verify.draft import Draft
from dlmkit.draft_verify.round import Round
from dlmkit.draft_verify.stepper import Stepper
from dlmkit.draft_verify.verifier import Verifier
from dlmkit.need import Need
from dlmkit.noise import Noise
from dlmkit.passes.session import Session
from dlmkit_strategies.draft_verify import EveryState, Fixed
from tests.draft_verify.pieces import alone, networks

__all__ = ["one_round"]


def one_round(seed, view=None):
    """A chain of four random tokens, what the verifier says about it, and the round."""
    network = networks(seed)["verifier"]
    canvas = Canvas.create([[3, 1, 4], [1, 5]], 4, network.info.mask_id)
    generator = torch.Generator().manual_seed(seed)
    position_BE = canvas.start_B[:, None] + torch.arange(4)
    token_BE = torch.randint(0, 22, position_BE.shape, generator=generator)
    logits_BEV = torch.randn(*position_BE.shape, 24, generator=generator, dtype=torch.float64)
    draft = Draft.chain(
        position_BE,
        token_BE,
        torch.ones_like(position_BE, dtype=torch.bool),
        law_BEV=logits_BEV.log_softmax(dim=-1),
    )
    start = Round(
        number=0,
        canvas=canvas.snapshot(),
        noise=Noise(seed, canvas.samples_B, 0),
        budget_B=torch.full_like(canvas.start_B, 4),
        schedule=Fixed(steps=4),
    )
    stepper = Stepper(alone(), Session(network), seed, Need(top=20, logits=True, entropy=True))
    verifier = Verifier.begin(stepper, canvas)
    look = (view or EveryState()).look(draft, start)
    return draft, verifier.examine(draft, look, canvas), start
