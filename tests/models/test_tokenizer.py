"""Tokenizers are built from data files, round-trip text, and tell which token is the mask."""

from __future__ import annotations

import json

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

from dlmkit.errors import ModelError, RequestError
from dlmkit.models.family import FamilyDefaults
from dlmkit.models.tokenizer import load_tokenizer
from dlmkit_strategies.families import Dream, Llada

SPECIAL = ["<|startoftext|>", "<|endoftext|>", "<|start_header_id|>", "<|end_header_id|>"]
TEXTS = ["Good morning to you, user and assistant! The answer is 42.\n\n"] * 3


def byte_level(special):
    core = tokenizers.Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator(TEXTS, trainer)
    return core


@pytest.fixture(scope="module")
def llada_folder(tmp_path_factory):
    """A tokenizer that, like LLaDA's, puts a start token before every text."""
    folder = tmp_path_factory.mktemp("llada")
    core = byte_level([*SPECIAL, "<|eot_id|>", "<|mdm_mask|>"])
    core.post_processor = processors.TemplateProcessing(
        single="<|startoftext|> $A", special_tokens=[("<|startoftext|>", 0)]
    )
    core.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module")
def dream_folder(tmp_path_factory):
    """The older pair of files, without added tokens."""
    folder = tmp_path_factory.mktemp("dream")
    model = json.loads(byte_level([]).to_str())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    lines = (" ".join(pair) for pair in model["merges"])
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(lines) + "\n")
    table = {str(len(model["vocab"]) + i): {"content": token} for i, token in enumerate(ADDED)}
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"added_tokens_decoder": table, "mask_token": "<|mask|>"})
    )
    return folder


ADDED = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|beginoftext|>", "<|mask|>")


@pytest.mark.parametrize("kind", ["llada", "dream"])
@settings(max_examples=40, deadline=None)
@given(text=st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cn", "M"])))
def test_text_survives_the_round_trip(request, kind, text):
    """Bytes in, the same bytes out (Dream's files bring text into Unicode form NFC first)."""
    from unicodedata import normalize

    folder = request.getfixturevalue(f"{kind}_folder")
    tokenizer = load_tokenizer(folder, (Llada if kind == "llada" else Dream).defaults)
    expected = normalize("NFC", text) if kind == "dream" else text
    assert expected == tokenizer.decode(tokenizer.encode(text))


def test_a_rendered_template_gets_no_second_start_token(llada_folder):
    """The template begins with the start token, so encoding it adds none."""
    tokenizer = load_tokenizer(llada_folder, Llada.defaults)
    ids = tokenizer.encode_chat([{"role": "user", "content": "42"}])
    start, head, tail = (tokenizer.token_id(SPECIAL[i]) for i in (0, 2, 3))
    user, assistant, blank, text, answer = (
        tokenizer.encode(part, special_tokens=False)
        for part in ("user", "assistant", "\n\n", "\n\n42", "42")
    )
    eot = tokenizer.token_id("<|eot_id|>")
    expected = [start, head, *user, tail, *text, eot, head, *assistant, tail, *blank]
    assert expected == ids
    assert [start, *answer] == tokenizer.encode("42")


def test_special_tokens_are_left_out_of_text_unless_asked_for(llada_folder):
    """Decoding shows them on request."""
    tokenizer = load_tokenizer(llada_folder, Llada.defaults)
    ids = tokenizer.encode("hi")
    assert ("hi", "<|startoftext|>hi") == (
        tokenizer.decode(ids),
        tokenizer.decode(ids, special_tokens=True),
    )


def test_an_added_token_named_like_a_mask_is_found(llada_folder):
    """LLaDA declares no mask token, but has one."""
    tokenizer = load_tokenizer(llada_folder, Llada.defaults)
    assert (5, "tokenizer: added token <|mdm_mask|>") == tokenizer.declared_mask


def test_the_declared_mask_token_comes_first(dream_folder):
    """`mask_token` in the tokenizer's config."""
    tokenizer = load_tokenizer(dream_folder, Dream.defaults)
    mask_id = tokenizer.token_id("<|mask|>")
    assert (mask_id, "tokenizer: mask_token <|mask|>") == tokenizer.declared_mask
    assert tokenizer.vocab_size == mask_id + 1


def test_digits_stand_alone_in_the_qwen_vocabulary(dream_folder):
    """The pattern never lets a merge join two digits or a word and its neighbour."""
    tokenizer = load_tokenizer(dream_folder, Dream.defaults)
    tokens = [tokenizer.token(token_id) for token_id in tokenizer.encode("42")]
    assert ["4", "2"] == tokens


def test_an_incomplete_vocabulary_is_noticed(dream_folder, tmp_path):
    """Added tokens must land on the ids that the files state."""
    for file in ("vocab.json", "merges.txt"):
        (tmp_path / file).write_bytes((dream_folder / file).read_bytes())
    with pytest.raises(ModelError, match=r"'<\|endoftext\|>' must have id 151643"):
        load_tokenizer(tmp_path, Dream.defaults)


def test_a_folder_without_tokenizer_files_has_none(tmp_path):
    """A network can still be called with ids."""
    assert load_tokenizer(tmp_path, Llada.defaults) is None


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"tokenizer.json": "{}"}, "is not a tokenizer"),
        ({"vocab.json": "{}"}, "no merges.txt"),
        ({"vocab.json": '{"a": 0}', "merges.txt": "a b"}, "do not fit together"),
        ({"vocab.json": '{"a": 0}', "merges.txt": "ab"}, "do not fit together"),
        ({"tokenizer_config.json": "["}, "cannot read"),
    ],
)
def test_damaged_files_are_named(tmp_path, files, message):
    """What is broken, and what to do."""
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ModelError, match=message) as caught:
        load_tokenizer(tmp_path, Dream.defaults)
    assert caught.value.hint


def test_a_mask_token_outside_the_vocabulary_is_an_error(llada_folder, tmp_path):
    """Declared, but not there."""
    (tmp_path / "tokenizer.json").write_bytes((llada_folder / "tokenizer.json").read_bytes())
    (tmp_path / "tokenizer_config.json").write_text('{"mask_token": "<none>"}')
    with pytest.raises(ModelError, match="declares mask_token '<none>'"):
        load_tokenizer(tmp_path, Llada.defaults)


def test_without_template_a_chat_cannot_be_encoded(llada_folder):
    """The way out is plain text."""
    with pytest.raises(RequestError, match="no chat template"):
        load_tokenizer(llada_folder, FamilyDefaults()).encode_chat([])
