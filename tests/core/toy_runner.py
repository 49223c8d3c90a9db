"""A runner on the toy network: token ids in, no text, no files."""

from __future__ import annotations

from pathlib import Path

from dlmkit.engine import LoadedModel, Provenance
from dlmkit.generation import Runner
from dlmkit.models.special_ids import SpecialIds
from dlmkit.spec import load_spec
from dlmkit.testing.toy import toy_network

PROMPTS = [[1, 2, 3], [4, 5, 6, 7, 8, 9], [10]]


def toy_runner(pipeline: str = "llada", *overrides: str) -> Runner:
    """Short blocks and texts, unless overridden."""
    short = ["gen_length=8", "pipeline.blocks.length=4", "pipeline.transfer.steps_per_block=4"]
    document = load_spec(pipeline, [*short, *overrides])
    network = toy_network()
    return Runner(
        document,
        {"main": LoadedModel(network=network, tokenizer=None, provenance=_provenance(network))},
    )


def _provenance(network) -> Provenance:
    info = network.info
    ids = SpecialIds(mask_id=info.mask_id, eos_ids=info.eos_ids, eot_ids=(), pad_id=None)
    return Provenance(
        reference="toy",
        path=Path("toy"),
        revision=None,
        family="toy",
        architecture="Toy",
        special_ids=ids,
        dtype_reason="made so",
    )
