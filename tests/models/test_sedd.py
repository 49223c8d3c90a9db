"""SEDD: a network of scores that is told how much of a row is masked."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.errors import ModelError
from dlmkit.network import NetworkInputs
from dlmkit.passes.session import Session
from dlmkit.prediction import Need
from dlmkit.spec import load_spec
from dlmkit_strategies.families import Sedd
from tests.models.checkpoints import folder, load_folder, recorded
from tests.models.test_parity import TOLERANCE

MASK = 256


@pytest.fixture(scope="module")
def sedd():
    return load_folder(folder("sedd"), dtype="float32", family=Sedd())


@pytest.mark.parametrize("name", ["short", "masked", "long", "batch"])
def test_its_scores_equal_the_reference(sedd, name):
    """But for the entries that a decode never reads: the token's own, and the mask."""
    arrays = recorded("sedd")
    ids_BQ = arrays[f"input_ids_{name}"]
    places_BQ = torch.arange(ids_BQ.shape[1]).expand_as(ids_BQ)
    inputs = NetworkInputs(
        ids_BQ=ids_BQ,
        positions_BQ=places_BQ,
        want_BS=places_BQ,
        noise_B=arrays[f"sigma_{name}"].float(),
    )
    found_BQV = sedd.network.forward(inputs, Need(logits=True)).logits_BSV.clone()
    assert found_BQV[..., MASK].eq(-torch.inf).all()
    expected_BQV = arrays[f"logits_{name}"].scatter(-1, ids_BQ[..., None], 0.0)
    found_BQV = found_BQV.scatter(-1, ids_BQ[..., None], 0.0)
    found_BQV[..., MASK] = expected_BQV[..., MASK] = 0.0
    assert_close(expected_BQV, found_BQV, **TOLERANCE["float32"])


def test_its_files_say_what_the_family_needs(sedd):
    """A nested config without an architecture; the mask follows the tokens."""
    assert MASK == sedd.network.info.mask_id
    assert "not stated" == sedd.provenance.architecture
    assert "noise-level" in sedd.network.info.capabilities
    with pytest.raises(ModelError, match="does not say which architecture"):
        load_folder(folder("sedd"))


class Heard:
    """A network that notes the noise levels it is given."""

    def __init__(self, network):
        self.network, self.levels = network, []

    @property
    def info(self):
        return self.network.info

    def forward(self, inputs, need):
        """Note the level, then answer."""
        self.levels.append(inputs.noise_B.tolist())
        return self.network.forward(inputs, need)


def test_the_noise_level_follows_the_share_of_masks(sedd):
    """Each row has its own, whatever its neighbours are."""
    heard = Heard(sedd.network)
    pipeline = load_spec("mdlm", ["gen_length=6", "pipeline.transfer.steps=6"]).pipeline
    canvas = Canvas.create([[1, 2], [3, 4, 5, 6]], 6, MASK)
    shares = []
    for record in pipeline.steps(Context({"main": Session(heard)}), canvas):
        masks_B = (record.before_BN == MASK).sum(1)
        shares.append((masks_B / torch.tensor([8, 10])).tolist())
    expected = [[-math.log1p(-0.999 * share) for share in row] for row in shares]
    assert_close(torch.tensor(expected), torch.tensor(heard.levels))
    assert not bool(canvas.masked_BN.any())
