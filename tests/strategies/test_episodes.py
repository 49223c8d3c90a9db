"""Episodes run a pipeline several times, keep what they say they keep, and count every pass."""

from __future__ import annotations

import attrs
import pytest
import torch

from dlmkit.accounts.traces import TraceWriter, read_trace
from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.denoise import Denoise
from dlmkit.generation import Runner
from dlmkit.need import Need
from dlmkit.network import NetworkInfo
from dlmkit.passes.plan import Plan
from dlmkit.passes.session import Session
from dlmkit.roles import Procedure
from dlmkit.testing.conformance.decoding import CountedNetwork
from dlmkit.testing.toy import toy_network
from dlmkit_strategies.annealed import Annealed
from dlmkit_strategies.blocks import FixedBlocks
from dlmkit_strategies.cache import Prefix
from dlmkit_strategies.confidence import Probability
from dlmkit_strategies.episodes import BestOf, RemaskFragments
from dlmkit_strategies.fragments import AtTokens, EveryFew
from dlmkit_strategies.lengths import EndOfTextCut
from dlmkit_strategies.sample import Categorical, Greedy
from dlmkit_strategies.transfer import TopK
from tests.core.toy_runner import toy_runner
from tests.strategies.steps import INFO, MASK, canvas_of

PROMPTS = ((3, 1, 4), (1, 5, 9, 2, 6), (5,))
INNER = Denoise(sample=Categorical(temperature=1.0), confidence=Probability(), transfer=TopK(k=2))


def decode(procedure: Procedure, prompts=PROMPTS, *, gen_length=8, seed=0, first_sample=0):
    """Decode on a toy network that counts; return rows, records, network and session."""
    network = CountedNetwork(toy_network())
    canvas = Canvas.create(prompts, gen_length, MASK, first_sample=first_sample)
    session = Session(network)
    records = list(procedure.steps(Context({"main": session}, seed), canvas))
    pairs = zip(canvas.tokens_BN.tolist(), canvas.length_B.tolist(), strict=True)
    return [row[:end] for row, end in pairs], records, network, session


def likelihood(row, prompt):
    """Mean log-probability of the new tokens of one finished row, from all its logits."""
    canvas = Canvas.create([prompt], len(row) - len(prompt), MASK)
    ids = torch.tensor([row])
    (prediction,) = Session(toy_network()).predict(
        (ids,), canvas, canvas.columns_N[None], Plan.full(ids), Need(logits=True)
    )
    logp = prediction.logits_BPV[0].double().log_softmax(-1)
    return float(logp.gather(-1, ids.T)[len(prompt) :].mean())


def test_one_candidate_is_the_pipeline_alone():
    """Best of one draws the same numbers, in the same passes."""
    alone, one = decode(INNER), decode(BestOf(pipeline=INNER, n=1))
    assert alone[0] == one[0]
    assert len(alone[1]) == len(one[1])


def test_the_text_with_the_best_mean_log_probability_is_kept():
    """Of the very candidates that the pipeline draws with the seeds of the runs."""
    kept = decode(BestOf(pipeline=INNER, n=4, score="reread"))[0]
    candidates = [decode(INNER, seed=(number * 0x9E3779B9) % 2**32)[0] for number in range(4)]
    for number, prompt in enumerate(PROMPTS):
        rows = [each[number] for each in candidates]
        scores = [likelihood(row, prompt) for row in rows]
        assert rows[scores.index(max(scores))] == kept[number]
    assert len({str(each) for each in candidates}) > 1


@pytest.mark.parametrize("score", ["confidence", "reread"])
def test_every_pass_of_every_candidate_is_counted(score):
    """Records, the session's account and the network agree."""
    procedure = BestOf(pipeline=INNER, n=3, score=score)
    _, records, network, session = decode(procedure)
    passes = 3 * (4 + (score == "reread"))
    assert passes == len(records) == session.counts.forwards
    assert network.counts == session.counts
    assert list(range(passes)) == [record.step for record in records]


def test_the_surest_candidate_is_kept_by_confidence():
    """A sampler that is never sure loses against one that is."""

    @attrs.frozen
    class Growing(Probability):
        """Surer with every sample of random numbers that comes later."""

        name = "growing"

        def score(self, tokens_BP, prediction, view):
            return torch.full_like(prediction.pack.lse_BP, float(view.noise.seed % 97) / 97)

    inner = attrs.evolve(INNER, confidence=Growing())
    seeds = [(number * 0x9E3779B9) % 2**32 for number in range(4)]
    best = max(seeds, key=lambda seed: seed % 97)
    kept = decode(BestOf(pipeline=inner, n=4))[0]
    assert decode(inner, seed=best)[0] == kept


@pytest.mark.parametrize(
    "procedure",
    [
        BestOf(pipeline=INNER, n=3, score="reread"),
        BestOf(pipeline=attrs.evolve(INNER, length=EndOfTextCut()), n=3),
        RemaskFragments(pipeline=INNER, split=EveryFew(length=3), rounds=3, fewest=1, most=5),
        RemaskFragments(
            pipeline=INNER, split=AtTokens(tokens=(3, 4, 5)), rounds=3, most=6, keep="best"
        ),
    ],
)
def test_a_row_decodes_as_it_does_alone(procedure):
    """Choices and draws of a row do not depend on its neighbours; prompts stay."""
    rows, records, network, session = decode(procedure)
    for number, prompt in enumerate(PROMPTS):
        assert rows[number] == decode(procedure, [prompt], first_sample=number)[0][0]
        assert list(prompt) == rows[number][: len(prompt)]
        assert MASK not in rows[number]
    assert network.counts == session.counts
    assert len(records) == session.counts.forwards


def test_every_run_starts_with_nothing_stored():
    """Keys of one candidate are never read by the next."""
    cached = attrs.evolve(INNER, cache=Prefix(), blocks=FixedBlocks(length=4))
    rows = decode(BestOf(pipeline=cached, n=2, score="confidence"))[0]
    first = decode(cached)[0]
    second = decode(cached, seed=0x9E3779B9)[0]
    assert all(row in pair for row, *pair in zip(rows, first, second, strict=True))


@pytest.mark.parametrize(
    "procedure",
    [
        BestOf(pipeline=INNER, n=3),
        RemaskFragments(pipeline=INNER, split=EveryFew(length=3), rounds=2, keep="best"),
    ],
)
def test_a_trace_of_an_episode_replays(procedure, tmp_path):
    """Wherever a run begins anew, the line before says on which canvas."""
    plain = toy_runner()
    runner = Runner(attrs.evolve(plain.document, pipeline=procedure), plain.models)
    run = runner.start([list(prompt) for prompt in PROMPTS])
    with TraceWriter(tmp_path / "trace.jsonl") as writer:
        records = list(writer.follow(run))
    (trace,) = read_trace(tmp_path / "trace.jsonl")
    for number, record in enumerate(records):
        before = trace.canvas_after(number)
        pairs = zip(record.before_BN.tolist(), before, strict=True)
        assert before == [row[: len(ids)] for row, ids in pairs]
    pairs = zip(run.canvas.tokens_BN.tolist(), run.canvas.length_B.tolist(), strict=True)
    assert [row[:end] for row, end in pairs] == trace.canvas_after(len(records))
    assert run.context.counts()["main"].forwards == len(records)
    assert all(0 < result.nfe["main"] <= len(records) for result in run.results())


def test_fragments_lie_between_separators():
    """Separators, given text and what follows the end belong to none."""
    end = INFO.eos_ids[0]
    canvas = canvas_of([[7, 3, 8, 8, 3, 3, 9, end, 9]])
    found = AtTokens(tokens=(3,)).fragments(canvas, INFO)
    assert [[-1, -1, 0, -1, 1, 1, -1, -1, 2, -1, -1]] == found.tolist()


def test_fragments_of_one_length_are_counted_from_the_first_undecided_position():
    """The last one may be shorter; masks belong to none."""
    canvas = canvas_of([[7, 8, 9, 7, 8, None, 9]])
    found = EveryFew(length=2).fragments(canvas, INFO)
    assert [[-1, -1, 0, 0, 1, 1, 2, -1, 3]] == found.tolist()


def test_a_round_replaces_one_fragment_by_the_stated_number_of_masks():
    """All other tokens stay, in their order."""
    procedure = RemaskFragments(
        pipeline=INNER, split=EveryFew(length=4), rounds=1, fewest=2, most=3
    )
    rows, records, *_ = decode(procedure, [(3, 1, 4)])
    before = next(record.laid_out for record in records if record.laid_out is not None)
    masked = before.tokens_BN[0].tolist()
    assert masked.count(MASK) in (2, 3)
    assert len(masked) == 11 - 4 + masked.count(MASK) == len(rows[0])
    kept = [(place, token) for place, token in enumerate(masked) if token != MASK]
    assert all(rows[0][place] == token for place, token in kept)


def test_a_worse_text_is_taken_back():
    """With `keep: best`, no round makes a text less likely."""
    scores = []
    for rounds in range(4):
        procedure = RemaskFragments(
            pipeline=INNER, split=EveryFew(length=3), rounds=rounds, fewest=2, most=4, keep="best"
        )
        row = decode(procedure, [(3, 1, 4)])[0][0]
        scores.append(likelihood(row, (3, 1, 4)))
    assert sorted(scores) == scores


def test_rows_stay_within_the_context():
    """The number of masks is cut to the room that is left."""

    class Narrow(CountedNetwork):
        info: NetworkInfo = attrs.evolve(toy_network().info, max_positions=12)

    network = Narrow(toy_network())
    canvas = Canvas.create([(3, 1, 4)], 8, MASK)
    procedure = RemaskFragments(
        pipeline=INNER, split=EveryFew(length=2), rounds=5, fewest=5, most=9
    )
    list(procedure.steps(Context({"main": Session(network)}), canvas))
    assert int(canvas.length_B) <= 12


def test_noise_dies_down_while_a_row_is_filled():
    """The last mask is rated by its log-probability alone."""
    full = decode(attrs.evolve(INNER, sample=Greedy(), confidence=Annealed(randomness=0.0)))
    noisy = decode(attrs.evolve(INNER, sample=Greedy(), confidence=Annealed(randomness=9.0)))
    assert full[0] != noisy[0]
    last = noisy[1][-1]
    rated = last.confidence_BP[0][last.confidence_BP[0].isfinite()]
    assert bool((rated <= 9.0).all())
