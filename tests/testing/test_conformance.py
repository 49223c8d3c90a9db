"""The conformance suite itself: it can fail, and says which promise broke and how."""

from __future__ import annotations

from pathlib import Path

import pytest

from dlmkit.testing.conformance import BrokenPromiseError, conformance_cases
from dlmkit.testing.conformance.cases import BY_ROLE, DECLARED, LOOPED, PURE
from dlmkit.testing.conformance.running import procedure_promises
from dlmkit.testing.plain import PLAIN
from tests.testing.bad_lengths import BAD


@pytest.mark.parametrize(
    ("component", "promise"), BAD, ids=[f"{each.name}-{promise}" for each, promise in BAD]
)
def test_a_bad_component_breaks_its_promise(component, promise):
    """Each promise of the suite is broken by a component that does not keep it."""
    case = next(case for case in conformance_cases(component) if case.promise == promise)
    with pytest.raises(BrokenPromiseError, match=rf"'{component.name}' breaks .*'{promise}': \S"):
        case.run()


def test_every_promise_can_be_broken():
    """A promise that nothing breaks would be worth nothing."""
    promises = {*DECLARED, *PURE, *LOOPED, *procedure_promises({})}
    promises |= {promise for checks in BY_ROLE.values() for promise in checks}
    assert promises == {promise for _, promise in BAD}


@pytest.mark.parametrize("cls", PLAIN, ids=lambda cls: cls.name)
def test_the_plain_components_keep_every_promise(cls):
    """The suite does not blame a component for the plain ones around it."""
    for case in conformance_cases(cls()):
        case.run()


def test_a_case_is_named_after_its_promise():
    """Test ids are words without blanks."""
    names = [str(case) for case in conformance_cases(PLAIN[0]())]
    assert "is-frozen" in names
    assert len(set(names)) == len(names)


def test_one_line_is_all_that_an_author_writes(pytester):
    """The example in the documentation runs as it stands."""
    pytester.makepyfile(
        """
        import pytest
        from dlmkit.testing.conformance import conformance_cases
        from dlmkit.testing.plain import BestPosition

        @pytest.mark.parametrize("case", conformance_cases(BestPosition()), ids=str)
        def test_conformance(case):
            case.run()

        def test_toy(toy_network):
            assert toy_network.info.mask_id == 23
        """
    )
    result = pytester.runpytest("-q", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=len(conformance_cases(PLAIN[4]())) + 1)


def test_the_pytest_plugin_imports_nothing_heavy():
    """It is loaded in every pytest run of an environment."""
    text = (Path(__file__).parents[2] / "dlmkit/testing/plugin.py").read_text(encoding="utf-8")
    heads = [line.split()[1] for line in text.splitlines() if line.startswith(("import ", "from "))]
    assert {name.partition(".")[0] for name in heads} == {"__future__", "typing", "pytest"}
