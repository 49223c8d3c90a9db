"""Running many cases and counting what passed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from dlmkit.testing.golden.comparison import first_difference
from dlmkit.testing.golden.replay import Networks, replay

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dlmkit.testing.golden.mapping import SamplerMap
    from dlmkit.testing.golden.traces import GoldenCase

__all__ = ["Report", "Tally", "run_cases"]


@attrs.define
class Tally:
    """The account of one sampler; `misses` maps a case id to its first difference.

    `apart` counts the cases that dlmkit decodes differently on purpose, by the reason.
    """

    passed: int = 0
    total: int = 0
    unknown: int = 0
    apart: dict[str, int] = attrs.field(factory=dict)
    misses: dict[str, str] = attrs.field(factory=dict)

    def leave_out(self, reason: str | None) -> None:
        """Count a case that is not replayed, and why where that is known."""
        if reason is None:
            self.unknown += 1
        else:
            self.apart[reason] = self.apart.get(reason, 0) + 1

    def lines(self, name: str) -> Iterable[str]:
        """Yield the account as text: one line, and one more for each miss."""
        if self.total:
            yield f"{name} {self.passed}/{self.total}"
        if self.unknown:
            yield f"{name} unknown ({self.unknown} cases)"
        for reason, cases in self.apart.items():
            yield f"{name} apart ({cases} cases): {reason}"
        yield from (f"  {case}: {difference}" for case, difference in self.misses.items())


@attrs.define
class Report:
    """Tallies by sampler: `sound` cases, and apart from them those that a `quirk` decided."""

    sound: dict[str, Tally] = attrs.field(factory=dict)
    quirk: dict[str, Tally] = attrs.field(factory=dict)

    @property
    def passed(self) -> bool:
        """Whether something was replayed and nothing differed."""
        tallies = [*self.sound.values(), *self.quirk.values()]
        return any(each.passed for each in tallies) and not any(each.misses for each in tallies)

    def lines(self) -> list[str]:
        """Return the report as text, samplers in the order in which they were met."""
        sound = [line for name, tally in self.sound.items() for line in tally.lines(name)]
        quirk = (
            line for name, tally in self.quirk.items() for line in tally.lines(f"{name} (quirks)")
        )
        return [*sound, *quirk]

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return {"passed": self.passed, "sound": _plain(self.sound), "quirk": _plain(self.quirk)}


def run_cases(
    cases: Iterable[GoldenCase], samplers: SamplerMap, networks: Networks, *, parity: bool = False
) -> Report:
    """Replay cases; those that a defect of the reference decided only with `parity`.

    Raises:
        DlmkitError: a checkpoint is missing, or a mapped preset cannot be built.
    """
    report = Report()
    for case in cases:
        tallies = report.quirk if case.quirks else report.sound
        if case.quirks and not parity:
            continue
        _run(case, samplers, networks, tallies.setdefault(case.sampler, Tally()))
    return report


def _run(case: GoldenCase, samplers: SamplerMap, networks: Networks, tally: Tally) -> None:
    facts = {
        "id": case.id,
        "rows": len(case.prompts),
        "prompt_length": len(case.prompts[0]),
        "output_length": len(case.outputs[0]),
    }
    document = samplers.document_for(case.sampler, case.settings, facts)
    if document is None:
        tally.leave_out(samplers.difference_for(case.sampler, case.settings, facts))
        return
    tally.total += 1
    family = document.models[document.pipeline.home()].family
    network = networks.get(case.checkpoint, case.mask_id, family)
    difference = first_difference(case, replay(case, document, network))
    if difference:
        tally.misses[case.id] = difference
    else:
        tally.passed += 1


def _plain(tallies: dict[str, Tally]) -> dict[str, Any]:
    return {name: attrs.asdict(tally) for name, tally in tallies.items()}
