"""A causal model that supervises a diffusion model, at its limits."""

from __future__ import annotations

import attrs
import pytest

from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.engines.torch_network import TorchNetwork
from dlmkit.models.arch import AttentionPattern
from dlmkit.passes.session import Session
from dlmkit.spec import load_spec
from dlmkit.testing.conformance import conformance_cases
from dlmkit.testing.toy import toy_network
from dlmkit_strategies.diffusion_drafts import Mixture

VOCABULARY, NEW = 24, 10
PROMPTS = [[3, 1, 4], [1, 5, 9, 2, 6], [5]]


def networks(seed=0):
    """A causal model without a mask token of its own, and a diffusion model."""
    causal = toy_network(seed, logit_shift=1, attention=AttentionPattern(kind="causal"))
    guide = TorchNetwork(causal.decoder, attrs.evolve(causal.info, mask_id=None))
    return {"main": guide, "drafter": toy_network(seed + 50)}


def decoded(preset, *changes, seed=0, names=("main", "drafter")):
    """The new tokens of each row, and the passes of every network."""
    spec = load_spec(preset, changes)
    sessions = {name: Session(each) for name, each in networks(seed).items() if name in names}
    canvas = Canvas.create(PROMPTS, NEW, VOCABULARY)
    for _ in spec.pipeline.steps(Context(sessions), canvas):
        pass
    rows = zip(canvas.tokens_BN.tolist(), PROMPTS, strict=True)
    passes = {name: each.counts.forwards for name, each in sessions.items()}
    return [row[len(prompt) :][:NEW] for row, prompt in rows], passes


def left_to_right(seed):
    """The diffusion model alone, a token in each step, from left to right."""
    spec = load_spec("llada", ["pipeline.blocks.length=1", f"gen_length={NEW}"])
    network = networks(seed)["drafter"]
    canvas = Canvas.create(PROMPTS, NEW, VOCABULARY - 1)
    for _ in spec.pipeline.steps(Context({"main": Session(network)}), canvas):
        pass
    rows = zip(canvas.tokens_BN.tolist(), PROMPTS, strict=True)
    return [row[len(prompt) :][:NEW] for row, prompt in rows]


GUIDED = ("guided-diffusion", "pipeline.verifier.stop=[]")


@pytest.mark.parametrize("seed", range(3))
def test_a_guide_that_rejects_everything_leaves_one_token_a_pass(seed):
    """The diffusion model decodes from left to right, its masks seen as its own."""
    reject = ("pipeline.judge={use: conf, threshold: 1.0}",)
    rows, passes = decoded(*GUIDED, *reject, seed=seed)
    assert left_to_right(seed) == rows
    assert {"main": NEW, "drafter": NEW} == passes


def test_a_guide_that_accepts_everything_leaves_one_pass():
    """The whole rest is what the diffusion model saw at first."""
    _, passes = decoded(*GUIDED, "pipeline.judge={use: conf, threshold: 0.0}")
    assert {"main": 1, "drafter": 1} == passes


def test_a_mixture_without_a_verifier_accepts_everything():
    """Its drafts are the best tokens of the drafter's law."""
    _, passes = decoded("apd-code", GUIDED[1], "pipeline.judge.share=1.0")
    assert {"main": 1, "drafter": 1} == passes


@pytest.mark.parametrize("seed", range(3))
def test_a_mixture_without_a_drafter_is_the_greedy_guide(seed):
    """Then both compare with what the causal model thinks best."""
    mixed = decoded("apd-code", GUIDED[1], "pipeline.judge.share=0.0", seed=seed)
    assert decoded(*GUIDED, seed=seed) == mixed


def test_a_larger_share_of_the_drafter_takes_no_more_passes():
    """Along the way from the one limit to the other, on this network."""
    passes = [
        decoded("apd-code", GUIDED[1], f"pipeline.judge.share={share}")[1]["main"]
        for share in (0.0, 0.5, 0.9, 1.0)
    ]
    assert sorted(passes, reverse=True) == passes


def test_self_speculation_writes_what_single_steps_write():
    """The preset against its own verifier, in no more passes."""
    spec = load_spec("ssd", [f"gen_length={NEW}", "pipeline.verifier.blocks.partial=true"])
    found = []
    for pipeline in (spec.pipeline.verifier, spec.pipeline):
        session = Session(toy_network(7))
        canvas = Canvas.create(PROMPTS, NEW, VOCABULARY - 1)
        for _ in pipeline.steps(Context({"main": session}), canvas):
            pass
        found.append((canvas.tokens_BN.tolist(), session.counts.forwards))
    (alone, most), (rows, passes) = found
    assert alone == rows
    assert passes <= most


@pytest.mark.parametrize("case", conformance_cases(Mixture()), ids=str)
def test_conformance(case):
    """The promises of every judge."""
    case.run()
