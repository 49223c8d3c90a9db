"""Traces: a decode as a JSON Lines file that is complete after every line.

The first line describes the run, each further line one forward pass, the last one the result of
each row.  A run that is interrupted leaves everything up to its last pass.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import attrs

from dlmkit.errors import RequestError
from dlmkit.records import Change, Counts, StepRecord
from dlmkit.results import Result

__all__ = ["FORMAT", "Trace", "TraceStep", "TraceWriter", "read_trace"]

FORMAT = "trace/1"


@attrs.frozen(kw_only=True)
class TraceStep:
    """One forward pass as written: the network's account after it, and the canvas changes."""

    step: int
    network: str
    counts: Counts
    changes: tuple[Change, ...]


@attrs.frozen(kw_only=True)
class Trace:
    """A trace read back.  `canvas` is the start, one list of ids for each row, masks included."""

    pipeline: str
    spec_id: str
    seed: int
    mask_id: int
    canvas: tuple[tuple[int, ...], ...]
    steps: tuple[TraceStep, ...]
    results: tuple[dict[str, Any], ...]

    def canvas_after(self, steps: int) -> list[list[int]]:
        """Replay the first `steps` passes onto the starting canvas."""
        rows = [list(row) for row in self.canvas]
        for step in self.steps[:steps]:
            for change in step.changes:
                rows[change.row][change.position] = change.token
        return rows


class TraceWriter:
    """Writes a trace line by line; use it as a context manager."""

    def __init__(self, path: Path) -> None:
        try:
            self._file: TextIO = path.open("w", encoding="utf-8")
        except OSError as error:
            raise RequestError(
                f"cannot write the trace {path}: {error.strerror}", hint="choose another path"
            ) from error

    def __enter__(self) -> TraceWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def begin(
        self, *, pipeline: str, spec_id: str, seed: int, mask_id: int, canvas: Sequence[Sequence[int]]
    ) -> None:
        """Describe the run."""
        self._write(
            {
                "dlmkit": FORMAT,
                "pipeline": pipeline,
                "spec_id": spec_id,
                "seed": seed,
                "mask_id": mask_id,
                "canvas": [list(row) for row in canvas],
            }
        )

    def step(self, record: StepRecord) -> None:
        """Add one forward pass."""
        self._write(
            {
                "step": record.step,
                "network": record.network,
                "counts": attrs.asdict(record.counts),
                "changes": [
                    [change.row, change.position, change.token, _short(change.confidence)]
                    for change in record.changes()
                ],
            }
        )

    def end(self, results: Sequence[Result]) -> None:
        """Add the results."""
        self._write({"results": [result.as_json() for result in results]})

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
        self._file.flush()


def _short(confidence: float | None) -> float | None:
    return None if confidence is None else round(confidence, 6)


def read_trace(path: Path) -> list[Trace]:
    """Read the decodes of a trace file, whole or interrupted; a file may hold several batches.

    Raises:
        RequestError: the file is missing, or a line of it is not a trace line.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"cannot read {path}: {error}", hint="check the path") from error
    groups: list[list[dict[str, Any]]] = []
    for number, text in enumerate(lines, 1):
        entry = _entry(path, number, text, first=not groups)
        if "dlmkit" in entry:
            groups.append([])
        groups[-1].append(entry)
    return [_trace(group) for group in groups]


def _entry(path: Path, number: int, text: str, *, first: bool) -> dict[str, Any]:
    try:
        entry = json.loads(text)
    except ValueError:
        entry = None
    if not isinstance(entry, dict) or (first and entry.get("dlmkit") != FORMAT):
        raise RequestError(
            f"{path}:{number}: not a line of a dlmkit trace ({FORMAT})",
            hint="write one with `dlmkit generate --trace FILE`",
        )
    return entry


def _trace(entries: Sequence[dict[str, Any]]) -> Trace:
    head, *rest = entries
    return Trace(
        pipeline=head["pipeline"],
        spec_id=head["spec_id"],
        seed=head["seed"],
        mask_id=head["mask_id"],
        canvas=tuple(tuple(row) for row in head["canvas"]),
        steps=tuple(_step(entry) for entry in rest if "step" in entry),
        results=tuple(result for entry in rest for result in entry.get("results", ())),
    )


def _step(entry: dict[str, Any]) -> TraceStep:
    return TraceStep(
        step=entry["step"],
        network=entry["network"],
        counts=Counts(**entry["counts"]),
        changes=tuple(Change(*change) for change in entry["changes"]),
    )
