"""The page of the DualDiffusion benchmark is what its numbers say, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.benchmarks.dual_diffusion import RULES, systems
from tests.benchmarks.dual_diffusion_page import bars, limits, page, picture
from tests.benchmarks.pareto_svg import Panel, Point, draw

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def report() -> dict:
    return json.loads((DOCS / "reference/dual-diffusion.json").read_text("utf-8"))


def test_page_and_picture_are_made_of_the_numbers(report) -> None:
    """Nothing is written by hand."""
    assert page(report) == (DOCS / "reference/dual-diffusion.md").read_text("utf-8")
    assert picture(report) == (DOCS / "images/dual-diffusion.svg").read_text("utf-8")


def test_every_system_was_measured_on_every_task(report) -> None:
    """Each preset as it is shipped, and nothing that is no system any more."""
    found = {(each["series"], each["draft_length"], each["task"]) for each in report["rows"]}
    tasks = {each["task"] for each in report["rows"]}
    known = {(each.series, each.draft_length, task) for each in systems() for task in tasks}
    shipped = {(each.series, None, task) for each in systems() for task in tasks}
    assert shipped <= found <= known
    assert {"word problems", "lists"} == tasks
    assert set(RULES) < {series for series, _, _ in found}


def test_the_measured_specs_are_the_present_ones(report) -> None:
    """Else `python -m tests.benchmarks.dual_diffusion` has something to do."""
    present = {(each.series, each.draft_length): each.document.spec_id for each in systems()}
    assert all(present[r["series"], r["draft_length"]] == r["spec"] for r in report["rows"])


def test_what_does_not_hold_follows_from_the_numbers(report) -> None:
    """A rule that loses answers is named; once it does not, it is not."""
    assert any(
        "*paper: trust*" in line and ", below *verifier alone*" in line for line in limits(report)
    )
    better = json.loads(json.dumps(report))
    for each in better["rows"]:
        each |= {"solved": each["prompts"], "interval": [0.9, 1.0], "weighted": [9.0, 0.1]}
    assert [] == limits(better)


def test_numbers_fit_together(report) -> None:
    """Totals are sums, shares are shares, and lossless never runs the verifier more often."""
    alone = {r["task"]: r["verifier"][0] for r in report["rows"] if r["series"] == "verifier alone"}
    for each in report["rows"]:
        total = each["verifier"][0] + each["drafter"][0]
        assert each["total"][0] == pytest.approx(total, abs=0.002)
        assert each["interval"][0] <= each["solved"] / each["prompts"] <= each["interval"][1]
        if each["series"] == "lossless":
            assert each["verifier"][0] <= alone[each["task"]]
            assert each["same"] == each["prompts"]


def test_bars_are_kept_or_said_to_be_missed(report) -> None:
    """Four for each task, with their numbers."""
    found = bars(report)
    assert 8 == len(found)
    text = page(report)
    assert all(f"| {line} | {'met' if met else '**missed**'} |" in text for line, met in found)


def test_a_bar_is_missed_where_a_number_says_so(report) -> None:
    """The verdict follows the numbers."""
    worse = json.loads(json.dumps(report))
    for each in worse["rows"]:
        if each["series"] in ("fast", "lossless"):
            each |= {"verifier": [31.0, 0.1], "solved": 0, "same": 0}
    assert not any(met for _, met in bars(worse))


def test_a_plot_names_every_series_and_point() -> None:
    """As text that can be selected, and as a hint on each point."""
    point = Point(series="a < b", cost=3, rate=0.5, interval=(0.4, 0.6), label="4")
    svg = draw([Panel(title="task", axis="passes", points=[point])])
    assert "a &lt; b 4: 50.0 % (40.0 to 60.0 %), 3.00" in svg
    assert ">passes</text>" in svg
