"""Judges that draw emit the verifier's law: compared with the exact joint of two tokens.

A few thousand rows with one prompt are as many independent decodes; what they emit is compared
with products of the verifier's conditionals, enumerated.
"""

from __future__ import annotations

import math
from collections import Counter
from itertools import product

import attrs
import pytest
import torch

from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.draft_verify.draft import ROOT, Draft
from dlmkit.draft_verify.roles import Drafter, DraftRun
from dlmkit.models.arch import AttentionPattern
from dlmkit.need import Need
from dlmkit.passes.plan import Plan
from dlmkit.passes.session import Session
from dlmkit.testing.plain_drafting import Dice, DrawnToken
from dlmkit.testing.toy import toy_network
from dlmkit_strategies.draft_verify import (
    Causal,
    DeepestPath,
    EveryState,
    Fixed,
    NextToken,
    PointMass,
    Prefix,
    Ratio,
    Recursive,
    ReplaceFirst,
    VerifierStep,
)
from tests.draft_verify.pieces import alone, drafter, procedure

ROWS, TOKENS, MASK = 4000, 4, 4
PROMPT = (2, 0)
TOLERANCE = 4.5 * math.sqrt(0.25 / ROWS)
LEFT = {"length": 1, "sample": DrawnToken()}
REPLACING = {"resolve": ReplaceFirst(), "bonus": NextToken()}


def nets(attention, shift):
    """A verifier and an unrelated drafter over four tokens and the mask."""
    pattern = AttentionPattern(kind=attention)
    names = {"verifier": 3, "drafter": 8}
    return {
        name: toy_network(seed, vocabulary=TOKENS + 1, attention=pattern, logit_shift=shift)
        for name, seed in names.items()
    }


def emitted(pipeline, networks):
    """Relative frequencies of the two tokens after the prompt."""
    canvas = Canvas.create([PROMPT] * ROWS, 2, MASK)
    sessions = {name: Session(network) for name, network in networks.items()}
    for _ in pipeline.steps(Context(sessions, 11), canvas):
        pass
    pairs = Counter(map(tuple, canvas.tokens_BN[:, len(PROMPT) :].tolist()))
    return {pair: count / ROWS for pair, count in pairs.items()}


def law(network, text):
    """Exact laws of every masked position of a text, without the mask token."""
    canvas = Canvas.create([text], 0, MASK, infill=True)
    every_BP = torch.arange(len(text))[None]
    (prediction,) = Session(network).predict(
        [canvas.tokens_BN], canvas, every_BP, Plan.full(canvas.tokens_BN), Need(logits=True)
    )
    return prediction.logits_BPV[0, :, :MASK].double().softmax(dim=-1)


def left_to_right(network):
    """The joint law of two tokens, each drawn given what is left of it."""
    first_V = law(network, [*PROMPT, MASK, MASK])[len(PROMPT)]
    joint = {}
    for token in range(TOKENS):
        second_V = law(network, [*PROMPT, token, MASK])[len(PROMPT) + 1]
        joint |= {
            (token, other): float(first_V[token] * second_V[other]) for other in range(TOKENS)
        }
    return joint


def agree(expected, found):
    """No pair is emitted more or less often than chance allows."""
    return all(
        abs(expected[pair] - found.get(pair, 0.0)) < TOLERANCE
        for pair in product(range(TOKENS), repeat=2)
    )


@attrs.frozen
class Sure(Drafter):
    """The same two tokens in every round, which nobody has drawn."""

    name = "sure"
    order = "position"

    def begin(self, setting):
        return _Sure()

    def alone(self):
        return True


class _Sure(DraftRun):
    def draft(self, start):
        yield from ()
        first_B = start.canvas.masked_BN.int().argmax(dim=1)
        position_BE = first_B[:, None] + torch.arange(2)
        inside_BE = position_BE < start.canvas.length_B[:, None]
        position_BE = position_BE.clamp_max(start.canvas.tokens_BN.shape[1] - 1)
        valid_BE = inside_BE & start.canvas.masked_BN.gather(1, position_BE)
        return Draft.chain(position_BE, torch.tensor([1, 3]).expand_as(position_BE), valid_BE)


@attrs.frozen
class Brothers(Drafter):
    """Three different tokens for the next position, drawn without replacement from one law."""

    name = "brothers"
    order = "position"
    branches = True

    def begin(self, setting):
        return _Brothers()

    def sampled(self):
        return True

    def alone(self):
        return True


class _Brothers(DraftRun):
    def draft(self, start):
        yield from ()
        position_BE = start.canvas.masked_BN.int().argmax(dim=1)[:, None].expand(-1, 3)
        law_V = torch.tensor([0.5, 0.3, 0.15, 0.05, 0.0], dtype=torch.float64).log()
        noise_BEV = start.noise.gumbel_BPV("brothers", position_BE[:, :1], TOKENS + 1)
        token_BE = (law_V + noise_BEV)[:, 0].topk(3, dim=-1).indices  # Gumbel-top-k
        node_BE = torch.arange(3).expand_as(position_BE)
        return Draft(
            position_BE=position_BE,
            token_BE=token_BE,
            node_BE=node_BE,
            valid_BE=start.live_B[:, None].expand_as(position_BE),
            parent_BD=torch.full_like(node_BE, ROOT),
            law_BEV=law_V.expand(*position_BE.shape, -1),
        )


FROM_THE_LEFT = {
    "ratio, a drafter that draws": {
        "draft": drafter(**LEFT), "judge": Ratio(), "view": Causal(),
        "scope": Prefix(order="position"), "schedule": Fixed(steps=2),
    },
    "ratio, dice": {
        "draft": Dice(), "judge": Ratio(), "view": Causal(), "scope": Prefix(order="position"),
    },
    "point-mass": {
        "draft": Sure(), "judge": PointMass(), "view": Causal(), "scope": Prefix(order="position"),
    },
    "recursive": {
        "draft": Brothers(), "judge": Recursive(brothers=3), "view": EveryState(),
        "scope": DeepestPath(),
    },
    "recursive, no brothers": {
        "draft": Dice(), "judge": Recursive(brothers=1), "view": EveryState(), "scope": Prefix(),
    },
}  # fmt: skip


@pytest.mark.parametrize("case", FROM_THE_LEFT)
def test_a_causal_verifiers_law_is_kept(case):
    """Invariant 4: whatever is drafted, and however often it fails."""
    networks = nets("causal", 1)
    parts = REPLACING | FROM_THE_LEFT[case]
    found = emitted(procedure(verifier=alone(**LEFT), **parts), networks)
    assert agree(left_to_right(networks["verifier"]), found)


def test_a_masked_verifiers_law_is_kept_in_the_drafters_order():
    """G7: with one position in each state, the ratio test is exact along the order of drafting."""
    networks = nets("full", 0)
    parts = {"judge": Ratio(), "view": EveryState(), "resolve": ReplaceFirst()}
    # From the left in both pipelines: an order that does not hang on what is drawn.
    verifier, draft = alone(**LEFT), drafter(**LEFT)
    pipeline = procedure(verifier, draft, bonus=VerifierStep(), schedule=Fixed(steps=2), **parts)
    assert agree(left_to_right(networks["verifier"]), emitted(pipeline, networks))


def test_an_argmax_taken_for_drawn_breaks_the_law():
    """Why undrawn guesses are refused: the test would see a difference as large as this."""
    networks = nets("causal", 1)
    parts = REPLACING | {"view": Causal(), "scope": Prefix(order="position")}
    draft = drafter(length=1)
    pipeline = procedure(alone(**LEFT), draft, judge=Ratio(), schedule=Fixed(steps=2), **parts)
    assert not agree(left_to_right(networks["verifier"]), emitted(pipeline, networks))
