"""The page and the picture of the DualDiffusion benchmark, made of its JSON and nothing else."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.benchmarks.pareto_svg import Panel, Point, draw

__all__ = ["bars", "limits", "page", "picture", "write"]

COSTS = {
    "verifier": "verifier forwards for each prompt",
    "total": "forwards of both networks",
    "weighted": "weighted forwards",
}
ALONE = "verifier alone"

HEAD = """\
# DualDiffusion measured

<!-- Made by `python -m tests.benchmarks.dual_diffusion`; edit that, not this. -->

The built-in verifier and drafter solve held-out word problems and list operations, {gen_length}
new tokens each, greedily. A point is a system at one draft length; its bar is the 95 % interval.
The best corner is up left: more problems solved in fewer passes.

* **verifier forwards**: passes of the large network that a prompt took part in.
* **total**: those of the drafter added, one for one.
* **weighted**: every pass at the price measured on one CPU core, where a pass over five states
  costs almost five. On a device that waits for memory further states are nearly free, and the truth
  lies nearer to the first axis.

*lossless* shows the verifier every state of the draft and keeps exactly what it would have done
itself. *fast* shows it the whole draft once, each guess hidden from the query that rates it, and
takes a step of the verifier out of the same pass where the whole draft was kept. The
rules of the paper rate a guess in plain sight of itself. *verifier alone* and *drafter alone* are
the pipeline of the lossless preset with one network, a token in each pass.
`dlmkit explain dual-diffusion-lossless` says what a preset does, and what it guarantees.

![Accuracy against cost](../images/dual-diffusion.svg)
"""


def bars(report: dict[str, Any]) -> list[tuple[str, bool]]:
    """What was promised, as sentences with their numbers, and whether it was kept."""
    found = []
    for task, rows in _by_task(report).items():
        alone = _shipped(rows, ALONE)
        lossless, fast = _shipped(rows, "lossless"), _shipped(rows, "fast")
        ratio = lossless["verifier"][0] / alone["verifier"][0]
        same = f"{lossless['same']} of {lossless['prompts']} outputs are the verifier's own"
        found.append((f"{task}, lossless: {same}", lossless["same"] == lossless["prompts"]))
        found.append((f"{task}, lossless: {ratio:.2f} × its forwards (at most 0.6)", ratio <= 0.6))
        points = 100 * (_rate(fast) - _rate(alone))
        ratio = fast["verifier"][0] / alone["verifier"][0]
        found.append((f"{task}, fast: {points:+.1f} points (at least -2)", points >= -2))
        found.append((f"{task}, fast: {ratio:.2f} × its forwards (at most 0.4)", ratio <= 0.4))
    return found


def limits(report: dict[str, Any]) -> list[str]:
    """Where the presets with a drafter are worse than something simpler, with the numbers."""
    found = []
    for task, rows in _by_task(report).items():
        alone, fast = _shipped(rows, ALONE), _shipped(rows, "fast")
        shipped = [row for row in rows if not row["sweep"] and row is not alone]
        drafted = [row for row in shipped if row["acceptance"] is not None]
        worse = [row for row in drafted if row["interval"][1] < _rate(alone)]
        found += [f"{task}: {_told(row)}, below {_told(alone)}." for row in worse]
        dear = [row for row in drafted if row["weighted"][0] > alone["weighted"][0]]
        found += [f"{task}: {_told(row)}, dearer here than {_told(alone)}." for row in dear]
        single = [row for row in shipped if row not in drafted and row["verifier"][0]]
        better = [row for row in single if row["weighted"][0] < fast["weighted"][0]]
        found += [
            f"{task}: {_told(row)} without a drafter, cheaper than {_told(fast)}."
            for row in better
            if row["interval"][1] >= _rate(fast)
        ]
    return found


def _told(row: dict[str, Any]) -> str:
    solved, weighted = 100 * _rate(row), row["weighted"][0]
    return f"*{row['series']}* ({solved:.1f} % in {weighted:.1f} weighted forwards)"


def page(report: dict[str, Any]) -> str:
    """The page as Markdown."""
    parts = [HEAD.format(gen_length=report["gen_length"])]
    verdicts = "\n".join(
        f"| {line} | {'met' if met else '**missed**'} |" for line, met in bars(report)
    )
    parts.append(f"## What was promised\n\n| Bar | |\n|---|---|\n{verdicts}\n")
    parts.append("## What does not hold\n\n" + "".join(f"* {line}\n" for line in limits(report)))
    for task, rows in _by_task(report).items():
        shipped = [row for row in rows if not row["sweep"]]
        sweep = [row for row in rows if row["sweep"]]
        parts.append(f"## {task.capitalize()}: presets as shipped\n\n{_table(shipped)}")
        if sweep:
            parts.append(f"### Draft lengths\n\n{_table(sweep)}")
    parts.append(_origin(report))
    return "\n".join(parts)


def picture(report: dict[str, Any]) -> str:
    """The plot as SVG: a row of panels for each kind of cost, a column for each task."""
    panels = []
    for cost, axis in COSTS.items():
        for task, rows in _by_task(report).items():
            points = [_point(row, cost) for row in rows]
            panels.append(Panel(title=task, axis=axis, points=points))
    return draw(panels)


def write(report: dict[str, Any], folder: Path) -> None:
    """Write the page into the folder, and the picture beside it."""
    (folder / "dual-diffusion.md").write_text(page(report), "utf-8")
    (folder.parent / "images/dual-diffusion.svg").write_text(picture(report), "utf-8")


def _by_task(report: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    tasks: dict[str, list[dict[str, Any]]] = {}
    for row in report["rows"]:
        tasks.setdefault(row["task"], []).append(row)
    return tasks


def _shipped(rows: list[dict[str, Any]], series: str) -> dict[str, Any]:
    return next(row for row in rows if row["series"] == series and not row["sweep"])


def _rate(row: dict[str, Any]) -> float:
    return float(row["solved"] / row["prompts"])


def _point(row: dict[str, Any], cost: str) -> Point:
    low, high = row["interval"]
    return Point(
        series=row["series"],
        cost=row[cost][0],
        rate=_rate(row),
        interval=(low, high),
        label=str(row["draft_length"] or ""),
    )


def _table(rows: list[dict[str, Any]]) -> str:
    head = (
        "| System | draft length | solved | 95 % interval | as the verifier alone "
        "| verifier forwards | total | weighted | accepted |\n"
        "|---|---|---|---|---|---|---|---|---|\n"
    )
    return head + "\n".join(map(_line, rows)) + "\n"


def _line(row: dict[str, Any]) -> str:
    low, high = (f"{100 * bound:.1f} %" for bound in row["interval"])
    accepted = "" if row["acceptance"] is None else f"{100 * row['acceptance']:.0f} %"
    cells = [
        row["series"],
        str(row["draft_length"] or ""),
        f"{row['solved']}/{row['prompts']}, {100 * _rate(row):.1f} %",
        f"{low} to {high}",
        f"{row['same']}/{row['prompts']}",
        *(f"{row[cost][0]:.1f} ± {row[cost][1]:.1f}" for cost in COSTS),
        accepted,
    ]
    return f"| {' | '.join(cells)} |"


def _origin(report: dict[str, Any]) -> str:
    hardware = report["hardware"]
    counts = sorted({row["prompts"] for row in report["rows"] if row["sweep"]})
    tried = " or ".join(map(str, counts))
    return f"""## How it was measured

Weights `{report["weights"]}`, prompts of seed {report["seed"]}, the same for every system; single
draft lengths were tried on the first {tried} of each task, as their rows say. Forwards do not
depend on the machine. Prices were measured on one {hardware["cpu"]} core with torch
{report["versions"]["torch"]}. All numbers are in [dual-diffusion.json](dual-diffusion.json);
measure what has changed since with the first of these, and everything with the second:

    python -m tests.benchmarks.dual_diffusion
    python -m tests.benchmarks.dual_diffusion --sweep 200 --anew

The preset *fast* was tuned on 400 prompts of each task of another seed, and measured here once.
"""


if __name__ == "__main__":
    file = Path(sys.argv[1])
    write(json.loads(file.read_text("utf-8")), file.parent)
