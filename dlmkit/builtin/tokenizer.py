"""The tokenizer of the built-in models: byte-level BPE with every digit a token of its own."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from dlmkit.builtin.tasks import MASK, TASKS, draw

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "ASSISTANT",
    "EOS",
    "USER",
    "builtin_tokenizer",
    "chat_prompt",
    "special_id",
    "train_tokenizer",
    "write_tokenizer",
]

EOS = "<|endoftext|>"
USER = "<|user|>"
ASSISTANT = "<|assistant|>"
VOCABULARY = 1024
SAMPLE = 20_000
"""Examples per task that the merges are learnt from."""

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}<|assistant|>{{ message['content'] }}<|endoftext|>"
    "{% else %}<|user|>{{ message['content'] }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def chat_prompt(text: str) -> str:
    """What the chat template makes of a single user message, generation prompt included."""
    return f"{USER}{text}{ASSISTANT}"


def special_id(tokenizer: Tokenizer, token: str) -> int:
    """The id of a special token; raises `ValueError` for a tokenizer that is not of this family."""
    token_id: int | None = tokenizer.token_to_id(token)
    if token_id is None:
        raise ValueError(f"the tokenizer has no token {token}")
    return token_id


def builtin_tokenizer() -> Tokenizer:
    """The tokenizer of all built-in models.

    It is kept as a file, because new merges would make the weights useless.
    """
    return Tokenizer.from_file(str(Path(__file__).parent / "tokenizer.json"))


def train_tokenizer() -> Tokenizer:
    """Learn new merges from a fixed sample of the training side of all tasks."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[EOS, USER, ASSISTANT, MASK],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_sample(), trainer)
    return tokenizer


def _sample() -> Iterator[str]:
    for task, generate in TASKS.items():
        for example in islice(draw(generate, f"tokenizer {task}", held_out=False), SAMPLE):
            if not example.whole_text:
                yield example.prompt
            yield example.answer


def write_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json` into a checkpoint folder."""
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": EOS,
        "pad_token": EOS,
        "mask_token": MASK,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 512,
        "chat_template": CHAT_TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
