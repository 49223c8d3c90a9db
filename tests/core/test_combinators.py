"""Combinators: each row's own combination of what the members say.

Legend: B rows, P window positions.
"""

from __future__ import annotations

from types import SimpleNamespace

import attrs
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dlmkit.combinators import (
    ChainGuard,
    ChainLogits,
    Condition,
    FallbackTransfer,
    IntersectExit,
    IntersectStop,
    IntersectTransfer,
    UnionExit,
    UnionStop,
    UnionTransfer,
    WhenConfidence,
    WhenExit,
    WhenGuard,
    WhenInputs,
    WhenLogits,
    WhenRevise,
    WhenSample,
    WhenStop,
    WhenTransfer,
)
from dlmkit.component import option
from dlmkit.need import Need
from dlmkit.roles import (
    CommitGuard,
    ConfidenceScorer,
    EarlyExit,
    Exit,
    InputTransform,
    LogitsTransform,
    Reviser,
    Revision,
    StopRule,
    TokenSampler,
    TransferRule,
)

ODD = torch.tensor([[False, True, False, True], [False, True, False, True]])
FIRST_ROW = torch.tensor([True, False])


def view(**changes):
    """Two rows of four positions: half done and not begun."""
    values = {
        "eligible_BP": torch.ones(2, 4, dtype=torch.bool),
        "progress_B": torch.tensor([0.5, 0.0]),
        "block": SimpleNamespace(index_B=torch.tensor([1, 0])),
        "samples_B": torch.tensor([10, 11]),
        "taken": 3,
    }
    return SimpleNamespace(**(values | changes))


@attrs.frozen
class Fixed(TransferRule):
    """Selects the positions it is given, in every row."""

    name = "fixed"
    where: tuple[bool, ...] = option(doc="positions")
    steps: int | None = option(None, doc="fixed steps")

    def select(self, confidence_BP, view):
        return torch.tensor(self.where).expand_as(confidence_BP)

    def steps_per_block(self, width):
        return self.steps


@attrs.frozen
class Waiting(Fixed):
    """May select nothing."""

    name = "waiting"
    may_wait = True


@attrs.frozen
class Rows(StopRule):
    """Stops the rows it is given."""

    name = "rows"
    which: tuple[bool, bool] = option(doc="rows")

    def stop(self, view):
        return torch.tensor(self.which)


@attrs.frozen
class Leaves(EarlyExit):
    """Exits the rows it is given, or has nothing to say."""

    name = "leaves"
    which: tuple[bool, bool] | None = option(doc="rows")

    def decide(self, prediction, confidence_BP, view):
        return Exit(torch.tensor(self.which), "canvas") if self.which else None


@attrs.frozen
class Plus(LogitsTransform):
    """Adds a number."""

    name = "plus"
    number: float = option(doc="the number")

    def edit(self, logits_BPV, view):
        return logits_BPV + self.number


@attrs.frozen
class Sampling(Plus):
    """Adds a number for the sampler only."""

    name = "sampling-plus"
    stage = "sampling"


@attrs.frozen
class Drop(CommitGuard):
    """Commits nothing."""

    name = "drop"

    def guard(self, commit_BP, confidence_BP, view):
        return torch.zeros_like(commit_BP)


@attrs.frozen
class Everything(CommitGuard):
    """Commits everything."""

    name = "everything"

    def guard(self, commit_BP, confidence_BP, view):
        return torch.ones_like(commit_BP)


@attrs.frozen
class Says(TokenSampler):
    """Proposes one token."""

    name = "says"
    token: int = option(doc="the token")

    def propose(self, prediction, view):
        return torch.full((2, 4), self.token)


@attrs.frozen
class Scores(ConfidenceScorer):
    """One score."""

    name = "scores"
    space = "probability"
    value: float = option(doc="the score")

    def score(self, tokens_BP, prediction, view):
        return torch.full((2, 4), self.value)


@attrs.frozen
class Nats(Scores):
    """The same number in another unit."""

    name = "nats"
    space = "nats"


@attrs.frozen
class Reopen(Reviser):
    """Reopens everything."""

    name = "reopen"
    sees = "before"

    def revise(self, prediction, view):
        return Revision(torch.ones(2, 4, dtype=torch.bool), torch.zeros(2, 4, dtype=torch.int64))


@attrs.frozen
class Zero(InputTransform):
    """Feeds zeros."""

    name = "zero"

    def apply(self, ids_BN, view):
        return torch.zeros_like(ids_BN)


LEFT = Fixed((True, True, False, False))
RIGHT = Fixed((False, True, True, False))
NOTHING = Waiting((False,) * 4, steps=8)
SURE = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]])
HALF_DONE = Condition(progress=(0.5, None))
"""Holds in the first row only."""


def selected(rule: TransferRule, **changes) -> list[list[int]]:
    """Selected positions of each row."""
    commit_BP = rule.select(SURE, view(**changes))
    return [row.nonzero().flatten().tolist() for row in commit_BP]


def test_union_selects_what_any_rule_selects() -> None:
    """Position by position."""
    assert [[0, 1, 2], [0, 1, 2]] == selected(UnionTransfer((LEFT, RIGHT)))


def test_intersect_selects_what_all_rules_select() -> None:
    """Position by position."""
    assert [[1], [1]] == selected(IntersectTransfer((LEFT, RIGHT)))


def test_intersect_takes_the_surest_where_the_rules_agree_on_nothing() -> None:
    """A decode goes on; each row has its own surest position."""
    assert [[3], [0]] == selected(IntersectTransfer((LEFT, Fixed((False, False, True, True)))))


def test_intersect_never_selects_a_position_that_is_not_eligible() -> None:
    """Nor anything in a row that has nothing to decide."""
    eligible_BP = torch.tensor([[True, False, True, False], [False, False, False, False]])
    rule = IntersectTransfer((Fixed((False, True, False, False)), NOTHING))
    assert [[2], []] == selected(rule, eligible_BP=eligible_BP)


def test_intersect_breaks_ties_to_the_lowest_position_even_at_minus_infinity() -> None:
    """Scores of minus infinity on eligible positions still rank above the others."""
    hopeless_BP = torch.full((2, 4), -torch.inf)
    eligible_BP = torch.tensor([[False, True, True, False]] * 2)
    commit_BP = IntersectTransfer((NOTHING, LEFT)).select(
        hopeless_BP, view(eligible_BP=eligible_BP)
    )
    assert [[False, True, False, False]] * 2 == commit_BP.tolist()


def test_fallback_uses_the_first_rule_that_selects_anything_in_a_row() -> None:
    """Each row falls back on its own."""
    eligible_BP = torch.tensor([[True, True, True, True], [False, False, True, True]])
    rule = FallbackTransfer((LEFT, Fixed((False, False, True, True))))
    assert [[0, 1], [2, 3]] == selected(rule, eligible_BP=eligible_BP)


def test_when_uses_one_rule_where_it_holds_and_the_other_elsewhere() -> None:
    """Row by row."""
    rule = WhenTransfer(condition=HALF_DONE, then=LEFT, otherwise=RIGHT)
    assert [[0, 1], [1, 2]] == selected(rule)


@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=2, max_size=4))
def test_union_and_intersect_agree_with_a_loop(masks: list[list[bool]]) -> None:
    """For any masks; the intersection is compared where it is not empty."""
    rules = tuple(Fixed(tuple(mask)) for mask in masks)
    union = [position for position in range(4) if any(mask[position] for mask in masks)]
    both = [position for position in range(4) if all(mask[position] for mask in masks)]
    assert [union, union] == selected(UnionTransfer(rules))
    assert [both or [3], both or [0]] == selected(IntersectTransfer(rules))


def test_a_union_waits_only_where_all_its_rules_may() -> None:
    """One rule that always commits is enough."""
    assert not UnionTransfer((NOTHING, LEFT)).may_wait
    assert UnionTransfer((NOTHING, NOTHING)).may_wait
    assert not FallbackTransfer((NOTHING, LEFT)).may_wait
    assert not IntersectTransfer((NOTHING, NOTHING)).may_wait
    assert WhenTransfer(condition=HALF_DONE, then=NOTHING, otherwise=LEFT).may_wait


def test_a_combination_that_may_wait_bounds_its_steps() -> None:
    """The loop needs the number to tell waiting from being stuck."""
    slow = Waiting((False,) * 4, steps=20)
    assert 8 == UnionTransfer((slow, NOTHING)).steps_per_block(32)
    assert 20 == FallbackTransfer((slow, NOTHING)).steps_per_block(32)
    assert 28 == WhenTransfer(condition=HALF_DONE, then=slow, otherwise=NOTHING).steps_per_block(32)
    assert 52 == WhenTransfer(condition=HALF_DONE, then=slow, otherwise=LEFT).steps_per_block(32)


def test_a_combination_that_does_not_wait_fixes_its_steps_only_where_it_can() -> None:
    """Two rules with the same number of steps keep it."""
    four, five = Fixed((True,) * 4, steps=4), Fixed((True,) * 4, steps=5)
    assert UnionTransfer((four, LEFT)).steps_per_block(32) is None
    assert 4 == WhenTransfer(condition=HALF_DONE, then=four, otherwise=four).steps_per_block(32)
    assert WhenTransfer(condition=HALF_DONE, then=four, otherwise=five).steps_per_block(32) is None


def test_operators_are_union_and_intersect() -> None:
    """A chain of the same operator has one level."""
    assert UnionTransfer((LEFT, RIGHT)) == LEFT | RIGHT
    assert UnionTransfer((LEFT, RIGHT, NOTHING)) == LEFT | RIGHT | NOTHING
    assert IntersectTransfer((LEFT, RIGHT)) == LEFT & RIGHT
    assert UnionTransfer((LEFT, IntersectTransfer((RIGHT, NOTHING)))) == LEFT | RIGHT & NOTHING
    assert UnionStop((Rows((True, False)), Rows((False, False)))) == (
        Rows((True, False)) | Rows((False, False))
    )
    assert IntersectExit((Leaves(None), Leaves(None))) == Leaves(None) & Leaves(None)


def test_an_exit_with_another_scope_is_not_opened_by_the_operator() -> None:
    """Its scope would be lost."""
    canvas = UnionExit((Leaves(None), Leaves(None)), scope="canvas")
    assert UnionExit((canvas, Leaves(None))) == canvas | Leaves(None)


@pytest.mark.parametrize("other", [Says(1), 3, None, Rows((True, True))])
def test_operators_refuse_what_is_not_of_the_same_role(other) -> None:
    """Python's own TypeError says which types."""
    with pytest.raises(TypeError, match="unsupported operand"):
        LEFT | other


def test_roles_without_a_union_have_no_operator() -> None:
    """Two samplers cannot both propose the token."""
    with pytest.raises(TypeError, match="unsupported operand"):
        Says(1) | Says(2)


def test_stop_rules_combine_by_rows() -> None:
    """Any, and all."""
    one, other = Rows((True, False)), Rows((True, True))
    assert [True, True] == UnionStop((one, other)).stop(view()).tolist()
    assert [True, False] == IntersectStop((one, other)).stop(view()).tolist()


def test_exits_combine_by_rows_with_their_own_scope() -> None:
    """A rule with nothing to say vetoes an intersection and is ignored in a union."""
    one, other, silent = Leaves((True, False)), Leaves((True, True)), Leaves(None)
    union = UnionExit((one, silent, other)).decide(None, SURE, view())
    both = IntersectExit((one, other), scope="canvas").decide(None, SURE, view())
    assert ([True, True], "block") == (union.rows_B.tolist(), union.scope)
    assert ([True, False], "canvas") == (both.rows_B.tolist(), both.scope)
    assert IntersectExit((one, silent)).decide(None, SURE, view()) is None
    assert UnionExit((silent, silent)).decide(None, SURE, view()) is None


def test_a_chain_applies_its_members_in_order() -> None:
    """Each sees what the one before left, cut to what is eligible."""
    logits_BPV = torch.zeros(2, 4, 3)
    assert 3.0 == ChainLogits((Plus(1.0), Plus(2.0))).edit(logits_BPV, view()).max()
    guarded_BP = ChainGuard((Drop(), Everything())).guard(ODD, SURE, view(eligible_BP=ODD))
    assert ODD.tolist() == guarded_BP.tolist()


def test_a_chain_has_the_stage_of_its_members() -> None:
    """Members of different stages are refused at check time."""
    assert "sampling" == ChainLogits((Sampling(1.0), Sampling(2.0))).stage
    assert "sampling" == WhenLogits(condition=HALF_DONE, then=Sampling(1.0)).stage
    found = list(ChainLogits.check_options({"of": (Sampling(1.0), Plus(1.0))}))
    assert [("of", "a chain holds transforms of one stage, score or sampling")] == [
        each[:2] for each in found
    ]


def test_when_leaves_the_other_rows_alone() -> None:
    """In every role whose slot is a list."""
    now, tokens_BN = view(), torch.arange(8).reshape(2, 4)
    logits_BPV = torch.zeros(2, 4, 3)
    edited_BPV = WhenLogits(condition=HALF_DONE, then=Plus(1.0)).edit(logits_BPV, now)
    fed_BN = WhenInputs(condition=HALF_DONE, then=Zero()).apply(tokens_BN, now)
    kept_BP = WhenGuard(condition=HALF_DONE, then=Drop()).guard(ODD, SURE, now)
    verdict = WhenExit(condition=HALF_DONE, then=Leaves((True, True))).decide(None, SURE, now)
    reviser = WhenRevise(condition=HALF_DONE, then=Reopen())
    rows_B = WhenStop(condition=HALF_DONE, then=Rows((True, True))).stop(now)
    assert [1.0, 0.0] == edited_BPV.amax(dim=(1, 2)).tolist()
    assert [[0, 0, 0, 0], [4, 5, 6, 7]] == fed_BN.tolist()
    assert [[False] * 4, ODD[1].tolist()] == kept_BP.tolist()
    assert ([True, False], "canvas") == (verdict.rows_B.tolist(), verdict.scope)
    assert [True, False] == reviser.revise(None, now).where_BP.any(dim=1).tolist()
    assert "before" == reviser.sees
    assert [True, False] == rows_B.tolist()
    assert WhenExit(condition=HALF_DONE, then=Leaves(None)).decide(None, SURE, now) is None


def test_when_chooses_samplers_and_scores_by_row() -> None:
    """The unit of a mixed score is unbounded."""
    sampler = WhenSample(condition=HALF_DONE, then=Says(1), otherwise=Says(2))
    scorer = WhenConfidence(condition=HALF_DONE, then=Scores(1.0), otherwise=Scores(2.0))
    mixed = WhenConfidence(condition=HALF_DONE, then=Scores(1.0), otherwise=Nats(2.0))
    assert [1, 2] == sampler.propose(None, view())[:, 0].tolist()
    assert [1.0, 2.0] == scorer.score(ODD, None, view())[:, 0].tolist()
    assert ("probability", "unbounded") == (scorer.score_space(), mixed.score_space())


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        (Condition(progress=(0.0, 0.5)), [False, True]),
        (Condition(progress=(0.5, 1.0)), [True, False]),
        (Condition(block=(1, None)), [True, False]),
        (Condition(block=(0, 1)), [False, True]),
        (Condition(step=(0, 3)), [False, False]),
        (Condition(step=(3, 4)), [True, True]),
        (Condition(row=(11, None)), [False, True]),
        (Condition(row=(0, 11), step=(0, 9)), [True, False]),
        (Condition(row=(0, 11), step=(9, None)), [False, False]),
    ],
)
def test_conditions_are_half_open_and_must_all_hold(condition: Condition, rows) -> None:
    """The low end belongs to the interval, the high end does not."""
    assert rows == condition.holds_B(view()).tolist()


def test_a_condition_needs_an_interval_that_is_not_empty() -> None:
    """An empty condition, or one that never holds, is a mistake."""
    with pytest.raises(ValueError, match="needs one of progress, block, step, row"):
        Condition()
    with pytest.raises(ValueError, match=r"must be \[low, high\] with low below high"):
        Condition(step=(4, 4))


def test_a_combination_needs_two_members() -> None:
    """One rule alone needs no combinator."""
    with pytest.raises(ValueError, match="at least two members"):
        UnionTransfer((LEFT,))


def test_a_combination_declares_what_its_members_declare() -> None:
    """Checks and the loop see through it."""

    @attrs.frozen
    class Far(Fixed):
        """Reads, remembers and draws."""

        name = "far"
        need = Need(top=3, entropy=True)
        span = "region"
        history = True
        stochastic = True
        requires = frozenset({"hidden"})

    far = LEFT | (RIGHT & Far((True,) * 4))
    near = LEFT | RIGHT
    assert ("region", True, True, False, {"hidden"}) == (
        far.span,
        far.history,
        far.stochastic,
        far.reopens,
        far.requires,
    )
    assert Need(top=3, entropy=True) == far.needs()
    assert ("block", False, False, frozenset()) == (
        near.span,
        near.history,
        near.stochastic,
        near.requires,
    )
