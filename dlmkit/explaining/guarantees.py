"""What holds for a pipeline whatever the weights, and what does not: from declared traits alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from dlmkit.denoise import Denoise
from dlmkit.guarantee import Guarantee
from dlmkit.loop.memory import parts
from dlmkit.roles import EarlyExit, Procedure, Reviser, Strategy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dlmkit.component import Component

__all__ = ["decode_guarantees", "repeats", "rows"]


def decode_guarantees(
    pipeline: Denoise, gen_length: int, *, looped: bool = False
) -> list[Guarantee]:
    """What a denoising pipeline promises; `looped` says that its model repeats some layers."""
    return [
        rows(),
        repeats(pipeline),
        _ends(pipeline),
        _exact_in_loops(pipeline) if looped else _exact(pipeline),
        _in_sequence(pipeline, gen_length),
        _own_step(pipeline),
        _final(pipeline),
    ]


def _named(found: Iterable[Component]) -> str:
    return ", ".join(sorted({f"{part.role} {part.name!r}" for part in found}))


def rows() -> Guarantee:
    """What keeps the rows of a batch apart."""
    return Guarantee(
        id="rows",
        claim="a prompt decodes the same alone and in any batch",
        holds=True,
        reason="parts see rows apart, and random numbers belong to a prompt, not to its place",
        invariant=11,
    )


def repeats(procedure: Procedure) -> Guarantee:
    """Where random numbers come from."""
    draws = [part for part in parts(procedure) if isinstance(part, Strategy) and part.stochastic]
    drawn = f"{_named(draws)} draw from numbers that derive from the seed"
    return Guarantee(
        id="repeats",
        claim="the same seed gives the same text",
        holds=True,
        reason=drawn if draws else "nothing is drawn: every seed gives the same text",
        invariant=12,
    )


def _ends(pipeline: Denoise) -> Guarantee:
    reopening = [part for part in parts(pipeline) if isinstance(part, Strategy) and part.reopens]
    capped = f"{_named(reopening)} may reopen positions, but max_steps is {pipeline.max_steps}"
    return Guarantee(
        id="ends",
        claim="decoding ends",
        holds=not reopening or pipeline.max_steps is not None,
        reason=capped if reopening else "every step decides a position, and none is reopened",
    )


def _exact(pipeline: Denoise) -> Guarantee:
    cache = pipeline.cache
    exact = cache is None or cache.exact()
    why = "everything is computed in every step" if cache is None else f"cache {cache.name!r} "
    if cache is not None:
        why += "keeps only what could not have changed" if exact else "reads values that are stale"
    return Guarantee(
        id="exact",
        claim="predictions are those of computing the whole canvas",
        holds=exact,
        reason=why,
    )


def _exact_in_loops(pipeline: Denoise) -> Guarantee:
    found, cache = _exact(pipeline), pipeline.cache
    if cache is None or not found.holds:
        return found
    last = f"cache {cache.name!r} keeps the last recurrence, and a pass over all reads each"
    return attrs.evolve(found, holds=False, reason=last)


def _in_sequence(pipeline: Denoise, gen_length: int) -> Guarantee:
    blocks = pipeline.blocks
    width = gen_length if blocks is None else blocks.planned_width(gen_length)
    planned = None if width is None else pipeline.transfer.steps_per_block(width)
    single = planned is not None and planned == width and not pipeline.exit
    many = (
        f"transfer {pipeline.transfer.name!r} may decide several in one step, unseen by each other"
    )
    return Guarantee(
        id="in-sequence",
        claim="every token is chosen in view of all that were decided before it",
        holds=single,
        reason="a step decides one position" if single else many,
    )


def _own_step(pipeline: Denoise) -> Guarantee:
    leaves = [
        part for part in parts(pipeline) if isinstance(part, EarlyExit) or part in pipeline.stop
    ]
    return Guarantee(
        id="own-step",
        claim="every position is decided by the transfer rule",
        holds=not leaves,
        reason=f"{_named(leaves)} may end a row before" if leaves else "nothing ends a row early",
    )


def _final(pipeline: Denoise) -> Guarantee:
    changing = [part for part in parts(pipeline) if isinstance(part, Reviser)]
    return Guarantee(
        id="final",
        claim="what is decided stays",
        holds=not changing,
        reason=f"{_named(changing)} may change it" if changing else "there is no reviser",
    )
