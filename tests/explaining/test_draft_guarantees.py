"""Promises of drafting and verifying, and the acceptance from which on it pays."""

from __future__ import annotations

import json

import attrs
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from dlmkit.cli.main import main
from dlmkit.explaining.break_even import break_even, expected
from dlmkit.explaining.draft_guarantees import draft_guarantees
from dlmkit.profiling.costs import CostTable
from dlmkit.profiling.weighing import Scales
from dlmkit.spec import load_spec
from dlmkit_strategies.draft_verify import (
    Elementwise,
    EveryState,
    Fixed,
    Greedy,
    LeaveOneOut,
    Prefix,
    ReplaceAll,
    ReplaceFirst,
)

LOSSLESS = load_spec("dual-diffusion-lossless").pipeline


def promises(**changes) -> dict[str, bool]:
    found = draft_guarantees(attrs.evolve(LOSSLESS, **changes), gen_length=32)
    return {each.id: each.holds for each in found}


def test_the_lossless_preset_promises_everything():
    """Its own promises, and those of the verifier's pipeline."""
    found = promises()
    assert all(found.values())
    assert {"lossless", "law", "fewer", "exact", "in-sequence", "own-step"} <= set(found)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"judge": Greedy()}, "judge 'greedy' rates tokens, not steps"),
        ({"view": LeaveOneOut()}, "view 'loo' does not show every state"),
        ({"scope": Elementwise()}, "scope 'elementwise' goes on after a failed step"),
        ({"resolve": ReplaceAll()}, "resolve 'replace-all' writes more"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_each_part_can_break_the_promise(change, reason):
    """And is named; the verifier's own promises then say nothing about the text."""
    found = draft_guarantees(attrs.evolve(LOSSLESS, **change), gen_length=32)
    (lossless,) = (each for each in found if each.id == "lossless")
    assert not lossless.holds
    assert reason == lossless.reason
    assert "in-sequence" not in {each.id for each in found}


def test_an_exact_judge_of_tokens_keeps_the_law():
    """Greedy from left to right is the verifier's greedy text, token by token."""
    greedy = {"judge": Greedy(), "view": EveryState(), "resolve": ReplaceFirst()}
    assert promises(**greedy, scope=Prefix(order="position"))["law"]
    assert not promises(**greedy, scope=Elementwise())["law"]


@pytest.mark.parametrize("name", ["dual-diffusion-fast", "dual-diffusion-paper"])
def test_heuristics_promise_no_text(name):
    """But they end, and keep what they decided."""
    document = load_spec(name)
    found = draft_guarantees(document.pipeline, document.gen_length)
    held = {each.id: each.holds for each in found}
    assert (False, False) == (held["lossless"], held["fewer"])
    assert held["ends"]
    assert held["final"]


def scales(drafter: float, row: float) -> Scales:
    """A drafter at a price, and a verifier whose further rows have one."""
    shapes = [(rows, fed) for rows in (1, 2, 32) for fed in (1, 512)]
    costs = {
        "drafter": CostTable(dict.fromkeys(shapes, drafter)),
        "verifier": CostTable({shape: 1 + row * (shape[0] - 1) for shape in shapes}),
    }
    return Scales(costs, "verifier")


def test_free_rows_pay_early_and_dear_rows_never():
    """Four steps at a quarter each cost one; with one pass two steps have to be decided."""
    four = attrs.evolve(LOSSLESS, schedule=Fixed(steps=4))
    free = break_even(four, scales(0.25, 1e-9), gen_length=32)
    assert (4, 5, 1.0) == (free.steps, free.rows, pytest.approx(free.drafting))
    assert 0.5 == pytest.approx(free.acceptance, abs=0.02)
    dear = break_even(four, scales(0.25, 1.0), gen_length=32)
    assert 6.0 == pytest.approx(dear.drafting + dear.verifying)
    assert dear.acceptance is None


@given(st.integers(1, 8), st.floats(0.01, 0.5))
def test_at_the_break_even_a_round_decides_what_it_costs(steps, drafter):
    """To six digits."""
    procedure = attrs.evolve(LOSSLESS, schedule=Fixed(steps=steps))
    found = break_even(procedure, scales(drafter, 1e-9), gen_length=32)
    price = found.drafting + found.verifying
    if found.acceptance is None:
        assert price > steps + 1
    else:
        assert price == pytest.approx(expected(steps, found.acceptance), rel=1e-6)


def run(*arguments: str):
    return CliRunner().invoke(main, ["explain", *arguments])


def test_prices_have_to_be_measured_first(monkeypatch):
    """The message says how; afterwards the break-even is printed."""
    result = run("dual-diffusion-lossless", "--break-even")
    assert 2 == result.exit_code
    assert "dlmkit profile --pipeline dual-diffusion-lossless" in result.stderr
    monkeypatch.setattr(Scales, "find", lambda models, home: scales(0.1, 0.1))
    shown = run("dual-diffusion-lossless", "--break-even").stdout
    assert "of the steps are kept" in " ".join(shown.split())
    found = json.loads(run("dual-diffusion-lossless", "--break-even", "--json").stdout)
    assert 0 < found["break_even"]["acceptance"] < 1
    assert "drafts nothing" in run("llada", "--break-even").stderr
