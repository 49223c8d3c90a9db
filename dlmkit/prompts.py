"""From text to token ids: plain prompts, chat turns, and texts with gaps to fill."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from dlmkit.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dlmkit.models.tokenizer import Tokenizer
    from dlmkit.network import NetworkInfo

__all__ = ["Mode", "check_prompts", "encode"]

Mode = Literal["auto", "chat", "plain", "infill"]
"""`chat`: the prompt is a user's turn; `plain`: text to continue; `infill`: text with gaps;
`auto`: chat where the model has a chat template, else plain."""

_GAP = re.compile(r"<mask(?:\*(\d+))?>")
_LONGEST_GAP = 100_000


def encode(
    prompts: Sequence[str], tokenizer: Tokenizer, mask_id: int, mode: Mode
) -> list[list[int]]:
    """Return the ids of each prompt.

    In `infill` mode, `<mask>` stands for one gap token and `<mask*5>` for five.

    Raises:
        RequestError: no prompt, or one that is empty or holds masks where none are filled.
    """
    if not prompts:
        raise RequestError("no prompt was given", hint="pass at least one prompt")
    return [
        _encode_one(prompt, number, tokenizer, mask_id, mode)
        for number, prompt in enumerate(prompts, 1)
    ]


def _encode_one(
    prompt: str, number: int, tokenizer: Tokenizer, mask_id: int, mode: Mode
) -> list[int]:
    if not prompt.strip():
        raise RequestError(f"prompt {number} is empty", hint="give it some text")
    if mode == "infill":
        ids = _with_gaps(prompt, tokenizer, mask_id)
        if mask_id not in ids:
            raise RequestError(
                f"prompt {number} has no gap to fill", hint="write <mask>, or <mask*5> for five"
            )
        return ids
    if _GAP.search(prompt) or mask_id in tokenizer.encode(prompt):
        raise RequestError(
            f"prompt {number} contains the mask token",
            hint="to have gaps in a text filled, ask for infilling (--infill)",
        )
    if mode == "chat" or (mode == "auto" and tokenizer.chat is not None):
        return tokenizer.encode_chat([{"role": "user", "content": prompt}])
    return tokenizer.encode(prompt)


def _with_gaps(prompt: str, tokenizer: Tokenizer, mask_id: int) -> list[int]:
    ids: list[int] = []
    end = 0
    for gap in _GAP.finditer(prompt):
        ids += tokenizer.encode(prompt[end : gap.start()], special_tokens=not ids)
        ids += [mask_id] * _gap_length(gap)
        end = gap.end()
    return ids + tokenizer.encode(prompt[end:], special_tokens=not ids)


def _gap_length(gap: re.Match[str]) -> int:
    length = int(gap[1] or 1)
    if not 0 < length <= _LONGEST_GAP:
        raise RequestError(
            f"a gap cannot have {length} tokens: {gap[0]}", hint=f"use 1 to {_LONGEST_GAP}"
        )
    return length


def check_prompts(prompts: Sequence[Sequence[int]], gen_length: int, info: NetworkInfo) -> None:
    """Refuse what the network cannot decode.

    Raises:
        RequestError: a prompt with its answer is longer than the context limit, or its first
            token is to be decoded by a network whose rows predict the token after them.
    """
    for number, prompt in enumerate(prompts, 1):
        if info.logit_shift and (not prompt or prompt[0] == info.mask_id):
            raise RequestError(
                f"the first token of prompt {number} is to be decoded, but this model predicts "
                "each token from the one before it",
                hint="begin the text with at least one given token",
            )
        if len(prompt) + gen_length > info.max_positions:
            room = info.max_positions - len(prompt)
            new = f" and gen_length is {gen_length}" if gen_length else ""
            raise RequestError(
                f"prompt {number} has {len(prompt)} tokens{new}, but the model's context is "
                f"{info.max_positions}",
                hint=f"set gen_length to at most {room}" if room > 0 else "shorten the prompt",
            )
