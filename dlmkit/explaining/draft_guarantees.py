"""What holds for a pipeline that drafts and verifies, whatever the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlmkit.explaining.guarantees import Guarantee, decode_guarantees, repeats, rows

if TYPE_CHECKING:
    from dlmkit.draft_verify.kernel import DraftVerify

__all__ = ["draft_guarantees"]


def draft_guarantees(procedure: DraftVerify, gen_length: int) -> list[Guarantee]:
    """What a draft-verify procedure promises.

    One that gives its verifier's own text also keeps every promise of the verifier's pipeline.
    """
    lossless = _lossless(procedure)
    found = [
        lossless,
        _law(procedure, lossless),
        _fewer(procedure, lossless),
        _progress(),
        _final(),
    ]
    found += [rows(), repeats(procedure)]
    if not lossless.holds:
        return found
    known = {each.id for each in found}
    alone = decode_guarantees(procedure.verifier, gen_length)
    return found + [each for each in alone if each.id not in known and each.id != "ends"]


def _lossless(procedure: DraftVerify) -> Guarantee:
    judge, view, scope = procedure.judge, procedure.view, procedure.scope
    missing = [
        text
        for held, text in (
            (judge.exact and judge.needs_steps, f"judge {judge.name!r} rates tokens, not steps"),
            (view.steps, f"view {view.name!r} does not show every state"),
            (scope.order == "reveal", f"scope {scope.name!r} goes on after a failed step"),
            (procedure.resolve.only_passed, f"resolve {procedure.resolve.name!r} writes more"),
        )
        if not held
    ]
    kept = "a state is kept only where the verifier's own step leads, up to the first that differs"
    return Guarantee(
        id="lossless",
        claim="the text is that of the verifier's pipeline alone, whatever the drafter writes",
        holds=not missing,
        reason="; ".join(missing) or kept,
        invariant=2,
    )


def _law(procedure: DraftVerify, lossless: Guarantee) -> Guarantee:
    judge, scope, resolve = procedure.judge, procedure.scope, procedure.resolve
    written = resolve.corrects_first or (resolve.only_passed and not judge.replaces)
    unbiased = procedure.view.steps or "causal" in procedure.view.requires
    holds = judge.exact and scope.order is not None and written and unbiased
    return Guarantee(
        id="law",
        claim="every token follows the verifier's law, given what stood before it",
        holds=lossless.holds or holds,
        reason=f"judge {judge.name!r} with scope {scope.name!r} and resolve {resolve.name!r}",
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
