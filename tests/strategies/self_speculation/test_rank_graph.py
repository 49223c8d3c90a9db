"""Spiffy: graphs of states, fed once each, and a text that is the verifier's alone."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from dlmkit.canvas import Canvas
from dlmkit.draft_verify.draft import Draft
from dlmkit.passes.session import Session
from dlmkit.spec import SpecError, load_spec
from dlmkit.testing.conformance import conformance_cases
from dlmkit_strategies.cache import Dual
from dlmkit_strategies.draft_verify import DeepestPath, Fixed
from dlmkit_strategies.self_speculation import PruneByMean, RankGraph
from dlmkit_strategies.self_speculation.count_ranks import RankCounts, main, taken_steps
from dlmkit_strategies.transfer import TopK
from tests.draft_verify.evidence import one_round
from tests.draft_verify.pieces import alone, networks, procedure, together

LATTICE = tuple(
    tuple((place, 1) for place in chosen)
    for size in (1, 2, 3)
    for chosen in combinations((1, 2, 3), size)
)
"""Three positions in any order: seven states, fifteen paths."""

REVEALS = st.tuples(st.integers(1, 4), st.integers(1, 2))
GRAPHS = st.lists(
    st.lists(REVEALS, min_size=1, max_size=3, unique_by=lambda each: each[0]).map(
        lambda state: tuple(sorted(state))
    ),
    min_size=1,
    max_size=5,
    unique=True,
).map(tuple)


def spiffy(graph, verifier=None, refine=()):
    return procedure(
        verifier,
        RankGraph(graph=graph),
        scope=DeepestPath(),
        refine=refine,
        schedule=Fixed(steps=4),
    )


@settings(max_examples=12)
@given(GRAPHS, st.integers(0, 3), st.sampled_from([(), (PruneByMean(most=3),)]))
def test_the_text_is_that_of_the_verifier_alone(graph, seed, refine):
    """Invariant 2: whatever the graph, pruned or not; and never in more passes."""
    nets = networks(seed)
    expected, found = together(alone(), nets), together(spiffy(graph, refine=refine), nets)
    assert expected.rows == found.rows
    most = expected.executed["verifier"].forwards
    assert found.executed["verifier"].forwards <= most


@pytest.mark.parametrize("verifier", [alone(cache=Dual()), alone(transfer=TopK(k=2))], ids=str)
def test_caches_and_steps_of_two_tokens_change_nothing(verifier):
    """The verifier decides what a step is, under its own cache."""
    pairs = (((1, 1), (2, 1)), ((1, 1), (2, 1), (3, 1), (4, 1)), ((1, 1), (3, 1)))
    for graph in (LATTICE, pairs):
        nets = networks(1)
        assert together(verifier, nets).rows == together(spiffy(graph, verifier), nets).rows


def test_a_state_with_several_parents_is_fed_once():
    """Fifteen paths, seven states and the canvas."""
    draft = RankGraph(graph=LATTICE)
    assert 15 == len(draft.paths)
    found = together(spiffy(LATTICE), networks(2), prompts=[[3, 1, 4]])
    counts = found.executed["verifier"]
    assert counts.rows <= counts.forwards * (1 + len(LATTICE))


def test_more_orders_are_accepted_than_of_a_chain():
    """A graph that holds both orders of the next two positions never stops before the chain."""
    chain = (((1, 1),), ((1, 1), (2, 1)), ((1, 1), (2, 1), (3, 1)))
    taken = {"chain": 0, "lattice": 0}
    for seed in range(4):
        for name, graph in (("chain", chain), ("lattice", LATTICE)):
            found = together(spiffy(graph), networks(seed), prompts=[[3, 1, 4]])
            taken[name] += found.executed["verifier"].forwards
    assert taken["lattice"] <= taken["chain"]


def forest():
    """Two brothers, a child of each, all at different positions; the second child is likely."""
    return Draft(
        position_BE=torch.tensor([[3, 4, 5, 6]]),
        token_BE=torch.tensor([[1, 1, 1, 1]]),
        node_BE=torch.tensor([[0, 1, 2, 3]]),
        valid_BE=torch.ones(1, 4, dtype=torch.bool),
        parent_BD=torch.tensor([[-1, -1, 0, 1]]),
        logp_BE=torch.tensor([[0.5, 0.4, 0.1, 0.9]]).log(),
    )


def test_what_leads_to_a_kept_state_is_kept():
    """The likeliest pair, by geometric mean: sqrt(0.4 x 0.9) is more than 0.5."""
    _, _, start = one_round(0)
    kept = PruneByMean(most=2).refine(forest(), start)
    assert [[False, True, False, True]] == kept.valid_BE.tolist()
    everything = PruneByMean(most=4).refine(forest(), start)
    assert everything.valid_BE.all()


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        ("[]", "at least one reveal"),
        ("[[[0, 1]]]", "ranks from 1"),
        ("[[[1, 1]], [[1, 1]]]", "a state twice"),
        ("[[[1, 1], [1, 2]]]", "two tokens for one position"),
    ],
)
def test_graphs_that_mean_nothing_are_refused(graph, message):
    """At check time."""
    with pytest.raises(SpecError, match=message):
        load_spec("spiffy", [f"pipeline.draft.graph={graph}"])


@pytest.mark.parametrize(
    "case", [*conformance_cases(RankGraph()), *conformance_cases(PruneByMean())], ids=str
)
def test_conformance(case):
    """The promises of every drafter and refiner."""
    case.run()


def test_counting_finds_where_decodes_go():
    """A counted graph is one that the drafter takes, and holds what came up most."""
    nets = networks(1)
    canvas = Canvas.create([[3, 1, 4], [1, 5]], 8, nets["verifier"].info.mask_id)
    steps = taken_steps(alone(), Session(nets["verifier"]), canvas, tokens=3)
    counts = RankCounts()
    counts.add(steps, depth=3, tokens=3)
    graph = counts.graph(6)
    assert max(counts.counts.values()) == counts.counts[graph[0]]
    assert all(counts.parents[state] & {(), *graph[:place]} for place, state in enumerate(graph))
    drafting = spiffy(tuple(graph))
    assert together(alone(), nets).rows == together(drafting, nets).rows


def test_a_graph_is_counted_from_the_command_line():
    """On prompts of the built-in tasks; what is printed is what the drafter takes."""
    few = ["--set", "gen_length=8", "--set", "pipeline.verifier.blocks.length=8"]
    done = CliRunner().invoke(main, ["spiffy", "--tasks", "1", "--nodes", "3", *few])
    assert 0 == done.exit_code, done.output
    pipeline = load_spec("spiffy", [f"pipeline.draft.graph={done.stdout}"]).pipeline
    assert 3 == len(pipeline.draft.graph)
    assert ((1, 1),) == pipeline.draft.graph[0]


@pytest.mark.parametrize(
    ("arguments", "message"), [(["spiffy"], "no prompt was given"), (["llada", "a"], "no drafts")]
)
def test_nothing_to_count_is_said(arguments, message):
    """With what to write instead."""
    done = CliRunner().invoke(main, arguments)
    assert 1 == done.exit_code
    assert message in done.output


def test_ranks_are_those_of_the_look_before():
    """Counted again by hand: the first position that was decided after the first step."""
    nets = networks(1)
    canvas = Canvas.create([[3, 1, 4]], 4, nets["verifier"].info.mask_id)
    first, second, *_ = taken_steps(alone(), Session(nets["verifier"]), canvas, tokens=3)
    left_P = first.view.eligible_BP[0] & ~first.commit_BP[0]
    confidence = first.confidence_BP[0]
    column = int(second.commit_BP[0].nonzero())
    above = sum(
        bool(left_P[other] and confidence[other] > confidence[column]) for other in range(4)
    )
    token = int(second.after_BN[0, second.view.positions_BP[0, column]])
    known = first.prediction.pack.top_ids_BPK[0, column].tolist()
    known = [each for each in known if each != canvas.mask_id][:3]
    counts = RankCounts()
    counts.add([first, second], depth=1, tokens=3)
    expected = {((above + 1, known.index(token) + 1),): 1} if token in known else {}
    assert expected == counts.counts
