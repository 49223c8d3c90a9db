"""Prompts from arguments, a file or standard input: one on a line, or JSON Lines."""

from __future__ import annotations

import json
import os
import stat
import sys
from typing import TYPE_CHECKING, TextIO

from dlmkit.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["SAMPLE", "parse_prompts", "read_prompts"]

SAMPLE = "Tom has 12 apples. He buys 7 more and gives 5 to Anna. How many apples does Tom have now?"
"""What is decoded where no prompt is given."""


def read_prompts(arguments: Sequence[str], file: Path | None) -> list[str]:
    """Return the prompts; an empty list means that none was given anywhere.

    Args:
        arguments: prompts as typed; a single `-` stands for standard input.
        file: a file of prompts.

    Raises:
        RequestError: two sources at once, or a source without a usable prompt.
    """
    if arguments and file is not None:
        raise RequestError(
            "prompts were given both as arguments and with --file", hint="use one of the two"
        )
    if file is not None:
        return _demand(parse_prompts(_read(file), str(file)), str(file))
    if list(arguments) == ["-"]:
        return _demand(parse_prompts(_read_standard_input(), "standard input"), "standard input")
    if arguments:
        return list(arguments)
    if _is_fed(sys.stdin):
        prompts = parse_prompts(_read_standard_input(), "standard input")
        return _demand(prompts, "the file at standard input") if _is_file(sys.stdin) else prompts
    return []


def parse_prompts(text: str, source: str) -> list[str]:
    """Split a text into prompts; blank lines do not count.

    A text whose first line starts with `{` is JSON Lines with a `prompt` on each.

    Raises:
        RequestError: a line of JSON Lines without a prompt, by number.
    """
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines or not lines[0][1].lstrip().startswith("{"):
        return [line for _, line in lines]
    return [_from_json(line, f"{source}:{number}") for number, line in lines]


def _from_json(line: str, place: str) -> str:
    hint = 'write one object for each prompt: {"prompt": "..."}'
    try:
        entry = json.loads(line)
    except ValueError as error:
        raise RequestError(f"{place}: not JSON: {error}", hint=hint) from error
    prompt = entry.get("prompt") if isinstance(entry, dict) else None
    if not isinstance(prompt, str):
        raise RequestError(f'{place}: there is no text under "prompt"', hint=hint)
    return prompt


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise RequestError(
            f"{file} is not UTF-8 text (byte {error.start})", hint="is this the right file?"
        ) from error
    except OSError as error:
        raise RequestError(
            f"cannot read {file}: {error.strerror}", hint="check the path"
        ) from error


def _read_standard_input() -> str:
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise RequestError(
            f"standard input is not UTF-8 text (byte {error.start})", hint="convert it first"
        ) from error


def _demand(prompts: list[str], source: str) -> list[str]:
    if not prompts:
        raise RequestError(f"{source} holds no prompt", hint="put one prompt on each line")
    return prompts


def _is_fed(stream: TextIO | None) -> bool:
    """Whether something was piped or redirected in: neither a keyboard nor a null device."""
    if stream is None or stream.closed:
        return False
    try:
        mode = os.fstat(stream.fileno()).st_mode
    except OSError:
        return not stream.isatty()
    return not stat.S_ISCHR(mode)


def _is_file(stream: TextIO) -> bool:
    """Whether a file was redirected in; a pipe may be left empty by whoever started the program."""
    try:
        return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except OSError:
        return False
