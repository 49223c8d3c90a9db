"""Work is done again for other objects, and only for those."""

from __future__ import annotations

import torch

from dlmkit.host.kept import Kept


def test_work_is_done_once_for_the_same_objects():
    """Equal numbers are the same; equal tensors are not, since nobody looks into them."""
    kept, done, tensor = Kept(), [], torch.zeros(2)

    def work():
        done.append(len(done))
        return done[-1]

    asked = [(tensor, 1000), (tensor, int("1000")), (tensor, 1001), (torch.zeros(2), 1001)]
    assert [0, 0, 1, 2] == [kept.of("mask", parts, work) for parts in asked]


def test_names_are_kept_apart():
    """What is asked for under one name does not replace what another has."""
    kept, tensor = Kept(), torch.zeros(2)
    assert "a" == kept.of("first", (tensor,), lambda: "a")
    assert "b" == kept.of("second", (tensor,), lambda: "b")
    assert "a" == kept.of("first", (tensor,), lambda: "c")


def test_nothing_is_kept_too():
    """None is a result like any other."""
    kept, done = Kept(), []
    for _ in range(2):
        kept.of("check", (), lambda: done.append(1))
    assert [1] == done
