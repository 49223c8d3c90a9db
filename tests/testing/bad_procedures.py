"""Procedures that break exactly one kind of promise each."""

from __future__ import annotations

import attrs
import torch

from dlmkit.denoise import Denoise
from dlmkit.roles import Procedure
from dlmkit.testing.conformance.pipelines import pipeline_around
from dlmkit.testing.plain import BestPosition, TokenScore
from tests.testing.bad_components import Dice
from tests.testing.bad_roles import BAD, breaks

__all__ = ["BAD"]


@attrs.frozen
class Wrapped(Procedure):
    """A sound procedure, to be spoilt.  Source: dlmkit."""

    name = "wrapped"

    def home(self):
        return "main"

    def plain(self):
        return pipeline_around(BestPosition(), blocks=None)

    def steps(self, context, canvas):
        yield from self.plain().steps(context, canvas)


@breaks("decodes to the end")
@attrs.frozen
class Quitter(Wrapped):
    """Gives up after two steps.  Source: dlmkit."""

    name = "quitter"

    def steps(self, context, canvas):
        for _, record in zip(range(2), super().steps(context, canvas), strict=False):
            yield record


@breaks("leaves the prompt alone")
@attrs.frozen
class Vandal(Wrapped):
    """Overwrites the prompt.  Source: dlmkit."""

    name = "vandal"

    def steps(self, context, canvas):
        yield from super().steps(context, canvas)
        canvas.tokens_BN[:, 0] = 7


@breaks("keeps its tensors on one device")
@attrs.frozen
class Stray(Wrapped):
    """Counts rows on the host.  Source: dlmkit."""

    name = "stray"

    def steps(self, context, canvas):
        yield from super().steps(context, canvas)
        canvas.done_B = canvas.done_B | (torch.arange(len(canvas.done_B)) < 0)


@breaks("gives the same trace with the same seed")
@attrs.frozen
class Gambler(Wrapped):
    """Ignores the seed.  Source: dlmkit."""

    name = "gambler"

    def plain(self):
        return Denoise(
            sample=Dice(),
            confidence=TokenScore(),
            transfer=BestPosition(),
        )


@breaks("counts what was executed")
@attrs.frozen
class Cheat(Wrapped):
    """Calls the network behind the session's back.  Source: dlmkit."""

    name = "cheat"

    def steps(self, context, canvas):
        session = context.session("main")
        real = session.network.forward

        def twice(inputs, need):
            real(inputs, need)
            return real(inputs, need)

        session.network.forward = twice
        yield from super().steps(context, canvas)
