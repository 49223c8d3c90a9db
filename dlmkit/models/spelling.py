"""From a token as its vocabulary spells it to the bytes that it stands for."""

from __future__ import annotations

import re
from functools import cache

__all__ = ["spelled_in_bytes", "spelled_in_pieces"]

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"


@cache
def _letters() -> dict[str, int]:
    """The byte that each letter stands for, in byte-level BPE.

    Printable bytes stand for themselves; the others follow from code point 256 on, in order.
    """
    plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in plain]
    shifted = {chr(256 + number): byte for number, byte in enumerate(rest)}
    return {chr(byte): byte for byte in plain} | shifted


def spelled_in_bytes(text: str) -> bytes | None:
    """Bytes of a token of byte-level BPE (GPT-2); None where it is none."""
    letters = _letters()
    return bytes(letters[each] for each in text) if all(map(letters.__contains__, text)) else None


def spelled_in_pieces(text: str) -> bytes:
    """Bytes of a token that spells a space as U+2581 and odd bytes as `<0x0A>` (SentencePiece)."""
    byte = _BYTE.fullmatch(text)
    return bytes([int(byte[1], 16)]) if byte else text.replace(_SPACE, " ").encode("utf-8")
