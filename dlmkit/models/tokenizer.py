"""Tokenizers of checkpoints: data files only, whatever class the checkpoint would like to run."""

from __future__ import annotations

import json
import re
from functools import cached_property
from typing import TYPE_CHECKING, Any

import tokenizers

from dlmkit.errors import ModelError, RequestError
from dlmkit.models.bpe import byte_level_bpe
from dlmkit.models.chat import ChatTemplate, find_template, token_text
from dlmkit.models.config import read_json
from dlmkit.models.spelling import spelled_in_bytes, spelled_in_pieces

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dlmkit.models.family import FamilyDefaults

__all__ = ["Tokenizer", "load_tokenizer"]

_MASK_LIKE = re.compile(r"[<|\[]+(mdm_)?mask[>|\]]+", re.IGNORECASE)


class Tokenizer:
    """Text to token ids and back.

    `declared_mask` is the mask id that the files state, with the way they do; None if they
    do not.  `chat` is None where neither checkpoint nor family has a chat template.
    """

    def __init__(
        self,
        core: tokenizers.Tokenizer,
        *,
        chat: ChatTemplate | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        core.no_truncation()
        core.no_padding()
        self._core = core
        self.chat = chat
        self.declared_mask = _declared_mask(core, config or {})

    @property
    def vocab_size(self) -> int:
        """Number of tokens, added ones included; a network may have more rows than that."""
        return int(self._core.get_vocab_size(with_added_tokens=True))

    def encode(self, text: str, *, special_tokens: bool = True) -> list[int]:
        """Return the ids of a text.

        `special_tokens` adds what the tokenizer puts around every text (a start token, say);
        switch it off for text that already holds it, such as a rendered chat template.
        """
        return list(self._core.encode(text, add_special_tokens=special_tokens).ids)

    def decode(self, ids: Sequence[int], *, special_tokens: bool = False) -> str:
        """Return the text of ids; special tokens are left out unless asked for."""
        return str(self._core.decode(list(ids), skip_special_tokens=not special_tokens))

    def encode_chat(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Return the ids of a dialogue up to where the model's answer begins.

        Raises:
            RequestError: there is no chat template.
            ModelError: the template is broken or refuses the messages.
        """
        if self.chat is None:
            raise RequestError(
                "this model has no chat template", hint="give the prompt as plain text"
            )
        return self.encode(self.chat.render(messages), special_tokens=False)

    def save(self, folder: Path) -> None:
        """Write the tokenizer into a folder, from where `load_tokenizer` reads it without help."""
        (folder / "tokenizer.json").write_text(self._core.to_str(), "utf-8")
        config: dict[str, str | None] = {}
        if self.declared_mask is not None:
            config["mask_token"] = self.token(self.declared_mask[0])
        if self.chat is not None:
            config |= self.chat.tokens
            self.chat.save(folder)
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2), "utf-8")

    def token_id(self, token: str) -> int | None:
        """Return the id of a token given by its exact text, or None."""
        found: int | None = self._core.token_to_id(token)
        return found

    @cached_property
    def spelling(self) -> tuple[bytes | None, ...]:
        """What each token adds to a text, by id; None where that is nothing, or not known.

        Special tokens add nothing.  A token may end inside a character.
        """
        added = self._core.get_added_tokens_decoder()
        plain = json.loads(self._core.to_str())
        levels = json.dumps([plain.get("decoder"), plain.get("pre_tokenizer")])
        by_bytes = "ByteLevel" in levels
        found: list[bytes | None] = []
        for token_id in range(self.vocab_size):
            text, known = self.token(token_id), added.get(token_id)
            if text is None or (known is not None and known.special):
                found.append(None)
            elif known is not None:
                found.append(text.encode("utf-8"))
            else:
                found.append(spelled_in_bytes(text) if by_bytes else spelled_in_pieces(text))
        return tuple(found)

    def token(self, token_id: int) -> str | None:
        """Return the text of one token as the vocabulary spells it, or None."""
        found: str | None = self._core.id_to_token(token_id)
        return found


def load_tokenizer(folder: Path, defaults: FamilyDefaults) -> Tokenizer | None:
    """Read the tokenizer of a checkpoint folder; None where it has none.

    `tokenizer.json` is complete by itself.  `vocab.json` with `merges.txt` is completed by the
    added tokens of `tokenizer_config.json` and by what the family knows.

    Raises:
        ModelError: files are damaged, or do not suffice to build the tokenizer.
    """
    config_path = folder / "tokenizer_config.json"
    config = read_json(config_path) if config_path.is_file() else {}
    chat = find_template(folder, config, defaults.chat_template)
    if (folder / "tokenizer.json").is_file():
        core = _from_file(folder / "tokenizer.json")
    elif (folder / "vocab.json").is_file():
        core = _from_vocabulary(folder, config, defaults)
    else:
        return None
    return Tokenizer(core, chat=chat, config=config)


def _from_file(path: Path) -> tokenizers.Tokenizer:
    try:
        return tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing more precise
        raise ModelError(
            f"{path} is not a tokenizer: {error}", hint="download the file again"
        ) from error


def _from_vocabulary(
    folder: Path, config: Mapping[str, Any], defaults: FamilyDefaults
) -> tokenizers.Tokenizer:
    """Build byte-level BPE from the older pair of files."""
    if defaults.bpe_pattern is None or not (folder / "merges.txt").is_file():
        raise ModelError(
            f"{folder} has vocab.json but no tokenizer.json, and "
            + ("no merges.txt" if defaults.bpe_pattern else "its family has no rule to read it"),
            hint="add a tokenizer.json: transformers writes one when it saves a fast tokenizer",
        )
    table = config.get("added_tokens_decoder", {})
    stated = {token_text(entry): int(token_id) for token_id, entry in table.items()}
    added = {text: token_id for text, token_id in stated.items() if text is not None}
    return byte_level_bpe(
        read_json(folder / "vocab.json"),
        (folder / "merges.txt").read_text("utf-8"),
        defaults.bpe_pattern,
        added or defaults.added_tokens,
    )


def _declared_mask(core: tokenizers.Tokenizer, config: Mapping[str, Any]) -> tuple[int, str] | None:
    """Find the mask token that the files declare, or the one added token named like a mask."""
    declared = token_text(config.get("mask_token"))
    if declared is not None:
        token_id = core.token_to_id(declared)
        if token_id is None:
            raise ModelError(
                f"tokenizer_config.json declares mask_token {declared!r}, which the vocabulary "
                "does not hold",
                hint="give the mask token with --mask-id, or repair the tokenizer files",
            )
        return token_id, f"tokenizer: mask_token {declared}"
    added = core.get_added_tokens_decoder()
    named = [(i, str(token.content)) for i, token in added.items()]
    alike = [(i, text) for i, text in named if _MASK_LIKE.fullmatch(text)]
    return (alike[0][0], f"tokenizer: added token {alike[0][1]}") if len(alike) == 1 else None
