"""The built-in tokenizer: any text, exactly, with digits apart."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import Environment
from tokenizers import Tokenizer

from dlmkit.builtin import tokenizer as module
from dlmkit.builtin.tasks import MASK, TASKS, draw
from dlmkit.builtin.tasks.words import BOYS, GIRLS, LIST_WORDS, OBJECTS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tokenizer as it is written beside weights."""
    path = tmp_path_factory.mktemp("tokenizer")
    module.write_tokenizer(module.builtin_tokenizer(), path)
    return path


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    """That tokenizer, read back."""
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


@given(text=st.text())
@settings(deadline=None)
def test_any_text_survives_encoding(tokenizer: Tokenizer, text: str) -> None:
    """Decoding gives back exactly what was encoded."""
    assert text == tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False)


@given(number=st.integers(min_value=0))
@settings(deadline=None)
def test_every_digit_is_a_token_of_its_own(tokenizer: Tokenizer, number: int) -> None:
    """Numbers are read digit by digit."""
    assert list(str(number)) == tokenizer.encode(str(number)).tokens


def test_no_token_joins_a_digit_with_anything(tokenizer: Tokenizer) -> None:
    """Digits occur in the vocabulary only alone."""
    assert [t for t in tokenizer.get_vocab() if len(t) > 1 and any(map(str.isdigit, t))] == []


def test_words_of_the_tasks_are_single_tokens(tokenizer: Tokenizer) -> None:
    """A word after a space is one token, so that one mask stands for one word."""
    words = {*BOYS, *GIRLS, *LIST_WORDS, *OBJECTS}
    assert set() == {word for word in words if len(tokenizer.encode(f" {word}").ids) > 1}


def test_a_mask_stands_for_one_token_of_the_answer(tokenizer: Tokenizer) -> None:
    """An infilling prompt and its answer have the same number of tokens."""
    for example in islice(draw(TASKS["infill"], "test", held_out=False), 100):
        assert len(tokenizer.encode(example.answer)) == len(tokenizer.encode(example.prompt))


def test_learning_the_merges_anew_gives_a_tokenizer_of_the_same_kind() -> None:
    """The recipe is kept with the file: same special tokens, words whole, digits apart."""
    learnt = module.train_tokenizer()
    tokens = ["<|user|>", "copy", ":", "Ġ", "1", "2", "Ġapple", "<|assistant|>"]
    assert tokens == learnt.encode(module.chat_prompt("copy: 12 apple")).tokens


def test_special_tokens_are_declared(folder: Path, tokenizer: Tokenizer) -> None:
    """End of text, padding and mask are named where loaders look for them."""
    config = json.loads((folder / "tokenizer_config.json").read_text())
    assert (
        config["eos_token"],
        config["pad_token"],
        config["mask_token"],
    ) == (module.EOS, module.EOS, MASK)
    for token in (module.EOS, module.USER, module.ASSISTANT, MASK):
        assert [token] == tokenizer.encode(token).tokens


def test_the_chat_template_is_what_training_used() -> None:
    """One user message through the template is the prompt that the models know."""
    template = Environment(autoescape=False).from_string(module.CHAT_TEMPLATE)  # noqa: S701 - plain text
    messages = [{"role": "user", "content": "copy: 1 2"}]
    rendered = template.render(messages=messages, add_generation_prompt=True)
    assert module.chat_prompt("copy: 1 2") == rendered


def test_an_unknown_special_token_is_an_error() -> None:
    """Asking a foreign tokenizer for our tokens fails clearly."""
    with pytest.raises(ValueError, match="no token"):
        module.special_id(module.builtin_tokenizer(), "<|nothing|>")
