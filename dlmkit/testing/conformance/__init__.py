"""The conformance suite: one named test for each promise that a component makes.

@pytest.mark.parametrize("case", conformance_cases(Annealed(start=0.95)), ids=str)
def test_conformance(case):
    case.run()
"""

from __future__ import annotations

from dlmkit.testing.conformance.case import BrokenPromiseError, ConformanceCase
from dlmkit.testing.conformance.cases import conformance_cases

__all__ = ["BrokenPromiseError", "ConformanceCase", "conformance_cases"]
