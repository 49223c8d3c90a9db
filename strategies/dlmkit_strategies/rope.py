"""Rotary embedding for texts longer than those a model was trained on."""

from __future__ import annotations

from math import ceil, log, pi

import attrs

from dlmkit.bounds import above, at_least
from dlmkit.component import option
from dlmkit.errors import ModelError
from dlmkit.models.arch import ArchSpec
from dlmkit.models.reach import RopeScaling

__all__ = ["NtkRope"]


@attrs.frozen
class NtkRope(RopeScaling):
    """Multiply the base of the rotary frequencies, so that slow ones never leave trained angles.

    With d rotating dimensions, base b, trained context T and context t, the critical dimension is
    d* = 2 ceil(d/2 log_b(T / 2 pi)), and the factor, rounded up, (t / 2 pi)^(d / d*) / b.
    Source: NTK-aware scaling as LongLLaDA applies it (arXiv:2506.14429), lambda; for LLaDA it
    gives 4, 14, 31 and 55 at 8k, 16k, 24k and 32k tokens.
    """

    name = "ntk"

    context: int = option(
        doc="most positions of a text, prompt included", check=at_least(1), examples=(1024,)
    )
    factor: float | None = option(
        None, doc="factor of the base; absent: from `context`", check=above(0)
    )

    def stretch(self, arch: ArchSpec) -> ArchSpec:
        """The same network with a larger base.

        Raises:
            ModelError: the checkpoint stretches its positions itself, or knows more of them.
        """
        rotary = arch.rotary
        if rotary.scaling is not None:
            raise ModelError(
                "this checkpoint stretches its rotary embedding itself "
                f"({type(rotary.scaling).__name__})",
                hint="leave `rope` out; the context limit is what its config says",
            )
        if self.context < arch.max_positions:
            raise ModelError(
                f"rope 'ntk' has a context of {self.context}, but the model is trained on "
                f"{arch.max_positions}",
                hint="leave `rope` out, or give a larger context",
            )
        factor = self.factor or self._factor(rotary.dim, rotary.base, arch.max_positions)
        longer = attrs.evolve(rotary, base=rotary.base * factor)
        return attrs.evolve(arch, rotary=longer, max_positions=self.context)

    def _factor(self, dim: int, base: float, trained: int) -> int:
        """The factor that the paper prescribes, 1 where the base is large enough already."""
        if trained <= 2 * pi:
            return 1
        critical = min(2 * ceil(dim / 2 * log(trained / (2 * pi), base)), dim)
        reach: float = (self.context / (2 * pi)) ** (dim / critical)
        return max(ceil(reach / base), 1)
