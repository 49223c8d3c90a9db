"""Byte-level BPE tokenizers from the older pair of files, `vocab.json` and `merges.txt`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from dlmkit.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["byte_level_bpe"]


def byte_level_bpe(
    vocabulary: Mapping[str, int], merges: str, pattern: str, added: Mapping[str, int]
) -> Tokenizer:
    """Build the tokenizer that these files describe.

    Text is brought into Unicode form NFC, cut by `pattern`, and merged on bytes.

    Args:
        vocabulary: byte-level tokens and their ids.
        merges: the text of `merges.txt`, most frequent first; a first line `#version` is skipped.
        pattern: regular expression whose matches are the pieces that merges never cross.
        added: special tokens and the ids they must have.

    Raises:
        ModelError: a merge is malformed or uses unknown tokens, or an added token does not get
            its id because the vocabulary is incomplete.
    """
    lines = [line for line in merges.splitlines() if line and not line.startswith("#version")]
    try:
        pairs = [(left, right) for left, right in (line.split(" ") for line in lines)]
        core = Tokenizer(models.BPE(vocab=dict(vocabulary), merges=pairs))
    except Exception as error:  # the library raises nothing more precise
        raise ModelError(
            f"vocab.json and merges.txt do not fit together: {error}",
            hint="download both files again",
        ) from error
    core.normalizer = normalizers.NFC()
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    for token, token_id in sorted(added.items(), key=lambda item: item[1]):
        core.add_special_tokens([AddedToken(token, special=True, normalized=False)])
        if core.token_to_id(token) != token_id:
            raise ModelError(
                f"added token {token!r} must have id {token_id}, but the vocabulary gives it "
                f"{core.token_to_id(token)}",
                hint="vocab.json is incomplete or from another model; download it again",
            )
    return core
