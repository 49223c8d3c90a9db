"""Every drafter of the how-to page works as the page writes it, and leaves the verifier's text."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest
import yaml

from dlmkit import generate, load_spec

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/how-to/choose-a-drafter.md"
PRESET = ROOT / "strategies/dlmkit_strategies/presets/dual-diffusion-lossless.yaml"
PROMPTS = ["sort: 5 2 9 1", "copy: 3 3 7 3 3 7"]
SECTION = re.compile(r"^## (.+?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHOWN = [
    pytest.param(block, id=f"{title} {number}")
    for title, body in SECTION.findall(PAGE.read_text("utf-8"))
    for number, block in enumerate(BLOCK.findall(body))
]


def edited(block: str):
    """The preset with the keys of a block in the place of its own."""
    document, change = (yaml.safe_load(text) for text in (PRESET.read_text("utf-8"), block))
    pipeline = document["pipeline"] | change.get("pipeline", {})
    whole = document | change | {"gen_length": 16, "pipeline": pipeline}
    return load_spec(yaml.safe_dump(whole))


@pytest.mark.parametrize("block", SHOWN)
def test_a_shown_drafter_drafts_and_the_text_is_the_verifiers(block):
    """Something of its drafts is kept, and the verifier runs less often than alone."""
    if "quantize" in block:
        pytest.importorskip("torchao", reason="the extra `quantize` is not installed")
    document = edited(block)
    found = generate(PROMPTS, document)
    expected = generate(PROMPTS, attrs.evolve(document, pipeline=document.pipeline.verifier))
    assert [each.token_ids for each in expected] == [each.token_ids for each in found]
    for alone, drafted in zip(expected, found, strict=True):
        assert drafted.ledger.accepted > 0
        assert drafted.ledger.forwards["verify"] < alone.nfe["verifier"]


def test_the_page_shows_every_kind():
    """A network, its layers, its bits, two caches, and two tables."""
    text = "".join(BLOCK.findall(PAGE.read_text("utf-8")))
    kinds = ("builtin/drafter", "skip_layers", "int8", "dual", "dkv-decode", "ngram", "adjacency")
    assert all(kind in text for kind in kinds)
