"""The score pack of a graph says what that of PyTorch says, ties and near certainty included.

Legend: B rows, S wanted rows, V vocabulary.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from torch.testing import assert_close

from dlmkit.need import Need
from dlmkit.prediction import score_pack
from dlmkit_export.contract import PACK
from dlmkit_export.graph.score_pack import with_score_pack

TEXT = """<ir_version: 10, opset_import: ["": 23]>
g (float[rows, wanted, 300] given) => (float[rows, wanted, 300] logits)
{ logits = Identity(given) }"""


def packed(logits_BSV, current_BS, candidates=5):
    """What a graph with these logits returns."""
    model = with_score_pack(ir.from_proto(onnx.parser.parse_model(TEXT)), candidates)
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    given = {"given": logits_BSV.numpy(), "current": current_BS.numpy().astype(np.int32)}
    return [torch.from_numpy(each) for each in session.run(list(PACK), given)]


def logits(case):
    generator = torch.Generator().manual_seed(0)
    drawn_BSV = torch.randn(2, 6, 300, generator=generator)
    if case == "ties":
        return drawn_BSV.round()
    if case == "certain":
        drawn_BSV[:, torch.arange(6), torch.arange(6)] = torch.arange(10.0, 40.0, 5.0)
    return drawn_BSV


@pytest.mark.parametrize("case", ["drawn", "ties", "certain"])
def test_a_graph_s_pack_is_that_of_double_precision(case):
    """Ids exactly, in the order of their numbers where logits are equal."""
    logits_BSV, current_BS = logits(case), torch.arange(12).view(2, 6)
    ids, logp, lse, entropy, current = packed(logits_BSV, current_BS)
    need = Need(top=5, entropy=True, current=True)
    exact = score_pack(logits_BSV.double(), need, current_BS)
    assert torch.equal(exact.top_ids_BPK, ids)
    close = {"atol": 0, "rtol": 2e-5, "check_dtype": False}
    assert_close(exact.top_logp_BPK, logp, **close)
    assert_close(exact.lse_BP, lse, **close)
    assert_close(exact.current_logp_BP, current, **close)
    assert_close(exact.entropy_BP, entropy, **close)


def test_both_engines_rank_positions_of_which_they_are_certain():
    """By entropies that differ by a billionth, which a log-sum-exp of twenty would round away."""
    logits_BSV = torch.full((1, 8, 300), -5.0)
    logits_BSV[..., 7] = 14.0
    logits_BSV[..., 9] = torch.linspace(-4.0, -3.9, 8)
    expected = score_pack(logits_BSV.double(), Need(entropy=True)).entropy_BP
    assert expected.max() < 1e-4
    eager = score_pack(logits_BSV, Need(entropy=True)).entropy_BP
    compiled = packed(logits_BSV, torch.zeros(1, 8))[3]
    for found in (eager, compiled):
        assert list(range(8)) == found[0].argsort().tolist()
        assert_close(expected, found, atol=0, rtol=2e-5, check_dtype=False)
