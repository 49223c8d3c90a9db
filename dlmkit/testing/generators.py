"""Hypothesis strategies for property tests: logits, canvases, predictions, views, pipelines.

Legend: B rows, N canvas positions, P window positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from hypothesis import assume
from hypothesis import strategies as st
from torch import Tensor

from dlmkit.canvas import Canvas
from dlmkit.component import Component, options_of
from dlmkit.denoise import Denoise
from dlmkit.need import Need
from dlmkit.noise import Noise
from dlmkit.prediction import Prediction, score_pack
from dlmkit.roles import Resize
from dlmkit.testing.conformance.scenes import toy_info
from dlmkit.testing.examples import values_for
from dlmkit.view import View, whole_region, window

__all__ = ["canvases", "components", "logits", "pipelines", "predictions", "resizes", "views"]

SEEDS = st.integers(0, 2**16)
FEW = st.integers(1, 3)
SOME = st.integers(1, 8)


@st.composite
def logits(
    draw: st.DrawFn,
    *,
    rows: st.SearchStrategy[int] = FEW,
    positions: st.SearchStrategy[int] = SOME,
    vocabulary: int = 24,
) -> Tensor:
    """Draw `logits_BPV` float32; sometimes on a coarse grid, so that there are ties."""
    generator = torch.Generator().manual_seed(draw(SEEDS))
    shape = (draw(rows), draw(positions), vocabulary)
    scale: float = draw(st.sampled_from((0.5, 3.0)))
    logits_BPV = scale * torch.randn(shape, generator=generator)
    return logits_BPV.round() if draw(st.booleans()) else logits_BPV


@st.composite
def canvases(
    draw: st.DrawFn, *, gen_length: st.SearchStrategy[int] = SOME, partly: bool = True
) -> Canvas:
    """Draw a canvas of the toy network; with `partly`, some positions are decided already."""
    info = toy_info()
    token = st.integers(0, info.vocab_size - 3)
    row = st.lists(token, min_size=1, max_size=5)
    prompts = draw(st.lists(row, min_size=1, max_size=3))
    canvas = Canvas.create(prompts, draw(gen_length), info.mask_id or 0)
    generator = torch.Generator().manual_seed(draw(SEEDS))
    shape = canvas.tokens_BN.shape
    share = draw(st.sampled_from((0.0, 0.5, 1.0))) if partly else 0.0
    canvas.commit(
        torch.arange(shape[1]).expand(shape),
        torch.rand(shape, generator=generator) < share,
        torch.randint(0, info.vocab_size - 2, shape, generator=generator),
        0,
    )
    return canvas


@st.composite
def resizes(draw: st.DrawFn, canvas: Canvas, *, most: int = 3) -> Resize:
    """Draw a change of a canvas that a length controller may ask for.

    At most `most` masks are inserted behind a position.
    """
    generator = torch.Generator().manual_seed(draw(SEEDS))
    shape = canvas.tokens_BN.shape
    chance = draw(st.sampled_from((0.0, 0.3, 1.0)))
    insert_BN = torch.randint(0, most + 1, shape, generator=generator)
    insert_BN = insert_BN * (torch.rand(shape, generator=generator) < chance)
    behind_BN = canvas.inside_BN & (canvas.columns_N >= canvas.start_B[:, None] - 1)
    share = draw(st.sampled_from((0.0, 0.3, 1.0)))
    delete_BN = (torch.rand(shape, generator=generator) < share) & ~canvas.given_BN
    return Resize(insert_BN=insert_BN * behind_BN, delete_BN=delete_BN)


@st.composite
def views(draw: st.DrawFn, /, **options: Any) -> View:
    """Draw a view over the whole region of a canvas; `options` are those of `canvases`."""
    canvas = draw(canvases(**options))
    block, step = whole_region(canvas), draw(st.integers(0, 9))
    positions_BP, inside_BP = window(
        block.start_B, block.stop_B, block.width, canvas.tokens_BN.shape[1]
    )
    return View(
        canvas=canvas,
        info=toy_info(),
        noise=Noise(draw(SEEDS), canvas.samples_B, step),
        step=step,
        block=block,
        block_step_B=torch.full_like(block.start_B, step),
        block_masks_B=canvas.initial_masks_B,
        positions_BP=positions_BP,
        inside_BP=inside_BP,
        steps_per_block=block.width,
    )


@st.composite
def predictions(draw: st.DrawFn, view: View, need: Need) -> Prediction:
    """Draw a prediction that fits a view, with the statistics in `need`."""
    rows, positions = view.positions_BP.shape
    logits_BPV = draw(
        logits(rows=st.just(rows), positions=st.just(positions), vocabulary=view.info.vocab_size)
    )
    pack = score_pack(logits_BPV, need, view.tokens_BP)
    return Prediction(pack=pack, logits_BPV=logits_BPV if need.logits else None)


@st.composite
def components(
    draw: st.DrawFn, cls: type[Component], offered: Sequence[type[Component]] = ()
) -> Any:
    """Draw an object of a class with valid options; its slots hold what is offered."""
    values = {}
    for each in options_of(cls):
        column = values_for(each, offered)
        assume(column)
        values[each.name] = draw(st.sampled_from(column))
    assume(not list(cls.check_options(values)))
    return cls(**values)


def pipelines(offered: Sequence[type[Component]] = ()) -> st.SearchStrategy[Denoise]:
    """Draw `denoise` pipelines whose slots hold what is offered, or plain components."""
    return components(Denoise, offered)
