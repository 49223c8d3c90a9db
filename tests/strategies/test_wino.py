"""WINO decides widely and takes back what the rest of the text does not bear out."""

from __future__ import annotations

from typing import Any

import attrs
import torch
from hypothesis import given
from hypothesis import strategies as st

from dlmkit.denoise import Denoise
from dlmkit.prediction import Prediction
from dlmkit.testing.conformance.decoding import decode
from dlmkit.testing.conformance.looped import toy_networks
from dlmkit.testing.plain import FoursInOrder
from dlmkit_strategies.confidence import Probability
from dlmkit_strategies.sample import Greedy
from dlmkit_strategies.transfer import Threshold
from dlmkit_strategies.wino import AtMostShare, Unsupported
from tests.strategies.steps import canvas_of, fresh, proposing, view_of

ROW = st.lists(st.floats(0, 1), min_size=8, max_size=8)


def pipeline(**changes: Any) -> Denoise:
    wino = Denoise(
        blocks=FoursInOrder(),
        sample=Greedy(),
        confidence=Probability(),
        transfer=Threshold(threshold=0.1),
        guard=(AtMostShare(share=0.5, least=1),),
        revise=(Unsupported(threshold=0.2),),
        max_steps=99,
    )
    return attrs.evolve(wino, **changes)


@given(ROW, st.floats(0.05, 1), st.integers(1, 4), st.integers(4, 9))
def test_a_share_of_the_masks_is_kept(
    row: list[float], share: float, least: int, most: int
) -> None:
    """The most confident of the selected ones, ties to the first; compared with counting."""
    view = fresh([row])
    wanted = [index for index, score in enumerate(row) if score > 0.5]
    best = sorted(wanted, key=lambda index: (-row[index], index))
    expected = sorted(best[: min(max(int(8 * share), least), most)])
    commit_BP = torch.tensor([[score > 0.5 for score in row]])
    guard = AtMostShare(share=share, least=least, most=most)
    kept_BP = guard.guard(commit_BP, view.proposal.confidence_BP, view)
    assert expected == kept_BP[0].nonzero()[:, 0].tolist()


def taken_back(decided: list[float], fresh_count: int, before: int, reviser: Any) -> list[int]:
    """What is reopened of tokens with these probabilities, beside tokens decided just now."""
    tokens = [4] * (len(decided) + fresh_count)
    view = view_of(canvas_of([tokens]), strategy=reviser, step=3, block_step_B=torch.tensor([3]))
    view.canvas.commit_step_BN[0, 2 + len(decided) :] = 3
    view = proposing(view, [[0.0] * len(tokens)])
    view.memory[id(reviser)]["decided"][:] = before
    plain = view.proposal.prediction
    logp_BP = torch.tensor([[*decided, *[0.0] * fresh_count]]).log()
    shadow = Prediction(pack=attrs.evolve(plain.pack, current_logp_BP=logp_BP))
    where_BP = reviser.revise(attrs.evolve(plain, shadow=shadow), view).where_BP
    found: list[int] = where_BP[0].nonzero()[:, 0].tolist()
    return found


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=6), st.integers(1, 8))
def test_fewer_tokens_are_taken_back_than_the_last_step_decided(
    decided: list[float], before: int
) -> None:
    """The least probable below the threshold, at most one less than that."""
    decided = torch.tensor(decided).log().exp().tolist()
    doubtful = [index for index, p in enumerate(decided) if p < 0.5]
    worst = sorted(doubtful, key=lambda index: (decided[index], index))
    expected = sorted(worst[: before - 1])
    assert expected == taken_back(decided, 2, before, Unsupported(threshold=0.5))


def test_nothing_is_taken_back_for_a_single_decision() -> None:
    """A step that decides one position revises nothing."""
    assert [] == taken_back([0.1, 0.2], 1, 9, Unsupported(threshold=0.5))
    assert [0, 1] == taken_back([0.1, 0.2], 2, 9, Unsupported(threshold=0.5))


def test_without_a_second_threshold_wino_is_its_capped_threshold() -> None:
    """Identity of the method at tau_2 = 0; only the shadows cost something."""
    wino = decode(pipeline(revise=(Unsupported(threshold=0.0),)), toy_networks())
    plain = decode(pipeline(revise=()), toy_networks())
    assert (plain.rows, plain.trace) == (wino.rows, wino.trace)


def test_wino_takes_tokens_back_and_ends() -> None:
    """With low first and high second threshold steps are spent on second thoughts."""
    hasty = pipeline(blocks=None, revise=())
    careful = decode(attrs.evolve(hasty, revise=(Unsupported(threshold=1.0),)), toy_networks())
    assert 0 == sum(row.count(careful.mask_id) for row in careful.rows)
    assert len(careful.trace) > len(decode(hasty, toy_networks()).trace)
