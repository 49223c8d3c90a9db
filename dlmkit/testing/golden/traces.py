"""Reading trace files: one JSON object for each decode of a reference implementation.

Rows of a case are kept apart and left padding is stripped, because the rows of a canvas are
independent and padded on the right: what a row must decode does not depend on its neighbours.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from dlmkit.errors import RequestError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["GoldenCase", "Step", "read_cases"]

Step = tuple[tuple[int, int], ...]
"""What one forward pass changed in a row: `(position, token)`, by position."""

REQUIRED = ("id", "sampler", "checkpoint", "settings", "prompt", "output", "nfe")


@attrs.frozen(kw_only=True)
class GoldenCase:
    """One reference decode.

    `prompts` and `outputs` are token ids by row; `steps` the non-empty changes by row, with
    positions counted from the row's first real token (None where the file does not tell);
    `nfe` the forward passes of the reference; `quirks` its defects that decided the result;
    `given` tokens beyond the prompt as `(offset from its end, token)`.
    """

    id: str
    sampler: str
    checkpoint: str
    settings: Mapping[str, Any]
    mask_id: int | None
    prompts: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]
    steps: tuple[tuple[Step, ...], ...] | None
    nfe: int
    quirks: tuple[str, ...]
    given: tuple[tuple[int, int], ...] = ()


def read_cases(paths: Iterable[Path]) -> list[GoldenCase]:
    """Read the cases of trace files; a folder stands for the `.jsonl` files in it.

    Raises:
        RequestError: a file is missing or a line is not a trace.
    """
    return [
        _parse(line, f"{file}:{number}")
        for path in paths
        for file in _files(path)
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if line.strip()
    ]


def _files(path: Path) -> list[Path]:
    found = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    if not found or not found[0].is_file():
        raise RequestError(
            f"there is no trace file {path}", hint="give .jsonl files, or a folder that holds some"
        )
    return found


def _parse(line: str, where: str) -> GoldenCase:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise RequestError(f"{where} is not JSON: {error}", hint="is the file cut off?") from None
    missing = [name for name in REQUIRED if name not in row] if isinstance(row, dict) else REQUIRED
    if missing:
        raise RequestError(
            f"{where} is not a trace: it lacks {', '.join(missing)}",
            hint="a trace file has one decode on each line; check the path",
        )
    return _case(row)


def _case(row: Mapping[str, Any]) -> GoldenCase:
    prompts = row["prompt"]
    masks = row.get("attention_mask") or [[1] * len(prompt) for prompt in prompts]
    return GoldenCase(
        id=row["id"],
        sampler=row["sampler"],
        checkpoint=row["checkpoint"],
        settings=_settings(row),
        mask_id=row.get("mask_id"),
        prompts=tuple(
            tuple(token for token, real in zip(prompt, mask, strict=True) if real)
            for prompt, mask in zip(prompts, masks, strict=True)
        ),
        outputs=tuple(tuple(output) for output in row["output"]),
        steps=_steps(row["steps"], [mask.count(0) for mask in masks]) if "steps" in row else None,
        nfe=row["nfe"],
        quirks=tuple(row.get("quirks") or ()),
        given=tuple(map(tuple, row["settings"].get("constraints") or ())),
    )


def _settings(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings; an order that was drawn beforehand becomes one of them, as offsets."""
    if "order" not in row:
        settings: Mapping[str, Any] = row["settings"]
        return settings
    start = len(row["prompt"][0])
    offsets = [position - start for block in row["order"] for position in block]
    return {**row["settings"], "order": offsets}


def _steps(steps: Sequence[Any], pads: Sequence[int]) -> tuple[tuple[Step, ...], ...]:
    """Sort changes by row, shift them over the stripped padding, and drop the empty steps."""
    rows: list[list[Step]] = [[] for _ in pads]
    for step in steps:
        # With one row, the file leaves the row number out.
        full = [change if len(change) == 3 else (0, *change) for change in step]
        for number, pad in enumerate(pads):
            changes = tuple(sorted((p - pad, token) for row, p, token in full if row == number))
            if changes:
                rows[number].append(changes)
    return tuple(tuple(row) for row in rows)
