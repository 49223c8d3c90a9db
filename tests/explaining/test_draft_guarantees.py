"""Promises of drafting and verifying, and the acceptance from which on it pays."""

from __future__ import annotations

import json

import attrs
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from dlmkit.cli.main import main
from dlmkit.draft_verify.kernel import DraftVerify
from dlmkit.explaining.break_even import break_even, decided, expected
from dlmkit.explaining.draft_guarantees import draft_guarantees
from dlmkit.plugins import get_plugins
from dlmkit.profiling.costs import CostTable
from dlmkit.profiling.weighing import Scales
from dlmkit.spec import load_spec
from dlmkit_strategies.cache import D2Cache, DelayedDecode, Dual, FreeCache, Refresh, Sparse
from dlmkit_strategies.draft_verify import (
    AfterDraft,
    BeforeDraft,
    Elementwise,
    EveryState,
    Fixed,
    Greedy,
    LeaveOneOut,
    Prefix,
    ReplaceAll,
    ReplaceFirst,
    VerifierStep,
    WhenEmpty,
    WhenWhole,
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


def under(cache):
    """What is promised with a cache of the verifier."""
    verifier = attrs.evolve(LOSSLESS.verifier, cache=cache)
    found = draft_guarantees(attrs.evolve(LOSSLESS, verifier=verifier), gen_length=32)
    return {each.id: each for each in found}


@pytest.mark.parametrize("cache", [Dual(), FreeCache(), Sparse(), Refresh(of=Dual(), every=4)])
def test_a_cache_that_stands_still_makes_it_the_text_under_that_cache(cache):
    """Which is named; what the cache itself approximates is no longer promised."""
    found = under(cache)
    assert found["lossless"].holds
    assert f"under its cache {cache.name!r}" in found["lossless"].claim
    assert found["fewer"].holds
    assert not found["exact"].holds


@pytest.mark.parametrize("cache", [DelayedDecode(), D2Cache(), Refresh(of=D2Cache(), every=4)])
def test_a_cache_that_every_pass_changes_loses_the_promise(cache):
    """Neither the text nor its law is the verifier's; what is stored is still of what stands."""
    found = under(cache)
    for lost in ("lossless", "law", "fewer"):
        assert not found[lost].holds
    assert f"cache {cache.name!r} is as before the round" in found["lossless"].reason
    assert found["untouched"].holds


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
        assert price == pytest.approx(
            expected(decided(procedure, steps), found.acceptance), rel=1e-6
        )


@given(st.integers(1, 6), st.floats(0.0, 1.0))
def test_a_chain_decides_what_the_round_model_says(steps, share):
    """Up to the first failure, and the verifier's own step: (1 - a^(S+1)) / (1 - a)."""
    chain = sum(share**kept for kept in range(steps + 1))
    assert chain == pytest.approx(expected(decided(LOSSLESS, steps), share))


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        ({"view": AfterDraft(), "bonus": None}, [0, 1, 2, 3]),
        ({"view": BeforeDraft(), "bonus": None}, [1, 1, 2, 3]),
        ({"view": AfterDraft(), "bonus": VerifierStep()}, [1, 2, 3, 4]),
        ({"view": AfterDraft(), "bonus": WhenEmpty()}, [1, 1, 2, 3]),
        ({"view": AfterDraft(), "bonus": WhenWhole()}, [0, 1, 2, 4]),
        ({"view": AfterDraft(), "bonus": None, "resolve": ReplaceAll()}, [3, 3, 3, 3]),
    ],
    ids=lambda value: "",
)
def test_what_a_round_decides_follows_from_its_parts(change, counts):
    """Three guesses, each by itself, by how many of them pass."""
    procedure = attrs.evolve(LOSSLESS, scope=Elementwise(), judge=Greedy(), **change)
    assert counts == pytest.approx(decided(procedure, 3))


def test_caches_and_shadows_have_their_price():
    """A cached drafter feeds its block; a shadow is a position more."""
    linear = {
        name: CostTable({(rows, fed): rows * fed * price for rows in (1, 2) for fed in (1, 512)})
        for name, price in (("drafter", 0.5), ("verifier", 1.0))
    }
    prices = Scales(linear, "verifier")
    fast = load_spec("dual-diffusion-fast", ["gen_length=32", "pipeline.draft.pipeline.cache=dual"])
    found = break_even(fast.pipeline, prices, gen_length=32)
    assert (3 * 0.5 * 8 / 64, (64 + 8) / 64) == pytest.approx((found.drafting, found.verifying))
    guesses = load_spec("dual-diffusion-fast", ["gen_length=32", "pipeline.view=loo-guesses"])
    found = break_even(guesses.pipeline, prices, gen_length=32)
    assert (64 + 3) / 64 == pytest.approx(found.verifying)


def run(*arguments: str):
    return CliRunner().invoke(main, ["explain", *arguments])


def test_prices_have_to_be_measured_first(monkeypatch):
    """The message says how; afterwards the break-even is printed, with no model loaded."""
    monkeypatch.setattr(Scales, "recorded", lambda models, home: None)
    shown = " ".join(run("dual-diffusion-lossless").stdout.split())
    assert "not known: passes of these models were not measured here" in shown
    missing = json.loads(run("dual-diffusion-lossless", "--json").stdout)
    assert missing["break_even"] is None
    assert "dlmkit profile --pipeline dual-diffusion-lossless" in missing["break_even_missing"]
    monkeypatch.setattr(Scales, "recorded", lambda models, home: scales(0.1, 0.1))
    shown = run("dual-diffusion-lossless").stdout
    assert "of the steps pass" in " ".join(shown.split())
    found = json.loads(run("dual-diffusion-lossless", "--json").stdout)
    assert 0 < found["break_even"]["acceptance"] < 1
    assert found["break_even_missing"] is None
    assert "Break-even" not in run("llada").stdout


@pytest.mark.parametrize("preset", sorted(get_plugins().presets))
def test_every_round_can_be_weighed(preset):
    """Whatever drafts and however it is judged."""
    document = load_spec(preset)
    if isinstance(document.pipeline, DraftVerify):
        costs = dict.fromkeys(document.models, CostTable({(1, 1): 1.0}))
        found = break_even(document.pipeline, Scales(costs, document.pipeline.home()), 32)
        assert found.acceptance is None or 0 <= found.acceptance <= 1
