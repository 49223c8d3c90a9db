"""Prefix and dual caches give the numbers and the tokens of the published code.

Legend: B rows, N canvas positions, P window positions.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dlmkit.canvas import Canvas
from dlmkit.models.loading import load_model
from dlmkit.need import Need
from dlmkit.passes.plan import Plan
from dlmkit.passes.session import Session
from dlmkit_strategies.cache import Dual, Prefix
from dlmkit_strategies.transfer import Quota, Threshold
from tests.core.runs import run
from tests.strategies.cache.decodes import pipeline

FOLDER = Path(__file__).parents[3].parent / "shared/fixtures/llada"
MASK = 511
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the checkpoint fixtures are absent")


@pytest.fixture(scope="module")
def network():
    return load_model(str(FOLDER), device="cpu", dtype="float32").network


@pytest.fixture(scope="module")
def recorded():
    return dict(np.load(FOLDER / "decode.npz"))


def between(canvas, start, stop):
    columns = torch.arange(canvas.tokens_BN.shape[1])[None]
    return (columns >= start) & (columns < stop)


def logits(network, recorded, start, stop, read_stop):
    """Fill a cache with the first canvas, then feed a span of the second over part of it."""
    first, second = (torch.from_numpy(recorded[f"cache_ids_{n}"]) for n in ("first", "second"))
    canvas = Canvas.create([[1] * (first.shape[1] - 1)], 1, MASK)
    session, need = Session(network), Need(logits=True)
    everywhere_BP = torch.arange(first.shape[1])[None]
    session.predict([first], canvas, everywhere_BP, Plan.full(first, commit=True), need)
    plan = Plan.of(between(canvas, start, stop), cached_BN=between(canvas, 0, read_stop))
    (found,) = session.predict([second], canvas, everywhere_BP[:, start:stop], plan, need)
    return found.logits_BPV


def test_a_span_over_a_prefix_has_the_recorded_logits(network, recorded):
    """Rows from 13 on, over 13 stored positions."""
    found = logits(network, recorded, 13, 37, 13)
    expected = torch.from_numpy(recorded["cache_prefix_logits"])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)


def test_a_block_inside_a_full_cache_has_the_recorded_logits(network, recorded):
    """Rows 13 to 20, over everything else as it was stored."""
    found = logits(network, recorded, 13, 21, 37)
    expected = torch.from_numpy(recorded["cache_dual_logits"])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("name", "cache"), [("prefix", Prefix()), ("dual", Dual())])
@pytest.mark.parametrize(
    ("case", "rule"),
    [("thr05", Threshold(0.5)), ("thr09", Threshold(0.9)), ("steps16", Quota(steps=4))],
)
def test_recorded_decodes_are_reproduced(network, recorded, name, cache, case, rule):
    """Token for token, in no more passes."""
    prompt = recorded["prompt"][0].tolist()
    procedure = pipeline(cache, length=8, transfer=rule)
    (row,), records, _ = run(procedure, network, [prompt], 32)
    assert recorded[f"out_{name}_{case}_len32_block8"][0].tolist() == row
    assert len(records) <= recorded[f"nfe_{name}_{case}_len32_block8"]
