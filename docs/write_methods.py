"""Write the page that compares the methods: `python docs/write_methods.py`.

It follows from docs/reference/methods.json, which docs/measure_methods.py measures.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import attrs
from methods_data import Entry, Measurements, compared, fronts, read
from methods_plot import Point, scatter

from dlmkit.builtin.accuracy import Accuracy
from dlmkit.builtin.tasks import TASKS

HERE = Path(__file__).parent
PAGE, PLOT = Path("reference/methods.md"), Path("images/methods.svg")
SURE = 0.05
"""Probability of chance under which a difference counts."""


@attrs.frozen
class Claim:
    """What a paper says of its method beside another: at least as good and cheaper, or better."""

    method: str
    rival: str
    says: Literal["cheaper", "better"]
    text: str


CLAIMS = (
    Claim("fast-dllm", "llada", "cheaper", "a threshold of 0.9 keeps the accuracy"),
    Claim("fast-dllm-factor", "llada", "cheaper", "the factor rule keeps the accuracy"),
    Claim("fast-dllm-dual", "fast-dllm", "cheaper", "the dual cache keeps the accuracy"),
    Claim("eb-sampler", "llada-entropy", "cheaper", "bounded entropy keeps the accuracy"),
    Claim("klass", "llada", "cheaper", "stable and sure positions keep the accuracy"),
    Claim("ete", "fast-dllm", "cheaper", "exploring uncertain tokens saves passes"),
    Claim("dparallel", "llada", "cheaper", "certain positions can be decided at once"),
    Claim("soft-mask", "llada", "better", "earlier predictions help, in networks trained for it"),
    Claim("localleap", "fast-dllm", "cheaper", "neighbours of sure positions may be less sure"),
    Claim("credit", "fast-dllm", "cheaper", "credit for earlier favourites saves passes"),
    Claim("hierarchy", "fast-dllm", "cheaper", "dividing the gaps saves passes"),
    Claim("prophet", "llada", "cheaper", "the answer is known early"),
    Claim("sched-paper", "dream-entropy", "cheaper", "a falling bar keeps the accuracy"),
    Claim("ccd-paper", "llada-entropy", "better", "averaged distributions choose better"),
    Claim("ccd-code", "llada-entropy", "cheaper", "agreeing runners-up save passes"),
    Claim("saber", "llada", "cheaper", "backtracking allows bold steps"),
    Claim("rcr", "rcr-base", "better", "running confidence finds better tokens to take back"),
    Claim("p2", "llada", "better", "planning which tokens to keep helps"),
    Claim("remdm-loop", "llada", "better", "taking back and refilling helps"),
    Claim("pc-sampler", "llada", "better", "position and rarity choose better"),
    Claim("info-gain", "llada", "better", "looking ahead chooses better"),
    Claim("dus", "llada", "cheaper", "positions far apart can be decided together"),
    Claim("wino", "llada", "cheaper", "verification allows bold steps"),
    Claim("dkv-decode", "llada", "cheaper", "decided tokens need no further passes"),
    Claim("d2cache", "llada", "cheaper", "promising and fresh positions are enough"),
    Claim("adablock", "fast-dllm", "cheaper", "blocks that end where a step ends save passes"),
    Claim("daedal", "fast-dllm", "better", "a length that fits the answer helps"),
    Claim("eotp", "llada", "cheaper", "the end of the text is known early"),
    Claim("best-of", "llada-sampling", "better", "the likeliest of four draws is better"),
    Claim("dual-diffusion-paper", "llada", "cheaper", "a checked draft is as good"),
    Claim("dual-diffusion-fast", "fast-dllm", "cheaper", "a checked draft is as good"),
)
"""Published claims, one for each method that is compared with what it builds on."""


def files() -> dict[Path, str]:
    """The page and its plot by their paths below docs/."""
    measured = read()
    return {PAGE: _page(measured), PLOT: _plot(measured)}


def _complete(measured: Measurements) -> list[Entry]:
    return [entry for entry in measured.presets if set(entry.tasks) == set(TASKS)]


def _plot(measured: Measurements) -> str:
    entries = _complete(measured)
    number = fronts(entries)
    points = [
        Point(entry.name, entry.mean("passes"), entry.overall.rate, number[entry.name] == 1)
        for entry in entries
    ]
    return scatter(points, "forward passes for each prompt", "right answers, all tasks")


def _page(measured: Measurements) -> str:
    parts = (HEAD.format(length=measured.gen_length, prompts=measured.prompts, seed=measured.seed),)
    return "".join(
        (
            *parts,
            *_table(_complete(measured)),
            INCOMPLETE,
            *_incomplete(measured),
            CLAIMED,
            *_claims({entry.name: entry for entry in _complete(measured)}),
            COMBINED,
            *_table(list(measured.combinations)),
            FOOT.format(weights=measured.weights[:16]),
        )
    )


def _table(entries: list[Entry]) -> Iterator[str]:
    number = fronts(entries)
    yield "| method | front | all tasks | " + " | ".join(TASKS)
    yield " | passes | tokens per pass | fed | revised |\n"
    yield "|---" * (7 + len(TASKS)) + "|\n"
    for entry in sorted(entries, key=lambda each: (number[each.name], each.mean("passes"))):
        cells = [
            entry.name,
            str(number[entry.name]),
            _share(entry.overall),
            *(_share(entry.tasks[task].accuracy) for task in TASKS),
            _passes(entry),
            f"{entry.tokens_per_pass:.2f}",
            f"{entry.mean('fed'):.0f}",
            f"{entry.mean('revised'):.1f}",
        ]
        yield f"| {' | '.join(cells)} |\n"


def _passes(entry: Entry) -> str:
    """All passes, and where others help, those of the model that answers."""
    every, home = entry.mean("passes"), entry.mean("home")
    return f"{every:.1f}" if every == home else f"{every:.1f} ({home:.1f})"


def _share(accuracy: Accuracy) -> str:
    low, high = accuracy.interval
    return f"{accuracy.rate:.0%} ({low:.0%} to {high:.0%})"


def _incomplete(measured: Measurements) -> Iterator[str]:
    for entry in measured.presets:
        for task, reason in entry.refused.items():
            where = "" if task == "*" else f" ({task})"
            yield f"* `{entry.name}`{where}: {reason}\n"


def _claims(entries: dict[str, Entry]) -> Iterator[str]:
    yield "| method | beside | claim | only it is right | only the other | passes | fed | shows |\n"
    yield "|---" * 8 + "|\n"
    for claim in CLAIMS:
        one, other = entries.get(claim.method), entries.get(claim.rival)
        if one and other:
            won, lost, chance = compared(one, other)
            ratios = [one.mean(what) / other.mean(what) for what in ("home", "fed")]
            cells = (claim.method, claim.rival, claim.text, str(won), str(lost))
            verdict = _verdict(claim, (won, lost, chance), cheaper=min(ratios) < 1)
            shown = (*cells, *(f"{ratio:.2f} x" for ratio in ratios), verdict)
            yield f"| {' | '.join(shown)} |\n"


def _verdict(claim: Claim, difference: tuple[int, int, float], *, cheaper: bool) -> str:
    won, lost, chance = difference
    worse, better = lost > won and chance < SURE, won > lost and chance < SURE
    if claim.says == "better":
        return "yes" if better else "no, it is worse" if worse else "no difference"
    if not cheaper:
        return "no, it costs no less"
    return "no, it is worse" if worse else "yes"


HEAD = """\
<!-- Written by docs/write_methods.py; do not edit. -->

# Methods compared

Every preset on the built-in verifier (or the built-in models that it names), on the same prompts:
{prompts} held-out ones (seed {seed}), as many of each task. The model is small and knows four
kinds of task, so this page is about methods beside each other, not about how good any of them is
on a large model.

Presets are written for 128 tokens; here {length} are generated, and every option that counts
positions or steps is divided alike (not below 4).

* **front**: 1 for the methods that no other beats in both passes and right answers; 2 for those
  that only front 1 beats; and so on.
* **shares**: of right answers, exactly as the task wants them, with the 95 % interval (Wilson).
* **passes**: forward passes of all networks that a prompt took part in, mean; in brackets, where a
  drafter helps, those of the model that answers.
* **tokens per pass**: tokens of the text up to its end, over passes.
* **fed**: positions computed for a prompt, mean over all passes and networks.
* **revised**: tokens taken back or replaced for each prompt, mean.

![Right answers against forward passes; the front is joined](../images/methods.svg)

Point at a dot to see its name.

"""

INCOMPLETE = """
## Not in the table

These do not run on the built-in verifier, or not on all tasks:

"""

CLAIMED = """
## Which claims show on this model

A claim that a method is cheaper *shows* if the model that answers takes fewer passes, or fewer
positions are fed, and it is not worse; a claim that it is better shows if it is. Worse and better
mean that McNemar's exact test on the prompts both were measured on finds a difference at the 5 %
level. What does not show here may well show on a large model, whose distributions are less
certain and whose texts are longer.

"""

COMBINED = """
## Caches with transfer rules

The preset `llada` over blocks of eight, with other caches and transfer rules.

"""

FOOT = """
## Measure again

`python docs/measure_methods.py` writes `docs/reference/methods.json` after each method and goes
on where it was stopped; `python docs/write_methods.py` writes this page. The verifier's weights
have the SHA-256 `{weights}…`.
"""


def main() -> None:
    """Write the page and the plot."""
    for path, text in files().items():
        (HERE / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
