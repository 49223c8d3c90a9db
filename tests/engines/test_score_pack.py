"""The score pack equals a slow, obvious computation, ties and infinities included.

Legend: P positions, V vocabulary, K kept candidates.
"""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dlmkit.need import Need
from dlmkit.prediction import score_pack

VALUES = st.one_of(st.integers(-3, 3).map(float), st.floats(-30, 30, width=32))
ROWS = st.integers(2, 9).flatmap(lambda size: st.lists(VALUES, min_size=size, max_size=size))


def slow(row, current):
    """One position, in Python floats."""
    peak = max(row)
    lse = peak + math.log(sum(math.exp(value - peak) for value in row))
    logp = [value - lse for value in row]
    order = sorted(range(len(row)), key=lambda token: (-row[token], token))
    entropy = -sum(math.exp(each) * each for each in logp)
    return {"order": order, "logp": logp, "lse": lse, "entropy": entropy, "current": logp[current]}


@settings(max_examples=150, deadline=None)
@given(row=ROWS, top=st.integers(1, 9), wide=st.booleans(), data=st.data())
def test_pack_equals_the_slow_oracle(row, top, wide, data):
    """Ids exactly, equal logits in the order of their ids; numbers to rounding."""
    top, current = min(top, len(row)), data.draw(st.integers(0, len(row) - 1))
    dtype = torch.float64 if wide else torch.float32
    row = torch.tensor(row, dtype=dtype).tolist()
    expected = slow(row, current)
    need = Need(top=top, entropy=True, current=True)
    logits_BPV = torch.tensor([[row]], dtype=dtype)
    pack = score_pack(logits_BPV, need, torch.tensor([[current]]))
    assert expected["order"][:top] == pack.top_ids_BPK[0, 0].tolist()
    close = {"abs": 1e-4, "rel": 1e-4}
    kept = [expected["logp"][token] for token in expected["order"][:top]]
    assert kept == pytest.approx(pack.top_logp_BPK[0, 0].tolist(), **close)
    assert expected["lse"] == pytest.approx(pack.lse_BP.item(), **close)
    assert expected["entropy"] == pytest.approx(pack.entropy_BP.item(), **close)
    assert expected["current"] == pytest.approx(pack.current_logp_BP.item(), **close)


@pytest.mark.parametrize("top", [1, 2, 5])
def test_ties_over_a_whole_vocabulary_go_to_the_lowest_ids(top):
    """Also where more tokens tie than are kept, and where the vocabulary is large."""
    logits_BPV = torch.zeros(1, 3, 5000)
    logits_BPV[0, 1, 4000] = 1.0
    logits_BPV[0, 2, 10:] = 1.0
    ids = score_pack(logits_BPV, Need(top=top)).top_ids_BPK[0]
    assert list(range(top)) == ids[0].tolist()
    assert [4000, *range(top)][:top] == ids[1].tolist()
    assert list(range(10, 10 + top)) == ids[2].tolist()


def test_forbidden_tokens_contribute_nothing():
    """Minus infinity has probability 0 and no entropy, never a NaN."""
    logits_BPV = torch.tensor([[[0.0, -torch.inf, 0.0]]])
    pack = score_pack(logits_BPV, Need(top=3, entropy=True))
    assert pack.entropy_BP.item() == pytest.approx(math.log(2))
    assert [0, 2, 1] == pack.top_ids_BPK[0, 0].tolist()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_statistics_are_float32_at_least(dtype):
    """Half precision logits are widened before anything is summed."""
    pack = score_pack(torch.zeros(1, 1, 4000, dtype=dtype), Need(entropy=True))
    assert torch.float32 == pack.lse_BP.dtype == pack.entropy_BP.dtype
    assert pack.lse_BP.item() == pytest.approx(math.log(4000), abs=1e-5)


def test_adding_a_constant_changes_no_probability():
    """Log-probabilities and entropy do not depend on the level of the logits."""
    torch.manual_seed(0)
    logits_BPV = torch.randn(2, 3, 50, dtype=torch.float64)
    need = Need(top=4, entropy=True)
    base, moved = score_pack(logits_BPV, need), score_pack(logits_BPV + 12.5, need)
    torch.testing.assert_close(base.top_logp_BPK, moved.top_logp_BPK)
    torch.testing.assert_close(base.entropy_BP, moved.entropy_BP)
