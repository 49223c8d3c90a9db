"""Diffusion models that draft for causal ones: the text, or its law, is the causal model's own."""

from __future__ import annotations

from itertools import product

import attrs
import pytest
import torch

from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.draft_verify.draft import Draft
from dlmkit.engines.torch_network import TorchNetwork
from dlmkit.models.arch import AttentionPattern
from dlmkit.need import Need
from dlmkit.passes.plan import Plan
from dlmkit.passes.session import Session
from dlmkit.spec import SpecError, load_spec
from dlmkit.testing.conformance import conformance_cases
from dlmkit.testing.toy import toy_network
from dlmkit_strategies.diffusion_drafts import LeftToRight
from tests.models.checkpoints import loaded
from tests.strategies.speculation.test_diffuspec import round_of
from tests.strategies.speculation.test_guided import decoded

SAMPLES, TOKENS = 4000, 4
DRAWN = ["pipeline.verifier.stop=[]"]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_text_is_that_of_greedy_decoding(seed, steps):
    """However many steps are drafted, in any order, and with gaps between."""
    greedy, _ = decoded("autoregressive", "pipeline.stop=[]", seed=seed, names=("main",))
    changes = (*DRAWN, f"pipeline.schedule.steps={steps}", "pipeline.draft.pipeline.transfer.k=3")
    found, _ = decoded("spec-diff-greedy", *changes, seed=seed)
    assert greedy == found


@pytest.mark.parametrize("family", ["qwen2_ar", "qwen3_ar", "llama_ar"])
def test_the_text_is_that_of_a_published_layouts_greedy_decoding(family):
    """On each causal fixture, drafted by a diffusion model that knows nothing."""
    network = loaded(family, dtype="float32").network
    drafter = toy_network(5, vocabulary=network.info.vocab_size)
    texts = []
    for preset, stop in (("autoregressive", "pipeline.stop=[]"), ("spec-diff-greedy", DRAWN[0])):
        sessions = {"main": Session(network), "drafter": Session(drafter)}
        canvas = Canvas.create([[3, 1, 4, 1, 5], [2]], 12, network.info.vocab_size)
        for _ in load_spec(preset, [stop]).pipeline.steps(Context(sessions), canvas):
            pass
        texts.append(canvas.tokens_BN.tolist())
    assert texts[0] == texts[1]


def nets():
    """A causal model and a diffusion model of four tokens and the mask."""
    causal = toy_network(
        3, vocabulary=TOKENS + 1, logit_shift=1, attention=AttentionPattern(kind="causal")
    )
    main = TorchNetwork(causal.decoder, attrs.evolve(causal.info, mask_id=TOKENS))
    return {"main": main, "drafter": toy_network(8, vocabulary=TOKENS + 1)}


def law(network, text):
    """The law of the token after a text."""
    canvas = Canvas.create([text], 1, TOKENS)
    place_BP = torch.tensor([[len(text)]])
    (found,) = Session(network).predict(
        [canvas.tokens_BN], canvas, place_BP, Plan.full(canvas.tokens_BN), Need(logits=True)
    )
    return found.logits_BPV[0, 0, :TOKENS].double().softmax(dim=-1)


@pytest.mark.parametrize("preset", ["spec-diff", "spec-diff-sampling"])
def test_pairs_of_tokens_follow_the_verifiers_law(preset):
    """Drawn at once and tested by the ratio, or drawn in any order and tested as sure guesses."""
    networks, prompt = nets(), [2, 0]
    sessions = {name: Session(each) for name, each in networks.items()}
    canvas = Canvas.create([prompt] * SAMPLES, 2, TOKENS)
    for _ in load_spec(preset, DRAWN).pipeline.steps(Context(sessions, 5), canvas):
        pass
    found = [tuple(row) for row in canvas.tokens_BN[:, 2:].tolist()]
    first_V = law(networks["main"], prompt)
    for a, b in product(range(TOKENS), repeat=2):
        share = float(first_V[a] * law(networks["main"], [*prompt, a])[b])
        spread = (share * (1 - share) / SAMPLES) ** 0.5
        assert found.count((a, b)) / SAMPLES == pytest.approx(share, abs=4.5 * spread)


def test_a_gap_ends_the_draft():
    """Revealed from the right, with a hole: the run from the first mask on is what can be read."""
    start = round_of(5)
    first = int(start.canvas.start_B[0])
    position = torch.tensor([[first + 4, first + 1, first]])
    draft = Draft.chain(position, torch.tensor([[9, 8, 7]]), torch.ones_like(position).bool())
    found = LeftToRight().refine(draft, start)
    kept = found.valid_BE[0]
    assert [7, 8] == found.token_BE[0, kept].tolist()
    assert [first, first + 1] == found.position_BE[0, kept].tolist()


def test_drafts_in_any_order_need_to_be_ordered():
    """At the view, with what to write."""
    with pytest.raises(SpecError) as caught:
        load_spec("spec-diff-greedy", ["pipeline.refine=[]"])
    (found,) = caught.value.problems
    assert ("draft-gaps", "write `refine: [left-to-right]`") == (found.check, found.hint)


def test_a_ratio_of_laws_after_several_steps_is_refused():
    """The paper's test: what was drawn in any order has no law of what lies to its left."""
    with pytest.raises(SpecError) as caught:
        load_spec("spec-diff-sampling", ["pipeline.judge=ratio"])
    assert "draft-order" in {problem.check for problem in caught.value.problems}


@pytest.mark.parametrize("case", conformance_cases(LeftToRight()), ids=str)
def test_conformance(case):
    """The promises of every refiner."""
    case.run()
