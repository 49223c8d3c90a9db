"""The comparison of the methods says what was measured, of every preset that there is."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from dlmkit import Runner, load_spec
from dlmkit.builtin.accuracy import Accuracy, held_out
from dlmkit.plugins import get_plugins

DOCS = Path(__file__).parents[2] / "docs"
AGAIN = "run python docs/measure_methods.py, then python docs/write_methods.py"


@pytest.fixture(scope="module")
def scripts():
    """The scripts, which import each other from their own folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(DOCS)
        names = ("methods_data", "methods_plot", "measure_methods", "write_methods")
        yield {name: importlib.import_module(name) for name in names}


@pytest.fixture(scope="module")
def measured(scripts):
    """The stored measurements."""
    return scripts["methods_data"].read()


def test_page_and_plot_follow_from_the_measurements(scripts):
    """Writing them again would change nothing."""
    for path, text in scripts["write_methods"].files().items():
        assert text == (DOCS / path).read_text("utf-8"), "run python docs/write_methods.py"


def test_every_preset_was_measured(measured):
    """And none that is gone."""
    assert sorted(get_plugins().presets) == [entry.name for entry in measured.presets], AGAIN


def test_the_measured_specs_are_the_present_ones(scripts, measured):
    """A preset or a component that changes is measured again."""
    script = scripts["measure_methods"]
    for entry in measured.presets:
        changes = script.shortened(entry.name)
        assert tuple(changes) == entry.changes, f"{entry.name}: {AGAIN}"
        if entry.tasks:
            assert load_spec(entry.name, changes).spec_id == entry.spec_id, f"{entry.name}: {AGAIN}"


def test_every_method_was_measured_on_the_same_prompts(measured):
    """As many of each task; a slow method gets no fewer."""
    for entry in (*measured.presets, *measured.combinations):
        counts = {len(task.solved) for task in entry.tasks.values()}
        assert counts <= {measured.prompts // 4}, f"{entry.name}: {AGAIN}"


def test_the_measured_weights_are_the_shipped_ones(scripts, measured):
    """By their hash."""
    assert scripts["measure_methods"].weights() == measured.weights, AGAIN


@pytest.mark.parametrize("name", ["fast-dllm", "saber-paper", "info-gain"])
def test_a_sample_measures_the_same_again(scripts, measured, name):
    """The first prompts of each task: the same right answers in as many passes."""
    entry = next(each for each in measured.presets if each.name == name)
    runner = Runner.load(load_spec(name, entry.changes))
    for task, stored in entry.tasks.items():
        examples = held_out(task, min(2, len(stored.solved)), measured.seed)
        rows = scripts["measure_methods"].decoded(runner, examples, 0)
        assert stored.solved[:2] == "".join(str(int(row["solved"])) for row in rows)
        assert list(stored.passes[:2]) == [row["passes"] for row in rows]


def result(scripts, solved, passes):
    """One task's result."""
    return scripts["methods_data"].TaskResult(
        solved=solved, passes=tuple(passes), home=6, tokens=8, fed=90, revised=1
    )


def entry(scripts, name, solved, passes):
    """An entry with one task."""
    tasks = {"lists": result(scripts, solved, passes)}
    return scripts["methods_data"].Entry(name=name, changes=(), spec_id="", tasks=tasks)


def test_means_are_per_prompt(scripts):
    """All passes are listed by prompt, the rest are totals."""
    one = entry(scripts, "one", "1101", [4, 4, 2, 2])
    assert (3.0, 1.5, 2.0, 22.5, 0.25) == tuple(
        one.mean(what) for what in ("passes", "home", "tokens", "fed", "revised")
    )
    assert (Accuracy(3, 4), 2 / 3) == (one.overall, one.tokens_per_pass)


def test_fronts_hold_what_nothing_beats(scripts):
    """Fewer passes and as many right answers beat; equals share a front."""
    entries = [
        entry(scripts, "slow and good", "1111", [9] * 4),
        entry(scripts, "fast and poor", "1000", [2] * 4),
        entry(scripts, "as fast and poor", "0100", [2] * 4),
        entry(scripts, "slow and poor", "1000", [9] * 4),
        entry(scripts, "slower and poor", "1000", [10] * 4),
    ]
    fronts = scripts["methods_data"].fronts(entries)
    assert [1, 1, 1, 2, 3] == [fronts[each.name] for each in entries]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("111111", "000000", (6, 0, 2 / 64)),
        ("10", "01", (1, 1, 1.0)),
        ("1111", "11", (0, 0, 1.0)),
    ],
)
def test_methods_are_compared_on_shared_prompts(scripts, one, other, expected):
    """McNemar's exact test, two-sided, by hand."""
    pair = [entry(scripts, "one", one, [1]), entry(scripts, "other", other, [1])]
    assert expected == scripts["methods_data"].compared(*pair)


@pytest.mark.parametrize(
    ("says", "difference", "cheaper", "expected"),
    [
        ("cheaper", (0, 5, 0.06), True, "yes"),
        ("cheaper", (0, 9, 0.004), True, "no, it is worse"),
        ("cheaper", (9, 0, 0.004), False, "no, it costs no less"),
        ("better", (9, 0, 0.004), False, "yes"),
        ("better", (5, 0, 0.06), True, "no difference"),
        ("better", (0, 9, 0.004), True, "no, it is worse"),
    ],
)
def test_a_claim_shows_where_the_numbers_bear_it_out(scripts, says, difference, cheaper, expected):
    """Chance must be unlikely for a difference to count."""
    claim = scripts["write_methods"].Claim("one", "other", says, "text")
    assert expected == scripts["write_methods"]._verdict(claim, difference, cheaper=cheaper)
