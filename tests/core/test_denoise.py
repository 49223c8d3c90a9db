"""The loop decodes like slow decoders written from the papers, row by row and in batches."""

from __future__ import annotations

import attrs
import pytest
import torch

from dlmkit.denoise import Denoise
from dlmkit.errors import StrategyError
from dlmkit.noise import Noise
from dlmkit.prediction import score_pack
from dlmkit.roles import EarlyExit, Exit
from dlmkit.testing.plain import (
    BestPosition,
    BestToken,
    Refresh,
    ReopenDoubtful,
    TokenScore,
)
from dlmkit.testing.toy import toy_network
from dlmkit_strategies.confidence import Probability, RandomOrder
from dlmkit_strategies.guide import ClassifierFree
from dlmkit_strategies.sample import Categorical, Greedy
from dlmkit_strategies.stop import EndOfText
from dlmkit_strategies.transfer import Factor, Independent, Threshold, TopK
from tests.core.runs import dream, llada, run
from tests.oracles import dream as slow_dream
from tests.oracles import llada as slow_llada

PROMPTS = [[3, 1, 4, 1], [5], [9, 2, 6, 5, 3, 5]]
SEEDS = [0, 1, 2]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("length", "steps"), [(8, 8), (8, 3), (4, 2), (3, 3), (5, 2)])
def test_llada_decodes_like_the_formula(seed, length, steps):
    """Uneven prompts in one batch, uneven last blocks, uneven quotas."""
    network = toy_network(seed)
    rows, _, session = run(llada(length, steps), network, PROMPTS, 8)
    slow = [slow_llada.decode(network, prompt, 8, length, steps) for prompt in PROMPTS]
    assert [tokens for tokens, _ in slow] == rows
    assert max(passes for _, passes in slow) == session.counts.forwards


@pytest.mark.parametrize("seed", SEEDS)
def test_guidance_decodes_like_the_formula(seed):
    """Two inputs in one pass, combined before anything is read."""
    network = toy_network(seed)
    pipeline = llada(4, 2, guide=ClassifierFree(scale=0.8))
    rows, _, session = run(pipeline, network, PROMPTS, 8)
    slow = [slow_llada.decode(network, each, 8, 4, 2, cfg_scale=0.8)[0] for each in PROMPTS]
    assert slow == rows
    assert session.counts.forwards * 2 * len(PROMPTS) == session.counts.rows


@pytest.mark.parametrize("seed", SEEDS)
def test_temperature_decodes_like_the_formula(seed):
    """Noise belongs to the place; confidence is read without it."""
    network, stream = toy_network(seed), Categorical.name
    pipeline = llada(4, 2, sample=Categorical(temperature=0.7))
    rows, _, _ = run(pipeline, network, PROMPTS, 8, seed=11)

    def gumbel(sample):
        def draw(step, position):
            noise = Noise(11, torch.tensor([sample]), step)
            return noise.gumbel_BPV(stream, torch.tensor([[position]]), 24)[0, 0].tolist()

        return draw

    slow = [
        slow_llada.decode(network, each, 8, 4, 2, temperature=0.7, gumbel=gumbel(sample))[0]
        for sample, each in enumerate(PROMPTS)
    ]
    assert slow == rows


@pytest.mark.parametrize("seed", SEEDS)
def test_masks_inside_the_text_are_filled_like_the_formula(seed):
    """Infilling: blocks count from the first mask, given tokens inside stay."""
    network = toy_network(seed)
    mask = network.info.mask_id
    prompts = [[3, mask, 4, mask, mask, 1, mask, 7], [mask, 2, 2, mask]]
    rows, _, _ = run(llada(4, 2), network, prompts, 0, infill=True)
    slow = [slow_llada.decode(network, prompt, 0, 4, 2)[0] for prompt in prompts]
    assert slow == rows


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("algorithm", ["maskgit_plus", "topk_margin", "entropy"])
@pytest.mark.parametrize("steps", [8, 5])
def test_dream_decodes_like_the_formula(seed, algorithm, steps):
    """The logit shift, the float32 time grid, and one pass for each step."""
    network = toy_network(seed, logit_shift=1)
    rows, records, session = run(dream(algorithm, steps), network, PROMPTS, 8)
    slow = [slow_dream.decode(network, prompt, 8, steps, algorithm) for prompt in PROMPTS]
    assert [tokens for tokens, _ in slow] == rows
    assert steps == session.counts.forwards
    first = [change.row for record in records[:1] for change in record.changes()]
    assert slow[0][1][0] == first.count(0)


@pytest.mark.parametrize(
    ("masks", "steps", "first", "last"), [(64, 64, 0, 2), (256, 128, 1, 3), (256, 64, 3, 5)]
)
def test_the_time_grid_rounds_as_published(masks, steps, first, last):
    """The float32 grid decides nothing first and two at the end with as many steps as masks."""
    network = toy_network()
    _, records, _ = run(dream("maskgit_plus", steps), network, [[1]], masks)
    counts = [len(record.changes()) for record in records]
    assert (first, last, masks) == (counts[0], counts[-1], sum(counts))


def test_a_shifted_network_decodes_like_its_unshifted_twin():
    """The session hides the shift: rolled logits with shift 1 are the same predictions."""
    plain, rolled = toy_network(), Rolled(toy_network(logit_shift=1))
    for pipeline in (llada(4, 2), llada(4, 2, cache=Refresh())):
        expected, _, _ = run(pipeline, plain, PROMPTS, 8)
        assert expected == run(pipeline, rolled, PROMPTS, 8)[0]


class Rolled:
    """A network whose row i-1 says what another says in row i."""

    def __init__(self, network):
        self.network, self.info = network, network.info

    def forward(self, inputs, need):
        last = inputs.ids_BQ.shape[1] - 1
        moved = (inputs.want_BS + 1).clamp_max(last)
        return self.network.forward(attrs.evolve(inputs, want_BS=moved), need)


@pytest.mark.parametrize("threshold", [0.2, 0.6])
def test_rows_of_a_batch_decode_as_they_do_alone(threshold):
    """Rows sit in different blocks and end at different steps without touching one another."""
    network = toy_network(4)
    pipeline = llada(4, 2, sample=Categorical(temperature=0.5), confidence=RandomOrder())
    for each in (pipeline, dream_like_threshold(threshold)):
        rows, records, _ = run(each, network, PROMPTS, 8)
        for sample, prompt in enumerate(PROMPTS):
            alone, own, _ = run(each, network, [prompt], 8, first_sample=sample)
            assert alone[0] == rows[sample]
            assert len(own) <= len(records)


def dream_like_threshold(threshold):
    return Denoise(
        blocks=llada(4).blocks,
        sample=Greedy(),
        confidence=Probability(),
        transfer=Threshold(threshold=threshold),
    )


def test_the_same_seed_gives_the_same_text_and_another_seed_another():
    """Randomness is in the seed and nowhere else."""
    network, pipeline = toy_network(), llada(8, 8, sample=Categorical(temperature=2.0))
    once, _, _ = run(pipeline, network, PROMPTS, 8, seed=1)
    again, _, _ = run(pipeline, network, PROMPTS, 8, seed=1)
    other, _, _ = run(pipeline, network, PROMPTS, 8, seed=2)
    assert once == again
    assert once != other


def test_forward_passes_follow_the_closed_forms():
    """One for each step of a block that has something to decide; fed is rows times length."""
    network = toy_network()
    for length, steps, expected in [(8, 8, 8), (4, 2, 4), (4, 9, 8), (3, 3, 8), (8, 1, 1)]:
        _, _, session = run(llada(length, steps), network, [[1, 2]], 8)
        assert expected == session.counts.forwards
        assert expected * 10 == session.counts.fed_positions


@pytest.mark.parametrize(
    "rule", [TopK(k=1), Factor(factor=1e-9), Threshold(threshold=1.0)], ids=lambda rule: rule.name
)
def test_the_strictest_rules_decide_one_position_at_a_time(rule):
    """A factor near 0 and an unreachable threshold are both the single best position."""
    network = toy_network(2)
    plain = Denoise(sample=Greedy(), confidence=Probability(), transfer=TopK(k=1))
    strict = Denoise(sample=Greedy(), confidence=Probability(), transfer=rule)
    expected, records, _ = run(plain, network, PROMPTS, 6)
    rows, own, _ = run(strict, network, PROMPTS, 6)
    assert expected == rows
    assert [each.changes() for each in records] == [each.changes() for each in own]


def test_guidance_of_strength_zero_changes_nothing():
    """It costs twice the rows all the same."""
    network = toy_network(1)
    plain, _, _ = run(llada(4, 2), network, PROMPTS, 8)
    guided, _, session = run(llada(4, 2, guide=ClassifierFree(scale=0.0)), network, PROMPTS, 8)
    assert plain == guided
    assert session.counts.forwards * 6 == session.counts.rows


def test_refreshing_everything_decodes_like_no_cache():
    """A cache policy that recomputes every position is exact."""
    network = toy_network(3)
    plain, _, _ = run(llada(4, 2), network, PROMPTS, 8)
    cached, _, session = run(llada(4, 2, cache=Refresh()), network, PROMPTS, 8)
    assert plain == cached
    assert bool(session.store.filled_BN.any())


def test_given_text_never_changes_and_commits_stay_in_the_block():
    """Whatever strategies return is cut to what they may touch."""
    network = toy_network()
    rows, records, _ = run(llada(4, 2), network, PROMPTS, 8)
    assert PROMPTS == [row[: len(prompt)] for row, prompt in zip(rows, PROMPTS, strict=True)]
    for record in records:
        for change in record.changes():
            block = (change.position - len(PROMPTS[change.row])) // 4
            assert block in (0, 1)
            assert change.confidence is not None


def test_an_exit_fills_its_block_in_fewer_passes():
    """Masks in scope take this step's proposals."""
    rows, records, session = run(llada(4, 4, exit=(AfterOneStep(),)), toy_network(), PROMPTS, 8)
    assert 4 == session.counts.forwards
    assert [1, 3, 1, 3] == [len(each.changes()) // len(PROMPTS) for each in records]
    assert not any(23 in row for row in rows)


@attrs.frozen
class AfterOneStep(EarlyExit):
    """Ends a block in its second step."""

    name = "after-one-step"

    def decide(self, prediction, confidence_BP, view):
        return Exit(rows_B=view.block_step_B >= 1, scope="block")


def test_revisions_end_at_the_limit_of_steps():
    """From then on every step commits its whole block and takes nothing back."""
    network = toy_network(6)
    pipeline = Denoise(
        sample=BestToken(),
        confidence=TokenScore(),
        transfer=BestPosition(),
        revise=(ReopenDoubtful(),),
        max_steps=20,
    )
    rows, records, _ = run(pipeline, network, PROMPTS, 8)
    mask = network.info.mask_id
    reopened = [c for record in records for c in record.changes() if c.token == mask]
    assert reopened
    assert not any(mask in row for row in rows)
    assert len(records) <= 21


def test_a_stopped_row_keeps_its_masks_and_costs_others_nothing():
    """Rows stop by themselves; the decode ends when the last one does."""
    network = EndsEarly(toy_network())
    rows, records, _ = run(
        Denoise(sample=Greedy(), confidence=Probability(), transfer=TopK(k=1), stop=(EndOfText(),)),
        network,
        [[1], [2]],
        4,
    )
    assert [1, network.info.eos_ids[0]] == rows[0][:2]
    assert [network.info.mask_id] * 3 == rows[0][2:]
    assert 1 == len(records)


class EndsEarly:
    """Says "end of text" everywhere, surest at the first position."""

    def __init__(self, network):
        self.network, self.info = network, network.info

    def forward(self, inputs, need):
        output = self.network.forward(inputs, need)
        logits = torch.zeros(*inputs.want_BS.shape, self.info.vocab_size, dtype=torch.float64)
        logits[..., self.info.eos_ids[0]] = 9.0 - 0.1 * inputs.want_BS
        return attrs.evolve(output, pack=score_pack(logits, need), logits_BSV=logits)


def test_a_rule_that_makes_no_progress_is_stopped_by_name():
    """Looping for ever would tell nobody what is wrong."""
    network = toy_network()
    pipeline = Denoise(sample=Greedy(), confidence=Probability(), transfer=Lazy())
    with pytest.raises(
        StrategyError, match="transfer rule 'lazy' made no progress in step 0, row 0"
    ):
        run(pipeline, network, PROMPTS, 8)


class Lazy(TopK):
    """Commits nothing."""

    name = "lazy"

    def select(self, confidence_BP, view):
        return torch.zeros_like(view.eligible_BP)


def test_independent_decisions_finish_in_the_stated_steps():
    """The last step takes whatever is left."""
    pipeline = Denoise(sample=Greedy(), confidence=Probability(), transfer=Independent(steps=5))
    rows, _, session = run(pipeline, toy_network(), PROMPTS, 8)
    assert session.counts.forwards <= 5
    assert not any(23 in row for row in rows)
