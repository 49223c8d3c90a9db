"""Short ways to decode with pipelines of the built-in strategies."""

from __future__ import annotations

from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.denoise import Denoise
from dlmkit.passes.session import Session
from dlmkit_strategies.blocks import FixedBlocks
from dlmkit_strategies.confidence import Margin, NegativeEntropy, Probability
from dlmkit_strategies.sample import Greedy
from dlmkit_strategies.transfer import Quota, TimeGrid

SCORERS = {
    "maskgit_plus": Probability(of="filtered"),
    "topk_margin": Margin(of="filtered"),
    "entropy": NegativeEntropy(of="filtered"),
}


def llada(length=4, steps=2, **slots):
    """LLaDA's sampler, with a shorter last block where the region does not divide."""
    slots = {"sample": Greedy(), "confidence": Probability()} | slots
    return Denoise(
        blocks=FixedBlocks(length=length, partial=True), transfer=Quota(steps=steps), **slots
    )


def dream(algorithm, steps, **slots):
    """Dream's sampler."""
    slots = {"sample": Greedy(), "confidence": SCORERS[algorithm]} | slots
    return Denoise(transfer=TimeGrid(steps=steps), **slots)


def run(pipeline, network, prompts, gen_length, *, seed=0, first_sample=0, infill=False):
    """Decode prompts; return each row without padding, the records, and the session."""
    canvas = Canvas.create(
        prompts, gen_length, network.info.mask_id, infill=infill, first_sample=first_sample
    )
    session = Session(network)
    records = list(pipeline.steps(Context({"main": session}, seed), canvas))
    pairs = zip(canvas.tokens_BN.tolist(), canvas.length_B.tolist(), strict=True)
    return [tokens[:length] for tokens, length in pairs], records, session
