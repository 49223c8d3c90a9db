"""The live display: what each kind of position looks like, and that watching changes nothing."""

from __future__ import annotations

import io

import attrs
import pytest
from rich.console import Console

from dlmkit.cli.canvas_display import CanvasDisplay, row_states
from dlmkit.cli.canvas_text import RowState, legend, row_bar, row_text
from dlmkit.defaults import DEFAULT_PIPELINE
from dlmkit.generation import Runner
from dlmkit.spec import load_spec

MASK, END = 9, 8
ROW = RowState(
    ids=[1, 2, 3, 4, END, MASK, MASK, MASK],
    given=[True, True, False, False, False, False, False, False],
    steps=[-1, -1, 0, 3, 3, -1, -1, -1],
    span=(2, 8),
    block=(2, 6),
    block_width=4,
    mask_id=MASK,
    end_ids=frozenset({END}),
)


def styles(row: RowState, fresh_from: int, recent_from: int) -> list[tuple[str, str]]:
    """Pieces of the row's text with their styles."""
    text = row_text(row, lambda ids: "".join(map(str, ids)), fresh_from, recent_from)
    return [(text.plain[span.start : span.end], str(span.style)) for span in text.spans]


def test_masks_are_blocks_brighter_in_the_current_block():
    """Two cells for each."""
    assert [("░░", "grey62"), ("░░░░", "grey30")] == styles(ROW, 4, 4)[-2:]


def test_tokens_fade_from_fresh_to_settled():
    """Fresh, then recent, then plain."""
    assert ("4", "bold bright_green") in styles(ROW, 3, 0)
    assert ("4", "green") in styles(ROW, 4, 3)
    assert "34" == row_text(ROW, lambda ids: "".join(map(str, ids)), 4, 4).plain[:2]


def test_end_tokens_are_dots():
    """They are no text."""
    assert ("·", "grey30") in styles(ROW, 4, 4)


def test_the_bar_says_how_far_and_in_which_block():
    """Decided and wanted positions, without the prompt."""
    assert "3/6 · block 1/2" in row_bar(ROW).plain


@pytest.mark.parametrize("rows", [1, 9])
def test_watching_changes_nothing(tiny_model, rows):
    """All records pass, the decode is the same, and the frames fit the terminal."""
    runner = Runner.load(load_spec("llada", [f'models.main="{tiny_model}"', "gen_length=32"]))
    prompts = runner.encode(["copy: 1"] * rows)
    plain, watched = runner.start(prompts), runner.start(prompts)
    expected = [record.step for record in plain]
    screen = io.StringIO()
    display = CanvasDisplay(Console(file=screen, force_terminal=True, width=60, height=20), rows)
    assert expected == [record.step for record in display.watch(watched, watched, 0)]
    assert plain.results()[0].text == watched.results()[0].text
    assert "░░" in screen.getvalue()
    assert (rows > 3) == ("more rows" in screen.getvalue())


def test_drafts_are_coloured_by_what_became_of_them():
    """A guess that was sent back is crossed out, and its place counts as open."""
    marks = {3: "kept", 5: "sent back", 6: "corrected", 7: "drafted"}
    row = attrs.evolve(ROW, ids=[1, 2, 3, 4, END, 5, 6, 7], marks=marks)
    shown = styles(row, 9, 9)
    assert ("4", "bold bright_green") in shown
    assert ("5", "red strike") in shown
    assert ("6", "bold bright_magenta") in shown
    assert ("7", "italic yellow") in shown
    assert 2 == row.masks_left
    assert "drafted · kept · corrected · sent back · verifier's own" == legend().plain


def test_a_drafted_end_of_text_is_a_dot_in_its_colour():
    """It still has no text."""
    assert ("·", "italic yellow") in styles(attrs.evolve(ROW, marks={4: "drafted"}), 9, 9)


def test_a_round_is_shown_from_both_sides(tiny_model):
    """What the drafter wrote is marked, then what the verifier made of each of those places."""
    models = [f'models.{name}="{tiny_model}"' for name in ("drafter", "verifier")]
    runner = Runner.load(load_spec(DEFAULT_PIPELINE, [*models, "gen_length=16"]))
    decode = runner.start(runner.encode(["copy: 1"]))
    drafted: dict[int, int] = {}
    seen: set[str] = set()
    for record in decode:
        (row,) = row_states(decode, record)
        seen |= set(row.marks.values())
        if record.phase == "draft":
            drafted = {place: row.ids[place] for place in row.marks}
            assert drafted
        else:
            assert set(drafted) <= set(row.marks)
            returned = [place for place, mark in row.marks.items() if mark == "sent back"]
            assert all(drafted[place] == row.ids[place] for place in returned)
        masks = int((record.after_BN == decode.canvas.mask_id).sum())
        assert masks + list(row.marks.values()).count("drafted") == row.masks_left
    assert {"drafted", "kept", "verifier's own"} <= seen
    screen = io.StringIO()
    again = runner.start(runner.encode(["copy: 1"]))
    display = CanvasDisplay(Console(file=screen, force_terminal=True, width=90, height=20), 1)
    for _ in display.watch(again, again, 0):
        pass
    assert "sent back" in screen.getvalue()
