"""Speculative sampling decodes round by round as the published code, at temperature 0."""

from __future__ import annotations

import copy
import functools
import json

import attrs
import pytest
import torch

from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.models.derivation import Derivation
from dlmkit.models.derive import derive_module
from dlmkit.passes.session import Session
from dlmkit.spec import load_spec
from tests.models.checkpoints import FIXTURES, loaded

PATH = FIXTURES / "traces/speculative_greedy.jsonl"
CASES = [json.loads(line) for line in PATH.read_text().splitlines()] if PATH.is_file() else []


@functools.cache
def network(name):
    return loaded(name, dtype="float32").network


@functools.cache
def drafter(name, transform):
    """A checkpoint, whole, cut after some layers, or with coarser weights."""
    made = network(name)
    kind, value = transform or (None, None)
    if kind is None:
        return made
    if kind == "layers":
        left_out = tuple(range(value, made.info.layers))
        decoder = derive_module(made.decoder, Derivation(source="main", skip_layers=left_out))
        return type(made)(decoder, attrs.evolve(made.info, layers=value))
    parts, decoder = int(value.split("/")[1]), copy.deepcopy(made.decoder)
    with torch.no_grad():
        for weight in decoder.parameters():
            weight.copy_((weight * parts).round() / parts)
    return type(made)(decoder, made.info)


def rounds_of(records):
    """Each round: what was drafted, how many of it stand, and what was written."""
    found = []
    for record in records:
        if record.phase != "verify":
            continue
        drafted = record.audit.drafted_BN[0]
        kept = int(record.audit.kept_BN[0].sum())
        proposed = record.proposals_BP[0][: int(drafted.sum())].tolist()
        changed = record.audit.kept_BN | record.audit.corrected_BN | record.audit.bonus_BN
        found.append((proposed, kept, record.after_BN[0][changed[0]].tolist()))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=[each["id"] for each in CASES])
def test_every_round_is_that_of_the_published_code(case):
    """Drafts, acceptance, what is written, and the passes of both networks."""
    told, prompt = case["settings"], case["prompt"][0]
    transform = told["draft_transform"]
    networks = {
        "main": network(case["checkpoint"]),
        "drafter": drafter(told["draft_checkpoint"], transform and next(iter(transform.items()))),
    }
    greedy = ["pipeline.verifier.sample=greedy", "pipeline.draft.pipeline.sample=greedy"]
    overrides = [*greedy, "pipeline.judge=greedy", "pipeline.verifier.stop=[]"]
    pipeline = load_spec(
        "speculative-sampling", [*overrides, f"pipeline.schedule.steps={told['gamma']}"]
    ).pipeline
    sessions = {name: Session(each) for name, each in networks.items()}
    canvas = Canvas.create([prompt], len(case["output"][0]), networks["main"].info.vocab_size)
    records = list(pipeline.steps(Context(sessions), canvas))
    assert case["output"][0] == canvas.tokens_BN[0, len(prompt) :].tolist()
    assert told_rounds(case) == rounds_of(records)
    assert case["nfe"] == sessions["main"].counts.forwards
    assert sessions["drafter"].counts.forwards <= case["nfe_draft"]


def told_rounds(case):
    """The stored rounds, without what they drafted beyond the end of the text."""
    room, found = len(case["output"][0]), []
    for each in case["rounds"]:
        draft = each["draft"][:room]
        found.append((draft, min(each["accepted"], room), each["emitted"][:room]))
        room -= len(each["emitted"])
    return found
