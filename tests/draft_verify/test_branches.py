"""States in columns: one row of a pass says of each what a row of its own would."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dlmkit.accounts.records import Counts
from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.draft_verify.play import Play
from dlmkit.errors import EngineError
from dlmkit.models.arch import AttentionPattern
from dlmkit.need import Need
from dlmkit.passes.branches import Branches
from dlmkit.passes.plan import Plan
from dlmkit.passes.session import Session
from dlmkit.spec import SpecError, load_spec
from dlmkit.testing.toy import toy_network
from dlmkit_strategies.cache import BlockCausal
from dlmkit_strategies.draft_verify import DeepestPath, Greedy, NextToken, ReplaceFirst
from dlmkit_strategies.trees import AdjacencyTree, Paths, Tree
from tests.draft_verify.pieces import alone, procedure, together
from tests.draft_verify.test_verifier_cache import contents, fresh

LEFT = {"attention": AttentionPattern(kind="causal"), "logit_shift": 1}
STATES, COLUMNS, KNOWN = 4, 9, 3


@st.composite
def trees(draw):
    """Canvases of two rows, each with states that agree up to some place or other."""
    tokens = st.integers(0, 3)  # few, so that states often begin alike
    drafts = st.lists(tokens, min_size=COLUMNS - KNOWN, max_size=COLUMNS - KNOWN)
    row = st.tuples(
        st.lists(tokens, min_size=KNOWN, max_size=KNOWN),
        st.lists(drafts, min_size=STATES, max_size=STATES),
        st.lists(st.integers(1, COLUMNS - KNOWN), min_size=STATES, max_size=STATES),
    )
    return draw(row), draw(row)


@given(trees(), st.booleans())
@settings(max_examples=30, deadline=None)
def test_columns_say_what_rows_say(rows, cached):
    """At every fed position of every state, and what is stored of any of them."""
    network = toy_network(1, **LEFT)
    states_SN = torch.tensor([[*known, *draft] for known, drafts, _ in rows for draft in drafts])
    ends_S = torch.tensor([KNOWN + length for _, _, lengths in rows for length in lengths])
    canvas = Canvas.create([row[:KNOWN] for row in states_SN.tolist()], COLUMNS - KNOWN, 23)
    text = Canvas.create([known for known, _, _ in rows], COLUMNS - KNOWN, 23)
    base, first_N = Session(network), torch.arange(COLUMNS) < KNOWN
    known_BN = first_N.expand(len(rows), -1)
    if cached:
        plan = Plan.of(known_BN, commit_BN=known_BN)
        base.predict(
            [states_SN[::STATES]], text, text.columns_N[None, :1].expand(2, -1), plan, Need()
        )
    fed_SN = (torch.arange(COLUMNS) < ends_S[:, None]) & ~(first_N & cached)
    stored_SN = known_BN.repeat_interleave(STATES, 0) if cached else None
    plan = Plan.of(fed_SN, cached_BN=stored_SN, commit_BN=fed_SN)
    wanted_SP = torch.arange(1, COLUMNS).expand(len(fed_SN), -1)
    single, shared = base.sibling(), Branches(base, STATES)
    single.store = base.stored_of(torch.arange(2).repeat_interleave(STATES))
    asked = (canvas, wanted_SP, plan, Need(top=3, logits=True), fed_SN[:, :-1])
    (apart,), (found,) = (each.predict([states_SN], *asked) for each in (single, shared))
    said = fed_SN[:, :-1]
    assert torch.allclose(apart.logits_BPV[said], found.logits_BPV[said], atol=1e-9)
    assert torch.equal(apart.pack.top_ids_BPK[said], found.pack.top_ids_BPK[said])
    chosen = torch.tensor([1, STATES + 2])
    ours, theirs = shared.stored_of(chosen), single.stored_of(chosen)
    assert torch.equal(theirs.tag_BN, ours.tag_BN)
    for one, other in zip(contents(ours), contents(theirs), strict=True):
        assert torch.allclose(one[:, ours.filled_BN], other[:, ours.filled_BN], atol=1e-9)


def test_what_states_have_in_common_is_fed_once():
    """Three states of one token more than two known ones: five columns."""
    session = Branches(Session(toy_network(0, **LEFT)), 3)
    states_SN = torch.tensor([[5, 6, 7, 23], [5, 6, 8, 23], [5, 6, 9, 23]])
    canvas = Canvas.create([[5, 6, 7]] * 3, 1, 23)
    fed_SN = torch.tensor([[True, True, True, False]] * 3)
    session.predict([states_SN], canvas, torch.full((3, 1), 3), Plan.of(fed_SN), Need())
    assert Counts(forwards=1, rows=1, fed_positions=5) == session.counts


def tree_of(view, **parts):
    """Greedy decoding with a table that drafts trees."""
    rules = {"judge": Greedy(), "scope": DeepestPath(), "resolve": ReplaceFirst()}
    verifier = alone(length=1, cache=BlockCausal())
    draft = AdjacencyTree(candidates=3, nodes=12)
    return procedure(verifier, draft, view=view, bonus=NextToken(), **rules, **parts)


@pytest.mark.parametrize("seed", range(3))
def test_a_tree_decodes_what_its_paths_decode(seed):
    """In the same passes, with one row for each text and fewer fed positions."""
    nets = {"verifier": toy_network(seed, **LEFT)}
    paths, tree = (together(tree_of(view), nets) for view in (Paths(), Tree()))
    assert paths.trace == tree.trace
    rows, columns = (each.executed["verifier"] for each in (paths, tree))
    assert rows.forwards == columns.forwards
    assert columns.rows == columns.forwards * len(tree.rows)
    assert columns.fed_positions < rows.fed_positions


def test_what_is_stored_of_a_tree_is_what_a_fresh_pass_computes():
    """After every round, at every position that later passes may read."""
    network, pipeline = toy_network(2, **LEFT), tree_of(Tree())
    canvas = Canvas.create([[3, 1, 4], [1, 5, 9, 2, 6]], 8, network.info.mask_id)
    play = Play.begin(pipeline, Context({"verifier": Session(network)}, 0), canvas)
    while play.goes_on():
        for _ in play.round():
            pass
        stored_BN = play.verifier.memory.values[id(pipeline.verifier.cache)]["stored"]
        found, expected = play.verifier.stepper.session.store, fresh(network, canvas)
        for one, other in zip(contents(found), contents(expected), strict=True):
            assert torch.allclose(one[:, stored_BN], other[:, stored_BN], atol=1e-9)
    assert stored_BN.any()


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ("pipeline.verifier.cache=null", "write `cache: block-causal`"),
        ("pipeline.verifier.guide={use: cfg, scale: 1}", "leave it out"),
    ],
)
def test_columns_that_cannot_be_shared_are_refused(change, hint):
    """At the view, with what to write instead."""
    with pytest.raises(SpecError) as caught:
        load_spec("token-recycling", [change])
    found = {problem.check: problem for problem in caught.value.problems}["draft-columns"]
    assert found.hint.startswith(hint)


def test_a_network_that_sees_to_the_right_shares_nothing():
    """States that begin alike are read apart there."""
    session = Branches(Session(toy_network(0)), 2)
    canvas = Canvas.create([[1, 2], [1, 3]], 1, 23)
    asked = (canvas, torch.tensor([[2], [2]]), Plan.full(canvas.tokens_BN), Need())
    with pytest.raises(EngineError, match="states share columns under causal attention"):
        session.predict([canvas.tokens_BN], *asked)
