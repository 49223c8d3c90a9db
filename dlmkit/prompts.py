"""From text to token ids: plain prompts, chat turns, and texts with gaps to fill."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from dlmkit.errors import RequestError
from dlmkit.models.tokenizer import Tokenizer
from dlmkit.network import NetworkInfo

__all__ = ["Mode", "check_lengths", "encode"]

Mode = Literal["chat", "plain", "infill"]
"""`chat`: the prompt is a user's turn; `plain`: text to continue; `infill`: text with gaps."""

_GAP = re.compile(r"<mask(?:\*(\d+))?>")


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
        return _with_gaps(prompt, tokenizer, mask_id)
    if _GAP.search(prompt) or mask_id in tokenizer.encode(prompt):
        raise RequestError(
            f"prompt {number} contains the mask token",
            hint="to have gaps in a text filled, ask for infilling (--infill)",
        )
    if mode == "chat" and tokenizer.chat is not None:
        return tokenizer.encode_chat([{"role": "user", "content": prompt}])
    return tokenizer.encode(prompt)


def _with_gaps(prompt: str, tokenizer: Tokenizer, mask_id: int) -> list[int]:
    ids: list[int] = []
    end = 0
    for gap in _GAP.finditer(prompt):
        ids += tokenizer.encode(prompt[end : gap.start()], special_tokens=not ids)
        ids += [mask_id] * int(gap.group(1) or 1)
        end = gap.end()
    return ids + tokenizer.encode(prompt[end:], special_tokens=not ids)


def check_lengths(prompts: Sequence[Sequence[int]], gen_length: int, info: NetworkInfo) -> None:
    """Refuse what does not fit into the network's context.

    Raises:
        RequestError: a prompt with its answer is longer than the context limit.
    """
    for number, prompt in enumerate(prompts, 1):
        if len(prompt) + gen_length > info.max_positions:
            room = info.max_positions - len(prompt)
            raise RequestError(
                f"prompt {number} has {len(prompt)} tokens; with gen_length {gen_length} that is "
                f"more than the model's context of {info.max_positions}",
                hint=f"set gen_length to at most {room}" if room > 0 else "shorten the prompt",
            )
