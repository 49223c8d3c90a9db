"""What holds for a pipeline that drafts and verifies, whatever the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlmkit.explaining.guarantees import decode_guarantees, repeats, rows
from dlmkit.guarantee import Guarantee

if TYPE_CHECKING:
    from dlmkit.draft_verify.kernel import DraftVerify
    from dlmkit.roles import CachePolicy

__all__ = ["draft_guarantees"]


def draft_guarantees(
    procedure: DraftVerify, gen_length: int, *, looped: bool = False
) -> list[Guarantee]:
    """What a draft-verify procedure promises; `looped` says that its verifier repeats some layers.

    One that gives its verifier's own text also keeps every promise of the verifier's pipeline.
    """
    unsteady = _unsteady(procedure, looped=looped)
    lossless = _lossless(procedure, unsteady)
    found = [
        lossless,
        _law(procedure, lossless, unsteady),
        _fewer(procedure, lossless),
        _untouched(procedure),
        _progress(),
        _final(),
    ]
    found += [rows(), repeats(procedure)]
    if not lossless.holds:
        return found
    known = {each.id for each in found}
    alone = decode_guarantees(procedure.verifier, gen_length, looped=looped)
    return found + [each for each in alone if each.id not in known and each.id != "ends"]


def _lossless(procedure: DraftVerify, unsteady: str | None) -> Guarantee:
    judge, view, scope, cache = procedure.judge, procedure.view, procedure.scope, _cache(procedure)
    missing = [
        text
        for held, text in (
            (judge.exact and judge.needs_steps, f"judge {judge.name!r} rates tokens, not steps"),
            (view.steps, f"view {view.name!r} does not show every state"),
            (scope.order == "reveal", f"scope {scope.name!r} goes on after a failed step"),
            (procedure.resolve.only_passed, f"resolve {procedure.resolve.name!r} writes more"),
            (unsteady is None, unsteady or ""),
        )
        if not held
    ]
    kept = "a state is kept only where the verifier's own step leads, up to the first that differs"
    under = "" if cache is None else f" under its cache {cache.name!r}, an approximation"
    return Guarantee(
        id="lossless",
        claim=f"the text is that of the verifier's pipeline alone{under}, whatever the drafter "
        "writes",
        holds=not missing,
        reason="; ".join(missing) or kept,
        invariant=2,
    )


def _cache(procedure: DraftVerify) -> CachePolicy | None:
    """The verifier's cache, if it is an approximation."""
    cache = procedure.verifier.cache
    return None if cache is None or cache.exact() else cache


def _unsteady(procedure: DraftVerify, *, looped: bool) -> str | None:
    """What makes the verifier's cache tell several states at once other than in turn; or None."""
    cache = procedure.verifier.cache
    if cache is None:
        return None
    if looped:
        return f"cache {cache.name!r} keeps one recurrence, and text that is drafted reads each"
    if not cache.forks():
        return f"cache {cache.name!r} is as before the round while several states are looked at"
    return None


def _untouched(procedure: DraftVerify) -> Guarantee:
    kept = "the cache keeps what a pass made of text that stands, else it is as before the pass"
    exact = "the cache holds what a pass over the text that stands would store"
    cached = procedure.verifier.cache is not None
    return Guarantee(
        id="untouched",
        claim="what was sent back changes nothing that is stored",
        holds=True,
        reason=kept if _cache(procedure) else exact if cached else "nothing is stored",
        invariant=9,
    )


def _law(procedure: DraftVerify, lossless: Guarantee, unsteady: str | None) -> Guarantee:
    judge, scope, resolve = procedure.judge, procedure.scope, procedure.resolve
    written = resolve.corrects_first or (resolve.only_passed and not judge.replaces)
    unbiased = procedure.view.steps or "causal" in procedure.view.requires
    holds = judge.exact and scope.order is not None and written and unbiased and not unsteady
    return Guarantee(
        id="law",
        claim="every token follows the verifier's law, given what stood before it",
        holds=lossless.holds or holds,
        reason=unsteady
        or f"judge {judge.name!r} with scope {scope.name!r} and resolve {resolve.name!r}",
        invariant=4,
    )


def _fewer(procedure: DraftVerify, lossless: Guarantee) -> Guarantee:
    steps = lossless.holds and procedure.bonus is not None
    own = "a round decides at least what the verifier's own step would"
    return Guarantee(
        id="fewer",
        claim="the verifier runs no more often than alone",
        holds=steps,
        reason=own if steps else "a round may decide less than the verifier's own step would",
        invariant=8,
    )


def _progress() -> Guarantee:
    return Guarantee(
        id="ends",
        claim="decoding ends",
        holds=True,
        reason="a row in which a round decided nothing takes the verifier's own step",
        invariant=6,
    )


def _final() -> Guarantee:
    return Guarantee(
        id="final",
        claim="what is decided stays",
        holds=True,
        reason="only guesses are sent back",
        invariant=7,
    )
