"""The spec id: the same for documents that decode alike, another for all others."""

from __future__ import annotations

import attrs
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dlmkit.plugins import get_plugins
from dlmkit.spec import load_spec
from dlmkit.spec.canonical import canonical

SPEC = """\
dlmkit: pipeline/1
name: one
gen_length: 64
models: {main: {repo: a/b, revision: main}}
pipeline:
  blocks: {use: fixed, length: 32}
  sample: greedy
  confidence: probability
  transfer: {use: threshold, threshold: 0.9}
"""


def shuffled(value, order):
    """The same mapping with its keys in another order, at every depth."""
    if isinstance(value, dict):
        keys = list(value)
        order.shuffle(keys)
        return {key: shuffled(value[key], order) for key in keys}
    return value


@settings(max_examples=20, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_count(order) -> None:
    """A mapping has no order."""
    again = yaml.safe_dump(shuffled(yaml.safe_load(SPEC), order), sort_keys=False)
    assert load_spec(SPEC).spec_id == load_spec(again).spec_id


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: one", "name: two  # a comment"),
        ("name: one", "name: one\ndescription: words"),
        ("sample: greedy", "sample: {use: greedy}"),
        ("sample: greedy", "sample: dlmkit:greedy"),
        ("use: threshold, threshold: 0.9", "use: threshold"),
        ("0.9", "9e-1"),
        ("revision: main", "revision: main, device: cpu, dtype: float32, engine: torch"),
        ("pipeline:\n", "pipeline:\n  use: denoise\n"),
    ],
)
def test_what_does_not_change_the_tokens_does_not_change_the_id(old: str, new: str) -> None:
    """Names, comments, spelt-out defaults, devices and number formats."""
    assert old in SPEC
    assert load_spec(SPEC).spec_id == load_spec(SPEC.replace(old, new)).spec_id


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("gen_length: 64", "gen_length: 96"),
        ("threshold: 0.9", "threshold: 0.91"),
        ("repo: a/b", "repo: a/c"),
        ("revision: main", "revision: v2"),
        ("revision: main", "revision: main, mask_id: 5"),
        ("length: 32", "length: 16"),
        ("sample: greedy", "sample: categorical"),
    ],
)
def test_what_changes_the_tokens_changes_the_id(old: str, new: str) -> None:
    """Options, length, and which weights."""
    assert old in SPEC
    assert load_spec(SPEC).spec_id != load_spec(SPEC.replace(old, new)).spec_id


def test_the_id_is_a_sha_256() -> None:
    """Sixty-four hexadecimal digits."""
    assert 64 == len(load_spec(SPEC).spec_id)
    assert 0 <= int(load_spec(SPEC).spec_id, 16)


def test_component_versions_count() -> None:
    """Results under two meanings of the same options are never taken for one."""
    plain = canonical(load_spec(SPEC), get_plugins().registry)
    assert 1 == plain["pipeline"]["transfer"]["version"]


def test_whole_numbers_and_their_floats_are_one() -> None:
    """`Threshold(1)` in Python is `threshold: 1.0` in a spec."""
    document = load_spec(SPEC.replace("0.9", "1"))
    transfer = attrs.evolve(document.pipeline.transfer, threshold=1)
    made = attrs.evolve(document, pipeline=attrs.evolve(document.pipeline, transfer=transfer))
    assert document.spec_id == made.spec_id
