"""DiffuSpec's lattice and path search against brute force, and its text against greedy decoding."""

from __future__ import annotations

from itertools import product
from math import log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.draft_verify.draft import Draft
from dlmkit.draft_verify.round import Round
from dlmkit.noise import Noise
from dlmkit.passes.session import Session
from dlmkit.spec import SpecError, load_spec
from dlmkit.testing.conformance import conformance_cases
from dlmkit_strategies.diffusion_drafts import BestPath
from dlmkit_strategies.draft_verify import Fixed
from tests.strategies.speculation.test_guided import NEW, PROMPTS, VOCABULARY, decoded, networks

TEXT = [1, 2, 3, 1, 2, 4, 2]


def proxy(text, pair, token):
    """Shares of what followed two tokens, one, and any; mixed."""
    places = range(len(text))
    both = [n for n in places if n > 1 and (text[n - 2], text[n - 1]) == pair]
    one = [n for n in places if n > 0 and text[n - 1] == pair[1]]
    parts = zip((0.6, 0.3, 0.09), (both, one, list(places)), strict=True)
    return log(
        0.01 + sum(w * sum(text[n] == token for n in at) / max(len(at), 1) for w, at in parts)
    )


def score(path, logps, share):
    """What a path through the lattice is worth."""
    total, text = 0.0, list(TEXT)
    for token, logp in zip(path, logps, strict=True):
        total += share * logp + (1 - share) * proxy(TEXT, (text[-2], text[-1]), token)
        text.append(token)
    return total


def lattice(logps):
    """Candidates 1, 2 and 3 at each of the next positions, with their log-probabilities."""
    count = len(logps)
    position = torch.arange(count).repeat_interleave(3)[None] + len(TEXT)
    return Draft(
        position_BE=position,
        token_BE=torch.tensor([1, 2, 3]).repeat(count)[None],
        node_BE=torch.arange(3 * count)[None],
        valid_BE=torch.ones_like(position, dtype=torch.bool),
        parent_BD=torch.full_like(position, -1),
        logp_BE=torch.tensor(logps, dtype=torch.float64).reshape(1, -1),
    )


def round_of(new):
    canvas = Canvas.create([TEXT], new, VOCABULARY)
    budget_B = torch.tensor([new])
    noise = Noise(0, canvas.samples_B, 0)
    return Round(number=0, canvas=canvas, noise=noise, budget_B=budget_B, schedule=Fixed(steps=new))


ROW = st.lists(st.integers(-80, 0).map(lambda x: x / 16), min_size=3, max_size=3)


@settings(max_examples=15)
@given(st.lists(ROW, min_size=1, max_size=3), st.floats(0, 1))
def test_a_wide_search_finds_the_best_of_all_paths(logps, share):
    """With as many beams as there are paths, nothing is dropped."""
    draft = BestPath(beams=27, share=share).refine(lattice(logps), round_of(len(logps)))
    every = list(product(*[zip((1, 2, 3), row, strict=True) for row in logps]))
    values = [score([t for t, _ in path], [p for _, p in path], share) for path in every]
    found = draft.token_BE[0].tolist()
    own = [row[token - 1] for token, row in zip(found, logps, strict=True)]
    assert draft.valid_BE.all()
    assert max(values) == pytest.approx(score(found, own, share))


@given(st.lists(ROW, min_size=1, max_size=4))
def test_the_drafter_alone_gives_the_best_token_of_each_position(logps):
    """One beam and the whole weight on it."""
    draft = BestPath(beams=1, share=1.0).refine(lattice(logps), round_of(len(logps)))
    assert [1 + row.index(max(row)) for row in logps] == draft.token_BE[0].tolist()


def test_a_path_ends_where_nothing_is_proposed():
    """What lies behind the gap is not drafted."""
    draft = lattice([[-1.0, -2.0, -3.0]] * 3)
    valid_BE = draft.valid_BE.clone()
    valid_BE[0, 3:6] = False
    gapped = Draft(**{**vars(draft), "valid_BE": valid_BE})
    chain = BestPath(share=1.0).refine(gapped, round_of(3))
    assert [True, False] == chain.valid_BE[0, :2].tolist()


GREEDY = "pipeline.verifier.stop=[]"


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("refine", ["[]", "[best-path]"])
def test_the_text_is_that_of_greedy_decoding(refine, seed):
    """Whatever the lattice and the search come to, in no more passes of the verifier."""
    spec = load_spec("autoregressive", ["pipeline.stop=[]"])
    canvas, session = Canvas.create(PROMPTS, NEW, VOCABULARY), Session(networks(seed)["main"])
    for _ in spec.pipeline.steps(Context({"main": session}), canvas):
        pass
    rows = zip(canvas.tokens_BN.tolist(), PROMPTS, strict=True)
    greedy = [row[len(prompt) :][:NEW] for row, prompt in rows]
    found, passes = decoded("diffuspec", GREEDY, f"pipeline.refine={refine}", seed=seed)
    assert greedy == found
    assert passes["main"] <= NEW


def test_a_cache_is_refused():
    """It would count steps that are not taken."""
    with pytest.raises(SpecError, match="has a cache, and the lattice takes one pass a round"):
        load_spec("diffuspec", ["pipeline.draft.pipeline.cache=dual"])


@pytest.mark.parametrize("case", conformance_cases(BestPath()), ids=str)
def test_conformance(case):
    """The promises of every refiner."""
    case.run()
