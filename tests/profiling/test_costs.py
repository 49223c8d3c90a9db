"""Costs of passes: exact where they were measured, sensible in between and beyond."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dlmkit.accounts.records import Counts
from dlmkit.errors import RequestError
from dlmkit.profiling.costs import CostTable
from dlmkit.profiling.weighing import PassLog, Scales, Sizes

FLAT = CostTable({(rows, fed): 2.0 for rows in (1, 4) for fed in (1, 8)})
LINEAR = CostTable({(rows, fed): 0.5 * rows * fed for rows in (1, 4, 8) for fed in (1, 8, 64)})
SIZES = st.integers(1, 200)


@pytest.mark.parametrize("shape", sorted(LINEAR.seconds))
def test_a_measured_shape_costs_what_was_measured(shape):
    """Whatever lies around it."""
    assert pytest.approx(LINEAR.seconds[shape]) == LINEAR.of(*shape)


@given(SIZES, SIZES)
def test_a_product_is_a_product_everywhere(rows, fed):
    """Cost in proportion to rows times positions is reproduced between and beyond the shapes."""
    assert pytest.approx(0.5 * rows * fed) == LINEAR.of(rows, fed)


@given(st.integers(1, 4), st.integers(1, 8))
def test_a_constant_is_a_constant_inside(rows, fed):
    """A device that is waiting for memory does more rows in the same time."""
    assert pytest.approx(2.0) == FLAT.of(rows, fed)


@given(SIZES, SIZES, SIZES, SIZES)
def test_more_work_never_costs_less(rows, fed, more_rows, more_fed):
    """As long as that was so where it was measured."""
    table = CostTable({(1, 1): 1.0, (1, 9): 2.0, (6, 1): 1.5, (6, 9): 7.0})
    assert table.of(rows, fed) <= table.of(rows + more_rows, fed + more_fed) * (1 + 1e-9)


@pytest.mark.parametrize("seconds", [{}, {(1, 1): 1.0, (2, 4): 1.0}, {(1, 1): 0.0}])
def test_an_incomplete_table_is_refused(seconds):
    """It could not be interpolated."""
    with pytest.raises(RequestError, match="dlmkit profile"):
        CostTable(seconds)


def record(network: str, counts: Counts, *live: bool):
    """A record with what the log reads."""
    return SimpleNamespace(network=network, counts=counts, live_B=torch.tensor(live))


def test_passes_are_weighed_in_units_of_the_home_network():
    """Two drafter's passes at half the price, and a verifier's over three states of each row."""
    half = CostTable({shape: 0.25 * shape[0] * shape[1] for shape in LINEAR.seconds})
    scales = Scales({"drafter": half, "verifier": LINEAR}, home="verifier")
    log = PassLog()
    log.add(record("drafter", Counts(1, 2, 128), True, True))
    log.add(record("drafter", Counts(2, 4, 256), True, False))
    log.add(record("verifier", Counts(1, 6, 384), True, True))
    assert pytest.approx([4.0, 3.5]) == log.weighted(scales, columns=64)


def test_unmeasured_passes_lie_between_memory_and_arithmetic():
    """A drafter of half the size over half the canvas, and a verifier over three states."""
    weights, log = {"drafter": 50, "verifier": 100}, PassLog()
    log.add(record("drafter", Counts(1, 2, 64), True, True))
    log.add(record("verifier", Counts(1, 6, 384), True, False))
    bounds = [
        log.weighted(Sizes(weights, "verifier", computing), columns=64)
        for computing in (False, True)
    ]
    assert [[1.5, 0.5], [3.25, 0.25]] == bounds


def test_passes_between_two_records_are_weighed_too():
    """A record may stand for several passes; one without a new pass weighs nothing."""
    scales, log = Scales({"main": LINEAR}, home="main"), PassLog()
    log.add(record("main", Counts(3, 3, 96), True))
    log.add(record("main", Counts(3, 3, 96), True))
    assert pytest.approx([1.5]) == log.weighted(scales, columns=64)
    assert [] == PassLog().weighted(scales, columns=64)
