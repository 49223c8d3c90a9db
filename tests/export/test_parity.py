"""The parity certificate tells rounding from faults."""

from __future__ import annotations

import shutil

import attrs
import pytest
import torch

from dlmkit.errors import ModelError, RequestError
from dlmkit.need import Need
from dlmkit.spec import load_spec
from dlmkit_export.bundle.manifest import read_manifest
from dlmkit_export.parity.certificate import judge, read_certificate
from dlmkit_export.parity.measure import compare_bundle
from dlmkit_export.parity.paired import Comparison, Divergence, PairedNetwork
from tests.engines.calls import feed
from tests.export.compiled import bundle, network, source

PROMPTS = ("sort: 7 3 9 1", "2 4 6 8")


@pytest.fixture
def copy(tmp_path):
    return shutil.copytree(bundle("tiny"), tmp_path / "copy")


class Shifted:
    """A network whose first decision of every row is another one."""

    def __init__(self, inner, by):
        self.inner, self.by, self.info = inner, by, inner.info

    def forward(self, inputs, need):
        output = self.inner.forward(inputs, need)
        ids, logp = output.pack.top_ids_BPK.clone(), output.pack.top_logp_BPK.clone()
        ids[:, 0] = ids[:, 0].flip(-1)
        logp[:, 0] += self.by
        pack = attrs.evolve(output.pack, top_ids_BPK=ids, top_logp_BPK=logp)
        return attrs.evolve(output, pack=pack)


def compare(folder, **options):
    document = load_spec("fast-dllm-dual", ["gen_length=16", "pipeline.blocks.length=8"])
    return compare_bundle(folder, document, PROMPTS, **options)


def test_a_bundle_is_compared_and_carries_the_result(copy):
    """Every call, end to end, until the bundle changes."""
    told = []
    found = compare(
        copy, model=source("tiny"), progress=lambda done, total: told.append((done, total))
    )
    assert [(1, 2), (2, 2)] == told
    assert ("identical", 2, 2, 0) == (found.verdict, found.prompts, found.texts, found.differing)
    assert found.calls > 2
    assert max(found.errors.values()) < 1e-3
    assert {"top_logp", "lse", "entropy", "fresh_keys", "fresh_values"} == set(found.errors)
    assert read_certificate(copy) is None
    found.write(copy)
    assert found == read_certificate(copy)
    assert found.holds_for(copy)
    attrs.evolve(read_manifest(copy), versions={}).write(copy)
    assert not found.holds_for(copy)


def test_the_reference_decides_and_the_candidate_is_watched():
    """Each call is answered by the first network; the first difference keeps its margin."""
    inner = network("tiny")
    paired = PairedNetwork(inner, Shifted(inner, 0.5))
    ids_BQ = torch.arange(10).view(2, 5)
    answer = feed(paired, ids_BQ, Need())
    assert torch.equal(feed(inner, ids_BQ, Need()).pack.top_ids_BPK, answer.pack.top_ids_BPK)
    found = paired.comparison
    assert (1, 10, 2) == (found.calls, found.decisions, found.differing)
    assert 1 == found.first.call
    top = feed(inner, ids_BQ, Need(top=2)).pack.top_logp_BPK[0, 0]
    assert float(top[0] - top[1]) == pytest.approx(found.first.margin)
    assert 0.5 == pytest.approx(found.errors["top_logp"])


@pytest.mark.parametrize(
    ("differing", "margin", "texts", "verdict"),
    [
        (0, 0.0, True, "identical"),
        (3, 1.9e-5, False, "equal up to rounding"),
        (3, 2.1e-5, True, "different"),
    ],
)
def test_a_close_choice_may_fall_either_way(differing, margin, texts, verdict):
    """Closer than twice the largest error; anything else is a fault."""
    comparison = Comparison(
        differing=differing,
        widest_margin=margin,
        first=Divergence(1, margin),
        errors={"top_logp": 1e-5},
    )
    assert verdict == judge(comparison, texts_equal=texts)


def test_a_wrong_checkpoint_is_noticed(copy):
    """By its size; and a bundle of a folder asks for the folder."""
    with pytest.raises(RequestError, match="is not what the bundle was made from"):
        compare(copy, model="builtin/drafter")
    with pytest.raises(ModelError):
        compare(copy)


def test_pipelines_with_several_models_are_refused(copy):
    """A bundle is one network."""
    document = load_spec("fast-dllm-dual")
    several = attrs.evolve(document, models={**document.models, "two": document.models["main"]})
    with pytest.raises(RequestError, match="has several models"):
        compare_bundle(copy, several, PROMPTS)


@pytest.mark.parametrize("text", ["", "{}", "[]"])
def test_a_damaged_certificate_is_no_stack_trace(copy, text):
    """It can be made again."""
    (copy / "parity.json").write_text(text)
    with pytest.raises(ModelError, match="is damaged"):
        read_certificate(copy)
