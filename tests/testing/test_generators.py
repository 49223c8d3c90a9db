"""What the generators draw is valid, and reaches the cases that matter."""

from __future__ import annotations

import attrs
import pluggy
import torch
from hypothesis import find, given, settings
from hypothesis import strategies as st

from dlmkit.denoise import Denoise
from dlmkit.need import Need
from dlmkit.plugins import Plugins
from dlmkit.spec import Document, load_spec
from dlmkit.spec.write import to_yaml
from dlmkit.testing.generators import canvases, components, logits, pipelines, predictions, views
from dlmkit.testing.plain import PLAIN
from dlmkit.testing.plain_drafting import PLAIN_DRAFTING
from dlmkit.testing.toy import toy_network
from dlmkit_strategies.confidence import Margin, Probability
from dlmkit_strategies.sample import Greedy
from dlmkit_strategies.transfer import Quota, Threshold, TopK
from tests.core.runs import run

OFFERED = (Probability, Margin, Greedy, TopK, Quota, Threshold)
OFFER = Plugins(pluggy.PluginManager("dlmkit"))
for each in (Denoise, *PLAIN, *PLAIN_DRAFTING, *OFFERED):
    OFFER.registry.add(each, "dlmkit")


@given(views())
def test_views_are_consistent(view):
    """Eligible positions are masks inside the region."""
    assert not bool((view.eligible_BP & ~view.masked_BP).any())
    assert view.canvas.region_width == view.positions_BP.shape[1]


@given(st.data())
def test_predictions_fit_their_view(data):
    """Statistics for each window position, and no others than asked for."""
    view = data.draw(views())
    prediction = data.draw(predictions(view, Need(top=2)))
    assert (*view.positions_BP.shape, 2) == prediction.pack.top_ids_BPK.shape
    assert prediction.logits_BPV is None


def test_the_rare_cases_are_reached():
    """Finished canvases, untouched ones, and exact ties."""
    find(canvases(), lambda canvas: not canvas.masked_BN.any())
    find(canvases(), lambda canvas: bool((canvas.masked_BN | canvas.given_BN).all()))
    find(logits(), lambda x: bool((x.sort(dim=-1).values.diff(dim=-1) == 0).any()))


@given(components(Quota))
def test_components_have_valid_options(rule):
    """Their own checks have run."""
    assert rule.steps >= 1


@given(pipelines(OFFERED))
def test_any_pipeline_survives_a_spec(pipeline):
    """Python to YAML to Python is the identity."""
    document = Document(name="drawn", gen_length=8, pipeline=pipeline)
    assert document == load_spec(to_yaml(document), plugins=OFFER)


@given(pipelines(OFFERED))
@settings(max_examples=10)
def test_any_pipeline_decodes_to_the_end(pipeline):
    """Whatever is combined: no mask is left, and given text stays."""
    limited = attrs.evolve(pipeline, max_steps=12, model="main")
    rows, _, _ = run(limited, toy_network(), [[1, 2], [3]], 4)
    assert ([1, 2], [3]) == (rows[0][:2], rows[1][:1])
    assert not any(23 in row for row in rows)


def test_logits_are_float32():
    """As an engine returns them."""
    assert torch.float32 == find(logits(), lambda x: True).dtype
