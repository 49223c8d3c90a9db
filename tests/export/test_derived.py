"""Bundles of networks that were changed before they were compiled: derived, and stretched.

Legend: B rows, Q fed positions.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import attrs
import torch
from torch.testing import assert_close

from dlmkit.need import Need
from dlmkit.profiling.store import identity
from dlmkit.spec import load_spec
from dlmkit_export.bundle.manifest import MANIFEST, PROMPTS, read_manifest
from dlmkit_export.parity.measure import compare_bundle
from tests.engines.calls import feed
from tests.export.changed import changed, on_torch, prompts
from tests.export.compiled import ROOM, bundle, opened, source

CLOSE = {"atol": 1e-4, "rtol": 1e-4}
PACK = Need(top=3, entropy=True, current=True)


def test_a_changed_network_gives_what_pytorch_gives():
    """Prompt tokens among others, positions beyond the trained context, with and without cache."""
    eager, compiled = on_torch().network, opened(changed()).network
    first, second = torch.randint(0, 200, (2, 2, 9), generator=torch.Generator().manual_seed(0))
    for ids_BQ in (first, second):
        ids_BQ[:, 3:6] = torch.tensor(eager.info.prompt_ids)
    past = feed(eager, first).fresh
    later = {
        "past": past,
        "positions_BQ": torch.arange(200, 209).expand(2, -1),
        "mask_past_B1QC": torch.rand(2, 1, 9, 9) > 0.3,
    }
    for ids_BQ, given in ((first, {}), (second, later)):
        want = {"current_BS": ids_BQ.clamp_max(200)}
        expected, found = (feed(each, ids_BQ, **given) for each in (eager, compiled))
        assert_close(expected.logits_BSV, found.logits_BSV, **CLOSE)
        assert_close(expected.fresh.keys_YBGCE, found.fresh.keys_YBGCE, **CLOSE)
        packs = (feed(each, ids_BQ, PACK, **given, **want).pack for each in (eager, compiled))
        assert_close(*map(attrs.astuple, packs), **CLOSE)


def test_prompt_tokens_and_a_longer_context_change_what_is_computed():
    """Or the comparison above would compare nothing."""
    compiled = opened(changed()).network
    unstretched = on_torch(rope=None)
    ids_BQ = torch.arange(9).expand(1, -1)
    late = {"positions_BQ": torch.arange(0, 90, 10).expand(1, -1)}
    long, short = (feed(each, ids_BQ, **late) for each in (compiled, unstretched.network))
    assert float((long.logits_BSV - short.logits_BSV).abs().max()) > 0.01
    other_BQ = ids_BQ.where(ids_BQ != 4, compiled.info.prompt_ids[1])
    prompted = feed(compiled, other_BQ, **late)
    assert float((long.logits_BSV - prompted.logits_BSV).abs().max()) > 0.01


def test_the_network_says_what_it_is():
    """Layers, parameters, context and prompt tokens, from the manifest alone."""
    eager, compiled = on_torch(), opened(changed())
    for field in ("layers", "parameters", "prompt_ids", "max_positions", "vocab_size"):
        assert getattr(eager.network.info, field) == getattr(compiled.network.info, field)
    assert 3 == len(compiled.network.info.prompt_ids)
    plain = opened(bundle("tiny"))
    assert ("", ()) == (plain.provenance.derivation, plain.network.info.prompt_ids)
    assert identity(plain) != identity(compiled)


def test_the_manifest_tells_how_it_was_changed():
    """Without the names of folders; prompt tokens come along."""
    told = read_manifest(changed()).source
    name = Path(prompts()).name
    assert f"without layer 0, with the prompt tokens of {name}" == told.derivation.text
    assert told.derivation.text == opened(changed()).provenance.derivation
    assert {"use": "ntk", "context": 256, "factor": 8.0} == told.rope
    assert (changed() / PROMPTS).read_bytes() == Path(prompts()).read_bytes()
    assert ROOM.name not in (changed() / MANIFEST).read_text()


def test_bundles_of_the_format_before_are_read(tmp_path):
    """They were never changed."""
    folder = shutil.copytree(bundle("tiny"), tmp_path / "copy")
    fields = json.loads((folder / MANIFEST).read_text())
    fields["format"] = 2
    del fields["network"]["prompt_ids"], fields["source"]["derivation"], fields["source"]["rope"]
    (folder / MANIFEST).write_text(json.dumps(fields))
    cpu, found = torch.device("cpu"), read_manifest(folder)
    assert read_manifest(bundle("tiny")).source == found.source
    assert () == found.info("onnxruntime", cpu, None).prompt_ids


def test_a_changed_bundle_is_compared_with_the_changed_network():
    """Of the checkpoint that it was made from."""
    document = load_spec("fast-dllm-dual", ["gen_length=16", "pipeline.blocks.length=8"])
    found = compare_bundle(changed(), document, ["sort: 7 3 9 1"], model=source("tiny"))
    assert "identical" == found.verdict
