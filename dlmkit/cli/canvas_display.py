"""The live display: the canvas of a batch while it unmasks, on standard error.

Frames are drawn at most twelve times a second, and never for more than a twentieth of the time,
so that watching a decode does not slow it down.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from dlmkit.cli.canvas_text import RowState, legend, row_bar, row_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor

    from dlmkit.accounts.records import StepRecord
    from dlmkit.draft_verify.audit import Audit
    from dlmkit.generation import Decode

__all__ = ["CanvasDisplay", "row_states"]

_FRAME_SECONDS = 1 / 12
_SHARE = 20
_LINES_FOR_A_ROW = 6


class CanvasDisplay:
    """Shows decodes one after the other in one place, and leaves nothing behind."""

    def __init__(self, console: Console, prompts: int) -> None:
        self._console = console
        self._prompts = prompts
        self._fresh_from = self._recent_from = 0

    def watch(
        self, decode: Decode, records: Iterable[StepRecord], finished: int
    ) -> Iterator[StepRecord]:
        """Hand on the records of a decode and show it; `finished` prompts are done already."""
        self._fresh_from = self._recent_from = 0
        next_frame = 0.0
        with Live(console=self._console, transient=True, auto_refresh=False) as live:
            for record in records:
                now = perf_counter()
                if now >= next_frame:
                    live.update(self._frame(decode, record, finished), refresh=True)
                    next_frame = now + max(_FRAME_SECONDS, _SHARE * (perf_counter() - now))
                    self._recent_from, self._fresh_from = self._fresh_from, record.step + 1
                yield record

    def _frame(self, decode: Decode, record: StepRecord, finished: int) -> RenderableType:
        rows = row_states(decode, record)
        shown = max(1, (self._console.height - 2) // _LINES_FOR_A_ROW)
        parts: list[RenderableType] = [
            self._panel(decode, row, finished + number) for number, row in enumerate(rows[:shown])
        ]
        if len(rows) > shown:
            parts.append(Text(f"  and {len(rows) - shown} more rows", "dim"))
        if record.phase != "decode":
            parts.append(Text("  ").append_text(legend()))
        parts.append(self._status(decode, rows, finished))
        return Group(*parts)

    def _panel(self, decode: Decode, row: RowState, number: int) -> Panel:
        name = decode.runner.document.name
        title = f"{name} · prompt {number + 1}" if self._prompts > 1 else name
        return Panel(
            row_text(row, decode.runner.tokenizer.decode, self._fresh_from, self._recent_from),
            title=f"[dim]{title}[/]",
            title_align="left",
            subtitle=row_bar(row),
            subtitle_align="left",
            border_style="grey30",
        )

    def _status(self, decode: Decode, rows: list[RowState], finished: int) -> Text:
        counts = decode.context.counts()
        forwards = ", ".join(f"{name} {each.forwards}" for name, each in counts.items())
        decided = sum(row.masks_at_start - row.masks_left for row in rows)
        pace = f"{decided / max(decode.seconds, 1e-9):.0f} tokens/s · {decode.seconds:.1f} s"
        place = f"{finished} of {self._prompts} prompts done · " if self._prompts > 1 else ""
        return Text(f"  {place}forwards: {forwards} · {pace}", "dim")


def row_states(decode: Decode, record: StepRecord) -> list[RowState]:
    """Read the canvas as it is after the record's step."""
    canvas, block = decode.canvas, record.block
    info = decode.runner.home.network.info
    columns = (
        _shown(decode, record).tolist(),
        canvas.given_BN.tolist(),
        canvas.commit_step_BN.tolist(),
        canvas.start_B.tolist(),
        canvas.length_B.tolist(),
        block.start_B.tolist(),
        block.stop_B.tolist(),
    )
    return [
        RowState(
            ids=ids,
            given=given,
            steps=steps,
            span=(start, end),
            block=(block_start, block_stop),
            block_width=block.width,
            mask_id=canvas.mask_id,
            end_ids=frozenset((*info.eos_ids, *info.eot_ids)),
            marks=marks,
        )
        for (ids, given, steps, start, end, block_start, block_stop), marks in zip(
            zip(*columns, strict=True), _marks(decode, record), strict=True
        )
    ]


def _shown(decode: Decode, record: StepRecord) -> Tensor:
    """The tokens after the step, `shown_BN`."""
    after_BN, now_BN = record.after_BN, decode.canvas.tokens_BN
    if record.laid_out is not None or after_BN.shape != now_BN.shape:
        return now_BN  # the rows of the record are laid out anew by now
    if record.audit is None:
        return after_BN
    # A guess that is a mask again stays in sight for a moment, crossed out.
    return record.before_BN.where(_returned(decode, record.audit, record), after_BN)


def _returned(decode: Decode, audit: Audit, record: StepRecord) -> Tensor:
    """Places of guesses that nothing else has taken, `returned_BN` bool."""
    return audit.returned_BN & (record.after_BN == decode.canvas.mask_id)


def _marks(decode: Decode, record: StepRecord) -> list[dict[int, str]]:
    """What the pass drafted, or what became of the draft that it checked, by row and place."""
    audit = record.audit
    if record.phase == "draft":
        kinds = {"drafted": record.after_BN != decode.canvas.tokens_BN}
    elif audit is not None:
        kinds = {
            "sent back": _returned(decode, audit, record),
            "corrected": audit.corrected_BN,
            "kept": audit.kept_BN,
            "verifier's own": audit.bonus_BN,
        }
    else:
        kinds = {}
    marks: list[dict[int, str]] = [{} for _ in range(record.after_BN.shape[0])]
    for kind, where_BN in kinds.items():
        for row, place in where_BN.nonzero().tolist():
            marks[row][place] = kind
    return marks
