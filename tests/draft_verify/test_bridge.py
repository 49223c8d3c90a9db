"""Drafters of another vocabulary: the same decode where tokens agree, honest losses elsewhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import attrs
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from dlmkit import Runner, load_spec
from dlmkit.builtin import checkpoint_path
from dlmkit.builtin.tokenizer import builtin_tokenizer
from dlmkit.canvas import Canvas
from dlmkit.draft_verify.roles import Ends
from dlmkit.errors import RequestError
from dlmkit.models.tokenizer import Tokenizer
from dlmkit.testing.toy import toy_network
from dlmkit_strategies.bridges import Retokenize
from dlmkit_strategies.rewriting import Vocabulary
from tests.draft_verify.pieces import networks, together
from tests.strategies.test_rewriting import COARSE, FINE

PROMPTS = ["sort: 9 2 7 4", "Tom has 3 pens. He buys 4 more. How many pens does Tom have now?"]
SHORT = ("gen_length=16", "pipeline.draft.recall=0", "pipeline.schedule={use: fixed, steps: 3}")


def shuffled(folder: Path) -> Path:
    """The built-in drafter with its tokens numbered backwards: another vocabulary to look at."""
    source = checkpoint_path("drafter")
    shutil.copytree(source, folder)
    table = json.loads((folder / "tokenizer.json").read_text())
    size = builtin_tokenizer().get_vocab_size()
    vocabulary = table["model"]["vocab"]
    table["model"]["vocab"] = {token: size - 1 - number for token, number in vocabulary.items()}
    for added in table["added_tokens"]:
        added["id"] = size - 1 - added["id"]
    (folder / "tokenizer.json").write_text(json.dumps(table))
    config = json.loads((folder / "config.json").read_text())
    for key in [key for key in config if key.endswith("_token_id")]:
        config[key] = size - 1 - config[key]
    (folder / "config.json").write_text(json.dumps(config))
    for file in folder.glob("*.safetensors"):
        weights = load_file(file)
        for name, value in weights.items():
            if value.ndim == 2 and value.shape[0] >= size and name.endswith(_VOCABULARY):
                weights[name] = torch.cat((value[:size].flip(0), value[size:])).contiguous()
        save_file(weights, file)
    return folder


_VOCABULARY = ("wte.weight", "transformer.ff_out.weight")


def decoded(*changes: str) -> tuple[list, list]:
    """Results, and the canvases that the first round drafted."""
    runner = Runner.load(load_spec("dual-diffusion-lossless", [*SHORT, *changes]))
    decode = runner.start(runner.encode(PROMPTS))
    records = list(decode)
    return decode.results(), [record.after_BN.tolist() for record in records[:3]]


def test_a_renumbered_drafter_drafts_the_same(tmp_path) -> None:
    """Every token has a twin, and blocks begin at the same place."""
    folder = shuffled(tmp_path / "shuffled")
    plain, drafts = decoded()
    bridged, carried = decoded(f'models.drafter="{folder}"', "pipeline.bridge=retokenize")
    assert drafts == carried
    assert [each.token_ids for each in plain] == [each.token_ids for each in bridged]
    assert [0, 0] == [each.ledger.lost for each in bridged]
    assert all(each.ledger.accepted > 5 for each in bridged)


def test_losing_drafts_loses_speed_and_no_text(tmp_path) -> None:
    """Where the drafter's tokens have no twin, the verifier's text is the same all the same."""
    folder = shuffled(tmp_path / "shuffled")
    table = json.loads((folder / "tokenizer.json").read_text())
    digits = {token: f"<{token}>" for token in "0123456789"}
    vocabulary = table["model"]["vocab"]
    table["model"]["vocab"] = {digits.get(token, token): n for token, n in vocabulary.items()}
    (folder / "tokenizer.json").write_text(json.dumps(table))
    plain, _ = decoded()
    bridged, _ = decoded(f'models.drafter="{folder}"', "pipeline.bridge=retokenize")
    assert [each.token_ids for each in plain] == [each.token_ids for each in bridged]
    assert any(each.ledger.lost for each in bridged)


def test_distributions_are_not_compared_across_vocabularies() -> None:
    """They are over different things; where no spec was checked, drafting does not begin."""
    pipeline = load_spec("dual-diffusion-lossless", [*SHORT, "pipeline.bridge=retokenize"]).pipeline
    mixing = attrs.evolve(pipeline, draft=attrs.evolve(pipeline.draft, recall=0.5))
    with pytest.raises(RequestError, match="do not compare"):
        together(mixing, networks())


def ends(home=COARSE, away=FINE) -> Ends:
    infos = [
        attrs.evolve(toy_network().info, mask_id=side.mask_id, eos_ids=side.end_ids, eot_ids=())
        for side in (home, away)
    ]
    return Ends(home=home.tokenizer, away=away.tokenizer, home_info=infos[0], away_info=infos[1])


@st.composite
def rows(draw) -> list[list[int]]:
    """A few rows of the coarse vocabulary that hold a mask each."""
    token = st.sampled_from(range(3, COARSE.mask_id + 1))
    row = st.lists(token, min_size=1, max_size=9).map(lambda ids: [*ids, COARSE.mask_id])
    return draw(st.lists(row, min_size=1, max_size=3))


def canvas_of(found: list[list[int]]) -> Canvas:
    return Canvas.create(found, 0, COARSE.mask_id, infill=True)


def texts(side: Vocabulary, canvas: Canvas) -> list[str]:
    rows = zip(canvas.tokens_BN.tolist(), canvas.length_B.tolist(), strict=True)
    return [side.text(row[:length]) for row, length in rows]


@given(rows())
def test_rows_cross_with_all_their_masks(found) -> None:
    """Text and masks in order; nothing comes back where nothing was drafted."""
    canvas, bridge = canvas_of(found), Retokenize()
    away = bridge.away(canvas, ends())
    assert canvas.masked_BN.sum(dim=1).tolist() == away.masked_BN.sum(dim=1).tolist()
    assert texts(COARSE, canvas) == texts(FINE, away)
    carried = bridge.home(canvas, away, away, ends())
    assert torch.equal(canvas.tokens_BN, carried.tokens_BN)
    assert not carried.lost_B.any()


@given(rows(), st.integers(0, 4))
def test_what_does_not_come_back_is_counted(found, letter) -> None:
    """Every drafted place is filled or lost, and places that were given are never touched."""
    canvas, bridge = canvas_of(found), Retokenize()
    before = bridge.away(canvas, ends())
    after = before.snapshot()
    after.tokens_BN = torch.where(before.masked_BN, letter, before.tokens_BN)
    carried = bridge.home(canvas, before, after, ends())
    filled_BN = canvas.masked_BN & (carried.tokens_BN != canvas.mask_id)
    drafted_B = canvas.masked_BN.sum(dim=1)
    assert torch.equal(drafted_B, filled_BN.sum(dim=1) + carried.lost_B)
    kept_BN = ~canvas.masked_BN
    assert torch.equal(canvas.tokens_BN[kept_BN], carried.tokens_BN[kept_BN])


def test_finished_rows_cross_as_finished() -> None:
    """They have no mask, and take no part on the other side."""
    canvas = canvas_of([[3, COARSE.mask_id], [4, COARSE.mask_id]])
    canvas.tokens_BN = torch.tensor([[3, 4], [4, COARSE.mask_id]])
    away = Retokenize().away(canvas, ends())
    assert [True, False] == away.done_B.tolist()


def test_a_tokenizer_is_needed_on_both_sides() -> None:
    """Ids alone cannot be carried."""
    info = attrs.evolve(toy_network().info, mask_id=None)
    broken = attrs.evolve(ends(), away_info=info)
    with pytest.raises(RequestError, match="mask token of both models"):
        Retokenize().away(canvas_of([[3, COARSE.mask_id]]), broken)
    assert isinstance(broken.home, Tokenizer)
