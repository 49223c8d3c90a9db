"""Length controllers against slow oracles that edit lists of tokens."""

from __future__ import annotations

import math

import attrs
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.denoise import Denoise
from dlmkit.passes.session import Session
from dlmkit.spec import load_spec
from dlmkit.testing.toy import toy_network
from dlmkit_strategies.confidence import Probability
from dlmkit_strategies.lengths import Daedal, EndOfTextCut, ExpandDelete
from dlmkit_strategies.sample import Greedy
from dlmkit_strategies.transfer import Threshold, TopK
from tests.strategies.steps import INFO, MASK, PROMPT, canvas_of, proposing, view_of

END = INFO.eos_ids[0]
OTHER = 3


def predicting(canvas, guesses, *, strategy=None, step=1, block=None):
    """A view in which each position predicts a token with a probability, `(token, p)` by row."""
    count = INFO.vocab_size
    logits_BPV = torch.full((len(guesses), len(guesses[0]), count), -30.0, dtype=torch.float64)
    for row, each in enumerate(guesses):
        for place, (token, probability) in enumerate(each):
            rest = (1 - probability) / (count - 2)
            logits_BPV[row, place] = math.log(max(rest, 1e-12))
            logits_BPV[row, place, MASK] = -40.0
            logits_BPV[row, place, token] = math.log(probability)
    facts = {"step": step} | ({"block": block} if block else {})
    view = view_of(canvas, strategy=strategy, **facts)
    rated = [[p for _, p in row] for row in guesses]
    return proposing(view, rated, logits_BPV)


def resized(controller, view):
    """What the controller does to each row, as `(inserted behind, deleted)` by generated offset."""
    resize = controller.resize(view.proposal.prediction, view)
    insert = resize.insert_BN[:, PROMPT:].tolist()
    delete = (resize.delete_BN & view.canvas.inside_BN)[:, PROMPT:].nonzero().tolist()
    inserted = [{place: n for place, n in enumerate(row) if n} for row in insert]
    return [(inserted[row], [p for r, p in delete if r == row]) for row in range(len(insert))]


@pytest.mark.parametrize(
    ("guesses", "least", "deleted"),
    [
        ([(OTHER, 0.9), (END, 0.4), (END, 0.6), (OTHER, 0.9)], 0.0, [3]),
        ([(OTHER, 0.9), (END, 0.6), (END, 0.6), (OTHER, 0.9)], 0.0, [2, 3]),
        ([(OTHER, 0.9), (END, 0.4), (END, 0.6), (OTHER, 0.9)], 0.7, []),
        ([(OTHER, 0.9)] * 4, 0.0, []),
    ],
)
def test_a_row_is_cut_behind_its_surest_end(guesses, least, deleted):
    """Ties go to the first position; no candidate, no cut."""
    view = predicting(canvas_of([[None] * 4]), [guesses])
    assert [({}, deleted)] == resized(EndOfTextCut(min_confidence=least), view)


def test_a_decided_end_cuts_nothing():
    """Except in the step that decides it."""
    canvas = canvas_of([[END, None, None]])
    view = predicting(canvas, [[(END, 0.9), (OTHER, 0.9), (OTHER, 0.9)]], step=1)
    assert [({}, [])] == resized(EndOfTextCut(), view)
    just_now = attrs.evolve(view, step=0)
    assert [({}, [1, 2])] == resized(EndOfTextCut(), just_now)


def test_nothing_is_cut_before_given_text():
    """In infilling, text behind the gap stays where it is."""
    canvas = Canvas.create([[1, 1, MASK, MASK, 7, MASK, MASK]], 0, MASK, infill=True)
    view = predicting(canvas, [[(END, 0.9), (END, 0.9), (7, 0.9), (END, 0.5), (OTHER, 0.9)]])
    assert [({}, [4])] == resized(EndOfTextCut(), view)


def daedal_oracle(rule, tokens, guesses):
    """The rule as loops over one row: `(waits, inserted)`."""
    ending = [p for (token, p) in guesses if token == END][-rule.window :]
    end = sum(ending) / rule.window
    room = len(tokens) + rule.grow <= rule.limit
    if all(token is None for token in tokens) and end < rule.enough and room:
        return True, {len(tokens) - 1: rule.grow}
    masked = [(p, place) for place, (_, p) in enumerate(guesses) if tokens[place] is None]
    if masked and min(masked)[0] < rule.unsure and end < rule.ended and room:
        return False, {min(masked)[1]: rule.grow - 1}
    return False, {}


PROBABILITIES = st.sampled_from((0.06, 0.3, 0.55, 0.95))


@given(
    tokens=st.lists(st.sampled_from((None, None, 5)), min_size=5, max_size=5),
    guesses=st.lists(
        st.tuples(st.sampled_from((END, OTHER)), PROBABILITIES), min_size=5, max_size=5
    ),
    window=st.integers(1, 4),
    limit=st.sampled_from((6, 12)),
)
def test_daedal_is_its_description(tokens, guesses, window, limit):
    """Waiting, appending and inserting, with the end confidence over a window."""
    rule = Daedal(grow=3, limit=limit, window=window, enough=0.5, ended=0.7, unsure=0.1)
    view = predicting(canvas_of([tokens]), [guesses])
    waits, inserted = daedal_oracle(rule, tokens, guesses)
    assert [waits] == rule.waits(view.proposal.prediction, view).tolist()
    assert [(inserted, [])] == resized(rule, view)


def decode(length, transfer, *, gen_length, prompts=((1, 2), (3,))):
    """Decode on the toy network; return rows, records and the final canvas."""
    network = toy_network()
    pipeline = Denoise(sample=Greedy(), confidence=Probability(), transfer=transfer, length=length)
    canvas = Canvas.create(prompts, gen_length, network.info.mask_id)
    records = list(pipeline.steps(Context({"main": Session(network)}), canvas))
    pairs = zip(canvas.tokens_BN.tolist(), canvas.length_B.tolist(), strict=True)
    return [row[:end] for row, end in pairs], records, canvas


def test_daedal_grows_to_its_limit_and_no_further():
    """A network that never sees an end fills the room it is given, then decodes."""
    rows, _, canvas = decode(
        Daedal(grow=4, limit=16, enough=1.0, unsure=0.0), Threshold(threshold=0.9), gen_length=4
    )
    assert [16, 16] == (canvas.length_B - canvas.start_B).tolist()
    assert all(MASK not in row for row in rows)


def expanded(row, new, *, left):
    """One row with its new tokens carried out, as a list; None is a mask."""
    out = []
    for place, token in enumerate(row):
        if place in new and token == OTHER:
            out += [None, None] if left > 0 else []
            left -= 1
        elif not (place in new and token == END):
            out.append(token)
    return out


@given(
    tokens=st.lists(st.sampled_from((None, OTHER, END, 7)), min_size=6, max_size=6),
    new=st.sets(st.integers(0, 5)),
    limit=st.integers(4, 9),
    expansions=st.integers(0, 3),
)
def test_expand_and_delete_do_what_editing_a_list_does(tokens, new, limit, expansions):
    """First come, first served; nothing that was decided earlier is edited."""
    rule = ExpandDelete(expand=OTHER, limit=limit, expansions=expansions)
    canvas = canvas_of([tokens])
    steps = torch.tensor([[4 if place in new else 0 for place in range(6)]], dtype=torch.int32)
    decided_BN = canvas.commit_step_BN[:, PROMPT:] >= 0
    canvas.commit_step_BN[:, PROMPT:] = torch.where(decided_BN, steps, -1)
    view = predicting(canvas, [[(7, 0.5)] * 6], strategy=rule, step=4)
    ((inserted, deleted),) = resized(rule, view)
    after = []
    for place, token in enumerate(tokens):
        after += [] if place in deleted else [token]
        after += [None] * inserted.get(place, 0)
    assert expanded(tokens, new, left=min(limit - 6, expansions)) == after


def test_expansions_are_counted_over_the_whole_decode():
    """A network that always expands ends when its expansions are used up."""

    @attrs.frozen
    class Expanding(Greedy):
        name = "expanding"

        def propose(self, prediction, view):
            return torch.full_like(view.positions_BP, OTHER)

    network = toy_network()
    pipeline = Denoise(
        sample=Expanding(),
        confidence=Probability(),
        transfer=TopK(),
        length=ExpandDelete(expand=OTHER, expansions=3, limit=20),
    )
    canvas = Canvas.create([(1, 2)], 2, MASK)
    records = list(pipeline.steps(Context({"main": Session(network)}), canvas))
    laid_out = [(record.laid_out, record.before_BN.shape[1]) for record in records]
    grown = [each for each, before in laid_out if each and each.length_B[0] > before]
    assert 3 == len(grown)
    assert OTHER not in canvas.tokens_BN[0, PROMPT + 1 :].tolist()


@pytest.mark.parametrize(
    ("length", "cache", "found"),
    [
        ("daedal", "{use: prefix}", "C7"),
        ("{use: expand-delete, expand: 5}", "{use: dual}", "C7"),
        ("eotp", "prompt", None),
    ],
)
def test_caches_go_with_cuts_only(length, cache, found):
    """What moves positions is refused beside what stores by position."""
    text = f"""dlmkit: pipeline/1
name: both
gen_length: 64
pipeline:
  blocks: {{use: fixed, length: 32}}
  sample: greedy
  confidence: probability
  cache: {cache}
  transfer: {{use: threshold, threshold: 0.9}}
  length: {length}
"""
    if found is None:
        assert load_spec(text)
        return
    with pytest.raises(Exception, match="may move positions, but cache"):
        load_spec(text)


def test_planned_steps_do_not_go_with_insertions():
    """A time grid must know how many masks a block starts with."""
    with pytest.raises(Exception, match="may insert masks, but transfer rule 'time-grid'"):
        load_spec("dream-entropy", ["pipeline.length=daedal"])
    assert load_spec("dream-entropy", ["pipeline.length=eotp"])
