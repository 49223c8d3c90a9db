"""One set of weights decodes causally, or in free blocks after a causal prefix."""

from __future__ import annotations

import pytest
import torch

from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.models.arch import AttentionPattern
from dlmkit.models.config import Config
from dlmkit.passes.session import Session
from dlmkit.spec import load_spec
from dlmkit_strategies.families import EfficientDlm, Nemotron
from tests.engines.calls import logits
from tests.models.checkpoints import loaded, recorded
from tests.models.test_parity import pattern_mask

FOLDER = "nemotron_labs_diffusion"
NEW = 32


@pytest.fixture(scope="module")
def prompt():
    return recorded(FOLDER)["input_ids_short"][0].tolist()


def decoded(model, preset, prompt):
    """The finished row and the session that it took."""
    document = load_spec(preset, [f"gen_length={NEW}"])
    canvas = Canvas.create([prompt], NEW, model.info.mask_id)
    session = Session(model)
    for _ in document.pipeline.steps(Context({"main": session}), canvas):
        pass
    return canvas.tokens_BN[0].tolist(), session


def test_the_causal_mode_decodes_one_token_after_the_other(prompt):
    """Greedy decoding over stored keys and values is that of whole causal passes."""
    model = loaded(FOLDER, dtype="float32", family=Nemotron(mode="causal")).network
    assert ("causal", 1) == (model.info.attention.kind, model.info.logit_shift)
    expected = list(prompt)
    for _ in range(NEW):
        ids_BQ = torch.tensor([expected])
        mask_B1QQ = pattern_mask(AttentionPattern(kind="causal"), ids_BQ)
        scores_V = logits(model, ids_BQ, mask_new_B1QQ=mask_B1QQ)[0, -1].clone()
        scores_V[model.info.mask_id] = -torch.inf
        expected.append(int(scores_V.argmax()))
    assert expected == decoded(model, "autoregressive", prompt)[0]


def test_the_diffusion_mode_decodes_over_a_causal_prefix(prompt):
    """The prompt is stored by the first pass and never computed again."""
    model = loaded(FOLDER, dtype="float32").network
    assert ("prefix-causal", 0) == (model.info.attention.kind, model.info.logit_shift)
    row, session = decoded(model, "nemotron", prompt)
    assert model.info.mask_id not in row[len(prompt) :]
    counts = session.counts
    assert len(prompt) + counts.forwards * NEW == counts.fed_positions


def test_both_modes_together_decode_as_the_causal_one(prompt):
    """Self-speculation: a block is drafted freely in one pass and read causally in one."""
    causal = loaded(FOLDER, dtype="float32", family=Nemotron(mode="causal")).network
    models = {"main": causal, "drafter": loaded(FOLDER, dtype="float32").network}
    document = load_spec("nemotron-self-speculation", [f"gen_length={NEW}"])
    canvas = Canvas.create([prompt], NEW, causal.info.mask_id)
    sessions = {name: Session(model) for name, model in models.items()}
    for _ in document.pipeline.steps(Context(sessions), canvas):
        pass
    assert decoded(causal, "autoregressive", prompt)[0] == canvas.tokens_BN[0].tolist()
    assert sessions["main"].counts.forwards <= NEW


@pytest.mark.parametrize("family", [EfficientDlm, Nemotron])
def test_a_stated_block_wins(family):
    """As in the other families."""
    config = Config({"block_size": 7})
    assert AttentionPattern(kind="prefix-causal", block=5) == family(block=5).pattern(config)
    assert AttentionPattern(kind="causal") == family(block=5, mode="causal").pattern(config)
