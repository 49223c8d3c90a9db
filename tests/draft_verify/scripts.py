"""Drafters that tell what stood of their drafts, or draft again what stood."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from dlmkit.draft_verify.draft import Draft
from dlmkit.draft_verify.roles import Drafter, DraftRun

__all__ = ["Recorded", "Replayed"]


@attrs.frozen
class Recorded(Drafter):
    """Another drafter, of whose drafts `kept` holds what stood, round by round."""

    name = "recorded"
    of: Any = None
    kept: list[Draft] = attrs.field(factory=list)

    def alone(self):
        return self.of.alone()

    def begin(self, setting):
        return _Recording(self.of.begin(setting), self.kept)


@attrs.frozen
class _Recording(DraftRun):
    run: DraftRun
    kept: list[Draft]

    def draft(self, start):
        return (yield from self.run.draft(start))

    def settle(self, result):
        keep_BE = result.resolution.keep_BE
        self.kept.append(attrs.evolve(result.draft, valid_BE=keep_BE))
        self.run.settle(result)


@attrs.frozen
class Replayed(Drafter):
    """The drafts of a list, round by round."""

    name = "replayed"
    drafts: Sequence[Draft] = ()

    def begin(self, setting):
        return _Replaying(self.drafts)


@attrs.frozen
class _Replaying(DraftRun):
    drafts: Sequence[Draft]

    def draft(self, start):
        yield from ()
        return self.drafts[start.number]
