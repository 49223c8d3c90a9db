"""Ids in another vocabulary: masks stay in place, nothing is invented, losses are counted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlmkit.builtin.tokenizer import builtin_tokenizer
from dlmkit.models.bpe import byte_level_bpe
from dlmkit.models.tokenizer import Tokenizer
from dlmkit_strategies.rewriting import Rewriter, Vocabulary

LETTERS = {letter: number for number, letter in enumerate("abcdĠ")}
"""`Ġ` is how byte-level vocabularies spell a space."""


def vocabulary(*merges: str, first: int = 0, end: str = "<end>") -> Vocabulary:
    """Letters, a space, the tokens that the merges make, an end and a mask."""
    tokens = {token: first + number for token, number in LETTERS.items()}
    for merge in merges:
        tokens[merge.replace(" ", "")] = first + len(tokens)
    end_id, mask_id = first + len(tokens), first + len(tokens) + 1
    fill = {f"<unused {number}>": number for number in range(first)}
    core = byte_level_bpe(
        tokens | fill, "\n".join(merges), r"\s?\w+|\s", {end: end_id, "<mask>": mask_id}
    )
    return Vocabulary(Tokenizer(core), mask_id, (end_id,))


FINE = vocabulary()
COARSE = vocabulary("a b", "c d", "Ġ ab", first=3, end="<stop>")
MASK = [COARSE.mask_id]
ROWS = st.lists(st.integers(0, 20), max_size=14)


def ids(side: Vocabulary, text: str) -> list[int]:
    """The ids of a text in which `_` is a mask and `$` the end."""
    special = {"_": side.mask_id, "$": side.end_ids[0]}
    found, run = [], ""
    for letter in f"{text}\0":
        if letter in special or letter == "\0":
            found += side.tokenizer.encode(run, special_tokens=False)
            found += [special[letter]] if letter in special else []
            run = ""
        else:
            run += letter
    return found


def shown(side: Vocabulary, tokens) -> str:
    """The inverse, with a bar between tokens."""
    special = {side.mask_id: "_", side.end_ids[0]: "$"}
    return "|".join(special.get(token) or side.text([token]) for token in tokens)


def test_masks_go_over_one_for_one() -> None:
    """Text around them takes as many tokens as it takes."""
    copy = Rewriter(FINE, COARSE).copy(ids(FINE, "ab__cd_$"))
    assert "a|b|_|_|c|d|_|$" == shown(COARSE, copy.ids)
    copy = Rewriter(COARSE, FINE).copy(ids(COARSE, "ab__cd_$"))
    assert "a|b|_|_|c|d|_|$" == shown(FINE, copy.ids)
    assert ((1, 2, 2), (4, 6, 1)) == copy.gaps
    assert 0 == copy.lost


@pytest.mark.parametrize(
    ("filled", "expected"),
    [
        ([*ids(COARSE, "ab"), *MASK], "a|_"),
        ([*MASK, *ids(COARSE, "ab")], "_|b"),
        ([*ids(COARSE, "ab")], "_"),
        ([*ids(COARSE, "d"), *ids(COARSE, "ab"), *ids(COARSE, "d")], "d|_|d"),
        ([*ids(COARSE, "d"), *ids(COARSE, "$")], "d|$"),
        ([*MASK, *MASK], "_|_"),
    ],
)
def test_text_that_needs_more_places_is_cut_beside_a_mask_and_masked_elsewhere(
    filled, expected
) -> None:
    """Nothing is pushed into its neighbours."""
    assert expected == shown(FINE, Rewriter(COARSE, FINE).fit(filled))


def test_fewer_tokens_leave_masks() -> None:
    """Two tokens of the source are one of the target; the other place is open again."""
    halves = Vocabulary(Tokenizer(builtin_tokenizer()), 3, (0,))
    words = vocabulary("a b")
    token = {text: halves.tokenizer.token_id(text) for text in "ab"}
    rewriter = Rewriter(halves, vocabulary_without(words, "a", "b"))
    assert "ab|_|_" == shown(words, rewriter.fit([token["a"], token["b"], 3]))
    assert "_|_|ab" == shown(words, rewriter.fit([3, token["a"], token["b"]]))
    assert "_|_" == shown(words, rewriter.fit([token["a"], token["b"]]))


def vocabulary_without(side: Vocabulary, *hidden: str) -> Vocabulary:
    """The vocabulary with tokens that nobody finds by their spelling."""

    class Hiding(Tokenizer):
        def token_id(self, token: str) -> int | None:
            return None if token in hidden else super().token_id(token)

    return Vocabulary(Hiding(side.tokenizer._core), side.mask_id, side.end_ids)


def test_special_tokens_without_a_twin_are_lost_not_spelled_out() -> None:
    """A start-of-turn mark is no text; it is counted."""
    source = Vocabulary(Tokenizer(builtin_tokenizer()), 3, (0,))
    copy = Rewriter(source, FINE).copy([1, *source.tokenizer.encode("ab"), 2, 0])
    assert "a|b|$" == shown(FINE, copy.ids)
    assert 2 == copy.lost


def test_bytes_that_are_no_text_are_lost() -> None:
    """Half a character cannot be written in a vocabulary that lacks its bytes."""
    source = Vocabulary(Tokenizer(builtin_tokenizer()), 3, (0,))
    euro = source.tokenizer.encode("€", special_tokens=False)
    rewriter = Rewriter(source, FINE)
    assert (FINE.mask_id,) * len(euro) == rewriter.fit(euro)
    assert len(euro[:1]) == rewriter.copy(euro[:1]).lost


def known(side: Vocabulary, numbers) -> list[int]:
    """Random ids of a vocabulary."""
    tokens = [token for token in range(side.mask_id + 1) if side.tokenizer.token(token)]
    return [tokens[number % len(tokens)] for number in numbers]


@given(ROWS)
def test_one_vocabulary_is_the_identity(numbers) -> None:
    """Every id, also where the tokenizer itself would have spelled the text otherwise."""
    row = [token for token in known(COARSE, numbers) if token >= 3]
    rewriter = Rewriter(COARSE, COARSE)
    assert (tuple(row), 0) == (rewriter.copy(row).ids, rewriter.copy(row).lost)
    assert tuple(row) == rewriter.fit(row)


@given(ROWS)
def test_there_and_back_again(numbers) -> None:
    """A finer vocabulary holds every text; masks and ends come back where they were."""
    row = [token for token in known(COARSE, numbers) if token >= 3]
    away = Rewriter(COARSE, FINE).copy(row)
    back = Rewriter(FINE, COARSE).copy(away.ids)
    assert 0 == away.lost == back.lost
    assert shown(COARSE, row).replace("|", "") == shown(COARSE, back.ids).replace("|", "")


@given(ROWS)
def test_masks_keep_their_number_and_order(numbers) -> None:
    """The gaps say where each run of them is on both sides."""
    row = known(COARSE, numbers)
    copy = Rewriter(COARSE, FINE).copy(row)
    masks = [place for place, token in enumerate(row) if token == COARSE.mask_id]
    there = [place for place, token in enumerate(copy.ids) if token == FINE.mask_id]
    assert masks == [home + i for home, _, length in copy.gaps for i in range(length)]
    assert there == [away + i for _, away, length in copy.gaps for i in range(length)]


@pytest.mark.parametrize(("source", "target"), [(FINE, COARSE), (COARSE, FINE), (COARSE, COARSE)])
@given(numbers=ROWS)
def test_nothing_is_invented(source, target, numbers) -> None:
    """What comes out is what went in, in order, with parts left out."""
    row = known(source, numbers)
    made = Rewriter(source, target).fit(row)
    assert len(row) == len(made)
    letters = iter(source.text(row))
    assert all(letter in letters for letter in target.text(made))
    for before, after in zip(row, made, strict=True):
        assert before != source.mask_id or after == target.mask_id
