"""Traces: a decode as a JSON Lines file that is complete after every line.

The first line describes the run, each further line one forward pass, the last one the result of
each row.  A run that is interrupted leaves everything up to its last pass.
"""

from __future__ import annotations

import json
from math import isfinite
from typing import TYPE_CHECKING, Any, TextIO, get_args

import attrs

from dlmkit.accounts.records import Change, Counts, Phase, StepRecord
from dlmkit.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from dlmkit.canvas import Canvas
    from dlmkit.generation import Decode

__all__ = ["FORMAT", "Trace", "TraceStep", "TraceWriter", "read_trace"]

FORMAT = "trace/1"


@attrs.frozen(kw_only=True)
class TraceStep:
    """One forward pass as written: the network's account after it, and the canvas changes.

    `phase` is what the pass was for; None in traces written before it was recorded.  `canvas` is
    the whole canvas where the pass ended with a new layout, else None.
    """

    step: int
    network: str
    counts: Counts
    changes: tuple[Change, ...]
    phase: Phase | None = None
    canvas: tuple[tuple[int, ...], ...] | None = None


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
            if step.canvas is not None:
                rows = [list(row) for row in step.canvas]
        return rows


class TraceWriter:
    """Writes decodes to a trace file, line by line; use it as a context manager.

    Raises:
        RequestError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file: TextIO = path.open("w", encoding="utf-8")
        except OSError as error:
            raise self._failed(error) from error

    def __enter__(self) -> TraceWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def follow(self, decode: Decode) -> Iterator[StepRecord]:
        """Run a decode; each record is on disk before it is handed on."""
        document, canvas = decode.runner.document, decode.canvas
        self._write(
            {
                "dlmkit": FORMAT,
                "pipeline": document.name,
                "spec_id": document.spec_id,
                "seed": decode.context.seed,
                "mask_id": canvas.mask_id,
                "canvas": _rows(canvas),
            }
        )
        for record in decode:
            self._write(_step_line(record))
            yield record
        self._write({"results": [result.as_json() for result in decode.results()]})

    def _write(self, line: dict[str, Any]) -> None:
        try:
            self._file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
            self._file.flush()
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> RequestError:
        return RequestError(
            f"cannot write the trace {self._path}: {error.strerror}", hint="choose another path"
        )


def _rows(canvas: Canvas) -> list[list[int]]:
    """The ids of each row, without padding."""
    pairs = zip(canvas.tokens_BN.tolist(), canvas.length_B.tolist(), strict=True)
    return [ids[:length] for ids, length in pairs]


def _step_line(record: StepRecord) -> dict[str, Any]:
    line = {
        "step": record.step,
        "network": record.network,
        "phase": record.phase,
        "counts": attrs.asdict(record.counts),
        "changes": [
            [change.row, change.position, change.token, _short(change.confidence)]
            for change in record.changes()
        ],
    }
    return line if record.laid_out is None else {**line, "canvas": _rows(record.laid_out)}


def _short(confidence: float | None) -> float | None:
    """Six decimals; JSON has no infinities."""
    return None if confidence is None or not isfinite(confidence) else round(confidence, 6)


def read_trace(path: Path) -> list[Trace]:
    """Read the decodes of a trace file, in order; an unfinished last line is left out.

    Raises:
        RequestError: the file is missing, or a line of it is not a trace line.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"cannot read {path}: {error}", hint="check the path") from error
    *lines, _unfinished = text.split("\n")
    groups: list[list[dict[str, Any]]] = []
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            if "dlmkit" in entry:
                groups.append([])
            groups[-1].append(_checked(entry))
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise RequestError(
                f"{path}:{number}: not a line of a dlmkit trace ({FORMAT})",
                hint="write one with `dlmkit generate --trace FILE`",
            ) from error
    return [_trace(group) for group in groups]


def _checked(entry: dict[str, Any]) -> dict[str, Any]:
    """Parse what a line holds, so that a fault is found where it stands.

    Raises:
        ValueError, KeyError, TypeError: the line is none that a writer makes.
    """
    if "step" in entry:
        return {"step": _step(entry)}
    if "results" in entry:
        return {"results": list(entry["results"])}
    if entry["dlmkit"] != FORMAT:
        raise ValueError(entry["dlmkit"])
    head = {key: entry[key] for key in ("pipeline", "spec_id", "seed", "mask_id")}
    return {**head, "canvas": _canvas(entry)}


def _canvas(entry: dict[str, Any]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(row) for row in entry["canvas"])


def _trace(entries: Sequence[dict[str, Any]]) -> Trace:
    head, *rest = entries
    return Trace(
        **head,
        steps=tuple(entry["step"] for entry in rest if "step" in entry),
        results=tuple(result for entry in rest for result in entry.get("results", ())),
    )


def _step(entry: dict[str, Any]) -> TraceStep:
    phase = entry.get("phase")
    if phase not in (None, *get_args(Phase)):
        raise ValueError(phase)
    return TraceStep(
        step=entry["step"],
        network=entry["network"],
        counts=Counts(**entry["counts"]),
        changes=tuple(Change(*change) for change in entry["changes"]),
        phase=phase,
        canvas=_canvas(entry) if "canvas" in entry else None,
    )
