"""Constraints allow what some completion uses, and the finished text always matches."""

from __future__ import annotations

import json
import re
from itertools import product

import attrs
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dlmkit
from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.denoise import Denoise
from dlmkit.errors import RequestError, StrategyError
from dlmkit.passes.session import Session
from dlmkit.spec import SpecError, load_spec
from dlmkit.testing.toy import toy_network, toy_tokenizer
from dlmkit_strategies.blocks import FixedBlocks
from dlmkit_strategies.byte_automaton import byte_automaton
from dlmkit_strategies.confidence import Probability
from dlmkit_strategies.constraints import Matching, MatchingBundle, MatchingGuard
from dlmkit_strategies.sample import Categorical, Greedy
from dlmkit_strategies.transfer import Threshold, TopK
from tests.strategies.steps import INFO, MASK, canvas_of, fresh, view_of

pytest.importorskip("outlines_core", reason="the extra `constraints` is not installed")
pytest.importorskip("interegular", reason="the extra `constraints` is not installed")

END = INFO.eos_ids[0]
PATTERNS = ("[a-c]*", "(ab|ba)*c?", "a+b*", "c?a{2}[bc]*", "(a|bc){1,3}", "abcab", "b|ac|cab|")


def text_of(tokens):
    """Letters up to the first end token; None where something else stands before it."""
    letters = []
    for number, token in enumerate(tokens):
        if token == END:
            return "".join(letters) if all(t == END for t in tokens[number:]) else None
        letters.append(chr(ord("a") + token))
    return "".join(letters)


def matches(pattern, tokens):
    """Whether a finished row matches."""
    text = text_of(tokens)
    return text is not None and re.fullmatch(pattern, text) is not None


def possible(pattern, row):
    """Every way to fill the gaps of a row, None, so that it matches, over a few letters."""
    choices = [(0, 1, 2, END) if token is None else (token,) for token in row]
    return [filled for filled in product(*choices) if matches(pattern, filled)]


@given(
    pattern=st.sampled_from(PATTERNS),
    row=st.lists(st.sampled_from((None, None, None, 0, 1, 2, END)), min_size=1, max_size=5),
)
@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
def test_allowed_is_what_some_completion_uses(pattern, row):
    """At each gap, exactly the tokens that stand there in a completion that matches."""
    view = attrs.evolve(view_of(canvas_of([row])), step=1)
    logits_BPV = torch.zeros(1, len(row), INFO.vocab_size)
    edited = Matching(pattern=pattern).edit(logits_BPV, view)
    completions = possible(pattern, row)
    for place, token in enumerate(row):
        allowed = set(edited[0, place].isfinite().nonzero()[:, 0].tolist())
        if token is not None or not completions:
            assert set(range(INFO.vocab_size)) == allowed
        else:
            assert {filled[place] for filled in completions} == allowed


def decode(pattern, prompts, gen_length, *, network=None, infill=False, seed=0, **slots):
    """Decode under a constraint; return the new tokens of each row."""
    network = network or toy_network()
    slots = {"sample": Greedy(), "confidence": Probability(), "transfer": TopK()} | slots
    pipeline = Denoise(**slots, **MatchingBundle(pattern=pattern).slots())
    canvas = Canvas.create(prompts, gen_length, MASK, infill=infill)
    list(pipeline.steps(Context({"main": Session(network)}, seed), canvas))
    rows = zip(
        canvas.tokens_BN.tolist(), canvas.start_B.tolist(), canvas.length_B.tolist(), strict=True
    )
    return [tokens[start:end] for tokens, start, end in rows]


RULES = (TopK(k=3), TopK(k=100), Threshold(threshold=0.0), Threshold(threshold=0.2))
SAMPLERS = (Greedy(), Categorical(temperature=1.0))


@given(
    pattern=st.sampled_from((*PATTERNS, "([a-f]b)+", "(abc|defg|hi)*")),
    gen_length=st.integers(5, 9),
    rule=st.sampled_from(RULES),
    sampler=st.sampled_from(SAMPLERS),
    blocks=st.sampled_from((None, FixedBlocks(length=3, partial=True))),
    weights=st.integers(0, 3),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
def test_the_finished_text_always_matches(
    pattern, gen_length, rule, sampler, blocks, weights, seed
):
    """However many tokens a step commits, from left to right or anywhere."""
    rows = decode(
        pattern,
        [[3, 1, 4], [1, 5, 9, 2, 6]],
        gen_length,
        network=toy_network(weights),
        transfer=rule,
        sample=sampler,
        blocks=blocks,
        seed=seed,
    )
    assert all(matches(pattern, row) for row in rows), rows


@given(
    pattern=st.sampled_from(PATTERNS),
    rule=st.sampled_from(RULES),
    data=st.data(),
)
@settings(deadline=None, max_examples=30, suppress_health_check=list(HealthCheck))
def test_given_text_between_gaps_is_kept_and_matched(pattern, rule, data):
    """The gaps are filled so that they fit what stands on both sides."""
    row = data.draw(st.lists(st.sampled_from((None, 0, 1, 2)), min_size=2, max_size=6))
    row = [None, *row]
    if not possible(pattern, row):
        return
    ids = [5, 5, *[MASK if token is None else token for token in row]]
    (found,) = decode(pattern, [ids], 0, infill=True, transfer=rule)
    assert matches(pattern, found)
    assert all(token in (None, new) for token, new in zip(row, found, strict=True))


def test_commits_that_cannot_stand_together_are_not_made_together():
    """Of `ab` and `ba`, both letters are possible at both places; the surer place decides."""
    logits = torch.full((1, 2, INFO.vocab_size), -9.0)
    logits[0, :, 0] = 0.0
    view = fresh([[0.6, 0.9]], logits)
    both_BP = torch.tensor([[True, True]])
    kept = MatchingGuard(pattern="ab|ba").guard(both_BP, view.proposal.confidence_BP, view)
    assert [[False, True]] == kept.tolist()
    together = MatchingGuard(pattern="ab|ba|aa").guard(both_BP, view.proposal.confidence_BP, view)
    assert [[True, True]] == together.tolist()


def test_what_no_text_of_that_length_matches_is_refused():
    """Before anything is decided; with the row."""
    with pytest.raises(RequestError, match="no text of 3 tokens matches the constraint of row 0"):
        decode("abcab", [[1, 2]], 3)


def test_a_model_without_tokenizer_is_refused():
    """A constraint is about text."""
    network = toy_network()
    network.info = attrs.evolve(network.info, tokenizer=None)
    with pytest.raises(StrategyError, match="the model has no tokenizer"):
        decode("a*", [[1, 2]], 3, network=network)


def test_a_token_may_end_inside_a_character():
    """Bytes are matched, as byte-level vocabularies need."""
    text = dlmkit.generate(
        "say",
        "fast-dllm",
        overrides=[
            "gen_length=8",
            "pipeline.blocks.partial=true",
            "pipeline.bundle={use: matching, pattern: é+}",
        ],
    )[0].text
    assert re.fullmatch("é+", text)


SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "ok": {"type": "boolean"}},
    "required": ["n", "ok"],
}


def test_a_schema_gives_json_of_that_form():
    """Every answer parses, and has the stated fields."""
    option = json.dumps({"use": "matching", "schema": json.dumps(SCHEMA)})
    answers = dlmkit.generate(
        ["sort: 5 2 9 1", "copy: 4 7"],
        "fast-dllm",
        overrides=["gen_length=32", f"pipeline.bundle={option}"],
    )
    for answer in answers:
        found = json.loads(answer.text)
        assert isinstance(found["n"], int)
        assert isinstance(found["ok"], bool)


HEAD = """dlmkit: pipeline/1
name: held
gen_length: 16
pipeline:
  sample: greedy
  confidence: probability
  transfer: top-k
"""


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("  bundle: matching\n", "give either `pattern` or `schema`"),
        ("  bundle: {use: matching, pattern: 'a(b'}\n", "cannot be used"),
        ("  bundle: {use: matching, pattern: '(a)\\1'}\n", "cannot be used"),
        ("  bundle: {use: matching, schema: '{'}\n", "the JSON schema cannot be used"),
        ("  bundle: {use: matching, pattern: a}\n  max_steps: 9\n", "after max_steps"),
        ("  bundle: {use: matching, pattern: a}\n  length: eotp\n", "length 'eotp' changes what"),
        (
            "  bundle: {use: matching, pattern: a}\n  exit: {use: settled}\n",
            "exit 'settled' changes what is committed",
        ),
    ],
)
def test_what_cannot_hold_is_refused_by_check(lines, message):
    """Before a model is loaded."""
    with pytest.raises(SpecError, match=re.escape(message)):
        load_spec(HEAD + lines)


@given(
    pattern=st.sampled_from(("[^a]*", ".é?", "[à-é]+|x", "(ab|é)*c", "[^\\x00-\\x7f]{1,2}", "a.c")),
    text=st.text(st.sampled_from("abcxéàè€😀\n"), max_size=5),
)
@settings(deadline=None)
def test_bytes_are_accepted_as_their_characters_are(pattern, text):
    """Python's own matcher is the oracle; characters that were not named count too."""
    machine, state = byte_automaton(pattern), 0
    for byte in text.encode("utf-8"):
        state = int(machine.next_QT[state, byte])
    assert bool(re.fullmatch(pattern, text)) == (state in machine.accepting)


def test_letters_of_the_toy_are_its_tokens():
    """So that the oracles above speak of the same texts."""
    assert [b"a", b"b", b"c"] == list(toy_tokenizer().spelling[:3])
