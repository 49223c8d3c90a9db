"""Blocks that choose their end in their first pass."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from dlmkit.denoise import Denoise
from dlmkit.errors import RequestError
from dlmkit.spec import SpecError, load_spec
from dlmkit.testing.toy import toy_network
from dlmkit_strategies.adaptive_blocks import DelimiterBlocks, PolicyBlocks
from dlmkit_strategies.blocks import FixedBlocks
from dlmkit_strategies.cache import Prefix
from dlmkit_strategies.confidence import Probability
from dlmkit_strategies.sample import Greedy
from dlmkit_strategies.transfer import Threshold, TopK
from tests.core.runs import run
from tests.strategies.steps import INFO, MASK, PROMPT, canvas_of, proposing, view_of

PROMPTS = [[3, 1, 4], [1, 5, 9, 2, 6], [5]]
STOP, OTHER = 7, 3


def decode(blocks, *, transfer=None, network=None, gen_length=12, prompts=PROMPTS, **slots):
    """Decode with a confident rule; return rows, records and the session."""
    pipeline = Denoise(
        blocks=blocks,
        sample=Greedy(),
        confidence=Probability(),
        transfer=transfer or Threshold(threshold=0.3),
        **slots,
    )
    return run(pipeline, network or toy_network(), prompts, gen_length)


def adablock_oracle(guesses, start, region, *, threshold, length, share):
    """Where the block ends, by the published loop over one row."""
    window = min(int(share * region), region - start)
    best, end = -1.0, None
    for place in range(start, start + window):
        token, probability = guesses[place]
        if token == STOP and probability > best:
            best, end = probability, place + 1
    if end is not None and best >= threshold:
        return end
    return min(start + length, region)


@given(
    guesses=st.lists(
        st.tuples(st.sampled_from((STOP, OTHER)), st.sampled_from((0.2, 0.4, 0.6))),
        min_size=10,
        max_size=10,
    ),
    start=st.integers(0, 9),
    threshold=st.sampled_from((0.3, 0.5, 0.9)),
    length=st.integers(1, 6),
    share=st.sampled_from((0.25, 0.5, 1.0)),
)
@settings(deadline=None)
def test_a_block_ends_behind_its_surest_delimiter(guesses, start, threshold, length, share):
    """As the published loop has it, ties to the first."""
    rule = DelimiterBlocks(delimiters=(STOP,), threshold=threshold, length=length, share=share)
    canvas = canvas_of([[OTHER] * start + [None] * (10 - start)])
    count = INFO.vocab_size
    logits_BPV = torch.zeros(1, 10, count, dtype=torch.float64)
    for place, (token, p) in enumerate(guesses):
        logits_BPV[0, place] = torch.log(torch.tensor((1 - p) / (count - 1)))
        logits_BPV[0, place, token] = torch.log(torch.tensor(p))
    view = proposing(
        view_of(canvas, block=rule.current(canvas)), [[p for _, p in guesses]], logits_BPV
    )
    expected = adablock_oracle(guesses, start, 10, threshold=threshold, length=length, share=share)
    found = rule.end(view.proposal.prediction, view).minimum(view.block.stop_B)
    assert [PROMPT + expected] == found.tolist()


@pytest.mark.parametrize("length", [3, 4, 12])
def test_without_a_delimiter_blocks_are_fixed(length):
    """AdaBlock with a threshold above 1 is the fixed schedule, pass by pass."""
    fixed = FixedBlocks(length=length, partial=True)
    never = DelimiterBlocks(delimiters=(STOP,), threshold=1.1, length=length)
    one, other = decode(fixed), decode(never)
    assert one[0] == other[0]
    assert [each.changes() for each in one[1]] == [each.changes() for each in other[1]]


@pytest.mark.parametrize("size", [2, 5])
def test_a_policy_with_one_size_is_the_fixed_schedule(size):
    """There is nothing to choose from."""
    one = decode(FixedBlocks(length=size, partial=True))
    other = decode(PolicyBlocks(sizes=(size,)))
    assert one[0] == other[0]
    assert len(one[1]) == len(other[1])


def test_commits_stay_inside_the_chosen_block():
    """A row decides nothing behind the end of its block, and moves on when it is full."""
    blocks = DelimiterBlocks(delimiters=tuple(range(0, 24, 3)), threshold=0.05, length=4, share=0.5)
    rows, records, _ = decode(blocks, transfer=TopK(k=1), prompts=[[3, 1, 4]])
    widths, seen = [], 0
    for record in records:
        start, stop = int(record.block.start_B), int(record.block.stop_B)
        assert all(start <= change.position < stop for change in record.changes())
        if start >= seen:
            widths.append(stop - start)
            seen = stop
    assert 12 == sum(widths)
    assert len(set(widths)) > 1
    assert MASK not in rows[0]


def test_rows_choose_for_themselves():
    """A row's blocks do not depend on its neighbours."""
    blocks = DelimiterBlocks(delimiters=tuple(range(0, 24, 3)), threshold=0.05, length=4, share=0.5)
    together = decode(blocks)[0]
    assert together == [decode(blocks, prompts=[prompt])[0][0] for prompt in PROMPTS]


def test_a_prefix_cache_follows_the_chosen_blocks():
    """What lies before the block is read, the rest is computed."""
    blocks = DelimiterBlocks(delimiters=tuple(range(0, 24, 3)), threshold=0.05, length=4, share=0.5)
    rows, records, session = decode(blocks, cache=Prefix(), prompts=[[3, 1, 4]])
    assert MASK not in rows[0]
    assert session.counts.fed_positions < len(records) * 15


def policy(tmp_path, beside=None, **tensors):
    """A policy for sizes 2 and 3 that takes the larger one where the next entropy is high."""
    whole = {
        "W1": torch.tensor([[1.0, 0.0, 0.0]]),
        "b1": torch.zeros(1),
        "W2": torch.tensor([[-1.0], [1.0]]),
        "b2": torch.tensor([1.0, -1.0]),
    }
    file = tmp_path / "policy.safetensors"
    save_file(whole | tensors, file, beside)
    return PolicyBlocks(sizes=(3, 2), weights=str(file))


@pytest.mark.parametrize(("sharpness", "size"), [(60.0, 2), (0.0, 3)])
def test_a_policy_reads_entropies(tmp_path, sharpness, size):
    """Its two layers, by hand: sizes are rated 1 - h and h - 1, where h is the first entropy."""
    rule = policy(tmp_path)
    canvas = canvas_of([[None] * 5])
    logits_BPV = torch.zeros(1, 5, INFO.vocab_size)
    logits_BPV[..., STOP] = sharpness
    view = proposing(view_of(canvas, block=rule.current(canvas)), [[0.5] * 5], logits_BPV)
    assert [PROMPT + size] == rule.end(view.proposal.prediction, view).tolist()


def test_a_policy_that_does_not_fit_is_refused(tmp_path):
    """With the shapes that it has and needs; so is one that cannot be read."""
    wrong = policy(tmp_path, W2=torch.zeros(3, 1))
    with pytest.raises(RequestError, match="but these sizes need"):
        decode(wrong)
    with pytest.raises(RequestError, match="cannot be read"):
        decode(PolicyBlocks(sizes=(2, 3), weights=str(tmp_path / "none.safetensors")))


def test_check_refuses_weights_that_do_not_fit(tmp_path):
    """At the option, before a model is loaded (C10: block sizes)."""
    file = policy(tmp_path).weights
    with pytest.raises(SpecError, match="but these sizes need") as caught:
        load_spec("ctrldiff", [f"pipeline.blocks={{use: policy, sizes: [2, 4], weights: {file}}}"])
    (problem,) = caught.value.problems
    assert "give the sizes that the policy was trained for" == problem.hint


def test_weights_tell_what_they_were_trained_beside(tmp_path):
    """C10: another confidence or length is warned about, what agrees or is no slot is not."""
    beside = {"format": "pt", "confidence": "entropy", "sample": "greedy", "gen_length": "64"}
    file = policy(tmp_path, beside | {"revise": "none", "model": "llada"}).weights
    blocks = f"pipeline.blocks={{use: policy, sizes: [2, 3], weights: {file}}}"
    found = load_spec("ctrldiff", [blocks, "gen_length=60"]).warnings
    what = "the weights of blocks 'policy' were trained with"
    assert {
        f"{what} confidence entropy, and here it is probability",
        f"{what} gen_length 64, and here it is 60",
    } == {each.message for each in found}
    assert {("C10", "--set #1:1:17")} == {(each.check, str(each.mark)) for each in found}
    assert "set gen_length to 64" in found[-1].hint or "set confidence" in found[-1].hint


def test_blocks_that_choose_their_end_do_not_go_with_planned_steps():
    """A time grid spreads its steps over a block whose masks it knows."""
    grid = "pipeline.blocks={use: adablock, delimiters: [3]}"
    with pytest.raises(SpecError, match="chooses block ends in their first step"):
        load_spec("dream-entropy", [grid])
    assert load_spec("fast-dllm", [grid])
