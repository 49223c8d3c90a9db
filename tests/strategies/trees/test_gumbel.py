"""A tree of Gumbel draws: a pass of the drafter for each depth."""

from __future__ import annotations

from tests.strategies.trees.chains import decoded, markov, recursive


def test_the_first_brother_of_an_equal_drafter_always_stands():
    """So a pass decides as deep as the tree goes, and one more."""
    nets = {"main": markov(1, 6), "drafter": markov(1, 6)}
    _, records, _ = decoded(recursive(2, 2, 1), nets, [[0], [3]], 16)
    kept = [each.audit.kept_BN.sum(dim=1).tolist() for each in records if each.phase == "verify"]
    assert [[3, 3]] * 4 == kept


def test_a_depth_is_one_pass_of_the_drafter():
    """Over stored keys and values: the text once, then the drafted tokens only."""
    nets = {"main": markov(1, 6), "drafter": markov(2, 6)}
    _, records, sessions = decoded(recursive(2, 2), nets, [[0, 1, 2]], 8)
    drafting = [each for each in records if each.phase == "draft"]
    assert len(drafting) == sessions["drafter"].counts.forwards
    assert drafting[0].counts.fed_positions == 3
    assert drafting[1].counts.fed_positions == 3 + 2
