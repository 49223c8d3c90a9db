"""Prompts: text to ids, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlmkit.builtin.tokenizer import CHAT_TEMPLATE, builtin_tokenizer
from dlmkit.errors import RequestError
from dlmkit.models.chat import ChatTemplate
from dlmkit.models.tokenizer import Tokenizer
from dlmkit.prompts import check_prompts, encode
from dlmkit.testing.toy import toy_network

PLAIN = Tokenizer(builtin_tokenizer())
CHAT = Tokenizer(builtin_tokenizer(), chat=ChatTemplate(CHAT_TEMPLATE, "test"))
MASK = builtin_tokenizer().token_to_id("<|mask|>")


def ids(prompt: str, mode: str, tokenizer: Tokenizer = PLAIN) -> list[int]:
    return encode([prompt], tokenizer, MASK, mode)[0]


def test_auto_is_chat_where_there_is_a_template():
    """And plain text where there is none."""
    assert ids("copy: 1", "chat", CHAT) == ids("copy: 1", "auto", CHAT)
    assert ids("copy: 1", "plain") == ids("copy: 1", "auto")
    assert ids("copy: 1", "plain", CHAT) != ids("copy: 1", "auto", CHAT)


def test_chat_without_a_template_is_refused():
    """Never a silent fallback."""
    with pytest.raises(RequestError, match="no chat template"):
        ids("copy: 1", "chat")


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_a_gap_becomes_as_many_masks_as_it_says(lengths):
    """The text around it is encoded as it stands."""
    prompt = "".join(f"a<mask*{length}>" for length in lengths)
    expected = [token for length in lengths for token in [*ids("a", "plain"), *[MASK] * length]]
    assert expected == ids(prompt, "infill")


def test_a_gap_without_a_number_is_one_mask():
    """The short form."""
    assert ids("a<mask*1>b", "infill") == ids("a<mask>b", "infill")


@pytest.mark.parametrize("mode", ["chat", "plain", "auto"])
@pytest.mark.parametrize("prompt", ["a <mask> b", "a <mask*3> b", "a <|mask|> b"])
def test_masks_are_refused_unless_they_are_to_be_filled(mode, prompt):
    """The hint names the mode that fills them."""
    with pytest.raises(RequestError, match="contains the mask token") as refused:
        ids(prompt, mode, CHAT)
    assert "--infill" in str(refused.value)


@pytest.mark.parametrize(
    ("prompts", "mode", "message"),
    [
        ([], "plain", "no prompt was given"),
        (["a", " \n"], "plain", "prompt 2 is empty"),
        (["a b"], "infill", "prompt 1 has no gap to fill"),
        (["<mask*0>"], "infill", "a gap cannot have 0 tokens"),
        (["<mask*100001>"], "infill", "a gap cannot have 100001 tokens"),
    ],
)
def test_unusable_prompts_are_refused_by_number(prompts, mode, message):
    """Counted from 1."""
    with pytest.raises(RequestError, match=message):
        encode(prompts, PLAIN, MASK, mode)


def test_a_prompt_that_just_fits_is_accepted():
    """Prompt and answer together may fill the context."""
    info = toy_network().info
    check_prompts([[0] * (info.max_positions - 8)], 8, info)


def test_a_prompt_that_does_not_fit_is_refused_with_what_would():
    """One token too many, and a hopeless case."""
    info = toy_network().info
    with pytest.raises(RequestError, match="set gen_length to at most 7"):
        check_prompts([[0], [0] * (info.max_positions - 7)], 8, info)
    with pytest.raises(RequestError, match="shorten the prompt"):
        check_prompts([[0] * info.max_positions], 8, info)


@pytest.mark.parametrize("prompt", [[], [MASK, 3]])
def test_a_shifted_model_cannot_decode_the_first_token(prompt):
    """Its rows predict the token after them, so nothing predicts the first."""
    info = toy_network(logit_shift=1, vocabulary=MASK + 1).info
    assert info.mask_id == MASK
    with pytest.raises(RequestError, match="first token of prompt 1"):
        check_prompts([prompt], 8, info)
    check_prompts([prompt], 8, toy_network(vocabulary=MASK + 1).info)
