"""Checks of draft-verify procedures: what its parts need of each other and of the models.

Like the others they read declared traits and name no concrete part.  What breaks a promise that
the parts make together is an error, however well the pipeline would run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlmkit.draft_verify.roles import Bridge, Drafter, Judge, Resolver, Scope, Sight
from dlmkit.errors import DlmkitError
from dlmkit.roles import CachePolicy, Procedure, Strategy
from dlmkit.spec.check import Check, Finding
from dlmkit.spec.walk import first, procedures

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlmkit.component import Component
    from dlmkit.models.description import CheckpointDescription
    from dlmkit.spec.documents import ModelRef
    from dlmkit.spec.recipe import Recipe

__all__ = ["DRAFT_VERIFY_CHECKS"]


def _together(
    root: Recipe, one: type[Component], other: type[Component]
) -> Iterator[tuple[Recipe, Recipe]]:
    """The parts of two roles in each procedure that has both."""
    for procedure in procedures(root):
        parts = first(procedure, one), first(procedure, other)
        if parts[0] is not None and parts[1] is not None:
            yield parts[0], parts[1]


def missing_evidence(root: Recipe) -> Iterator[Finding]:
    """A judge compares the verifier's own steps, and the view does not show where they start."""
    for judge, view in _together(root, Judge, Sight):
        if judge.component.needs_steps and not view.component.steps:
            yield Finding(
                judge,
                f"{judge.title} compares states with the verifier's own steps, and {view.title} "
                "does not show every state",
                "write `view: states`, or use a judge that rates tokens",
            )


def unknown_laws(root: Recipe) -> Iterator[Finding]:
    """A judge reads the distributions behind guesses, and the drafter has none to tell."""
    for judge, draft in _together(root, Judge, Drafter):
        if judge.component.laws and not draft.component.tells_laws:
            yield Finding(
                judge,
                f"{judge.title} reads the drafter's distributions, and {draft.title} has none",
                "draft with `model-steps`, or use a judge that reads the verifier's law only, such "
                "as `conf`",
            )


def undrawn_drafts(root: Recipe) -> Iterator[Finding]:
    """A judge takes guesses for drawn, and the drafter does not draw them."""
    for judge, draft in _together(root, Judge, Drafter):
        needs_draws = judge.component.drawn or judge.component.coupled
        if needs_draws and not draft.component.sampled():
            yield Finding(
                judge,
                f"{judge.title} takes guesses for drawn from the drafter's law, and "
                f"{draft.title} does not draw them",
                "judge by `point-mass`, or by `greedy`; or let the drafter draw "
                "(`sample: categorical`)",
            )


def wrong_order(root: Recipe) -> Iterator[Finding]:
    """A judge that draws is asked in another order than the guesses were drawn in."""
    for procedure in procedures(root):
        judge, scope = first(procedure, Judge), first(procedure, Scope)
        draft = first(procedure, Drafter)
        if judge is None or scope is None or draft is None:
            continue
        why = _disorder(judge.component, draft.component, scope.component.order)
        if why:
            yield Finding(
                scope,
                f"{judge.title} is exact only in the order in which guesses were drawn: "
                f"{scope.title} {why}",
                "write `scope: {use: prefix, order: reveal}`, and draft one token in each step",
            )


def _disorder(judge: Judge, draft: Drafter, order: str | None) -> str | None:
    if judge.replaces and order is None:
        return "goes on after a failure"
    if not judge.drawn:
        return None
    if order == "position" and draft.order == "reveal" and not draft.one_shot():
        return "reads from left to right what was drawn in any order"
    if order == "reveal" and not draft.alone():
        return f"takes steps as a whole, and {draft.name!r} may draw several tokens in one"
    return None


def _ordered(procedure: Recipe) -> bool:
    """Whether a refiner makes one text, from left to right, of whatever is drafted."""
    refiners = procedure.component.refine
    return any(refiner.orders for refiner in refiners)


def lone_judge(root: Recipe) -> Iterator[Finding]:
    """A judge that draws a replacement is asked about alternatives, each as if it were alone."""
    for procedure in procedures(root):
        judge, draft = first(procedure, Judge), first(procedure, Drafter)
        if judge is None or draft is None or _ordered(procedure):
            continue
        alone = judge.component.replaces and not judge.component.families
        if alone and draft.component.branches:
            yield Finding(
                judge,
                f"{judge.title} gives each guess a try of its own, and {draft.title} proposes "
                "alternatives, which together would pass too often",
                "judge by `recursive` what was drawn, and by `greedy` what was not: it keeps the "
                "verifier's law too, where the verifier draws",
            )


def unordered_drafts(root: Recipe) -> Iterator[Finding]:
    """A view reads from left to right what was drafted in any order, and may have gaps."""
    for procedure in procedures(root):
        draft, view = first(procedure, Drafter), first(procedure, Sight)
        if draft is None or view is None or "causal" not in view.component.requires:
            continue
        whole = draft.component.order == "position" or draft.component.one_shot()
        if not whole and not _ordered(procedure):
            yield Finding(
                view,
                f"{view.title} reads from left to right, and {draft.title} drafts in any order",
                "write `refine: [left-to-right]`",
            )


def wrong_correction(root: Recipe) -> Iterator[Finding]:
    """A judge that draws a replacement is not asked for it."""
    for judge, resolve in _together(root, Judge, Resolver):
        if judge.component.replaces and not resolve.component.corrects_first:
            yield Finding(
                resolve,
                f"{judge.title} is exact only if its replacement is written at the first "
                f"failure, and {resolve.title} does not write it",
                "write `resolve: replace-first`",
            )


def lost_carry(root: Recipe) -> Iterator[Finding]:
    """A drafter goes on from evidence that the view does not give."""
    for draft, view in _together(root, Drafter, Sight):
        needed = draft.component.needs_view
        if needed and view.component.name not in needed:
            known = " or ".join(repr(name) for name in sorted(needed))
            yield Finding(
                draft,
                f"{draft.title} goes on from what the verifier said at the state that was "
                f"reached, and {view.title} does not show it",
                f"use the view {known}",
            )


def hidden_branches(root: Recipe) -> Iterator[Finding]:
    """A drafter proposes alternatives, and the view shows one text."""
    for draft, view in _together(root, Drafter, Sight):
        if draft.component.branches and not view.component.branches:
            yield Finding(
                view,
                f"{draft.title} proposes alternatives, and {view.title} shows a single text",
                "write `view: states`",
            )


def unshared_columns(root: Recipe) -> Iterator[Finding]:
    """States share a row of a pass, and the verifier's pipeline does not let them."""
    for procedure in procedures(root):
        view = first(procedure, Sight)
        if view is None or not view.component.columns:
            continue
        verifier = procedure.component.verifier
        if verifier.cache is None or not (verifier.cache.exact() and verifier.cache.confined()):
            yield Finding(
                view,
                f"{view.title} shows all states in one row, which has to end where they do: what "
                "is known must be stored as it is",
                "write `cache: block-causal` in the verifier's pipeline, or use the view 'paths'",
            )
        mixing = [each.name for each in verifier.inputs if "mixed-inputs" in each.requires]
        for name in ([verifier.guide.name] if verifier.guide else []) + mixing:
            yield Finding(
                view,
                f"{view.title} feeds what states have in common once, and {name!r} needs a row of "
                "its own for each",
                "leave it out of the verifier's pipeline",
            )


def verifier_memory(root: Recipe) -> Iterator[Finding]:
    """The verifier's pipeline cannot be asked about states side by side."""
    for procedure in procedures(root):
        verifier = procedure.part("verifier") if first(procedure, Judge) else None
        view = first(procedure, Sight)
        causal = view is not None and "causal" in view.component.requires
        for part in verifier.walk() if verifier else ():
            why = _serial(part.component, causal=causal)
            if why:
                yield Finding(
                    part,
                    f"the verifier is asked about several states at once, and {part.title} {why}",
                    "leave it out of the verifier's pipeline",
                )
        if verifier and getattr(verifier.component, "max_steps", None) is not None:
            yield Finding(
                verifier,
                "max_steps counts steps in sequence, and the verifier is asked about several "
                "states at once",
                "leave it out, or set max_rounds",
                "max_steps",
            )


def layered_shadows(root: Recipe) -> Iterator[Finding]:
    """Guesses are rated by shadows, and the layers of the verifier's cache read other positions."""
    for procedure in procedures(root):
        verifier = procedure.part("verifier") if first(procedure, Judge) else None
        view = first(procedure, Sight)
        if verifier is None or view is None or not view.component.needs().shadow:
            continue
        for part in verifier.walk():
            if isinstance(part.component, CachePolicy) and part.component.by_layer:
                yield Finding(
                    part,
                    f"{view.title} hides a guess from its shadow, and under {part.title} each "
                    "layer reads other positions",
                    "use a cache whose layers read the same, such as dual, or `view: states`",
                )


def leaping_cache(root: Recipe) -> Iterator[Finding]:
    """Steps are compared at which the verifier's cache would have known more."""
    for procedure in procedures(root):
        judge, verifier = first(procedure, Judge), procedure.part("verifier")
        if judge is None or verifier is None or not judge.component.needs_steps:
            continue
        cache = first(verifier, CachePolicy)
        if cache is not None and not cache.component.forks():
            yield Finding(
                cache,
                f"{cache.title} stores and chooses by every pass, and {judge.title} compares steps "
                "from what was stored before the round: the text may differ from the verifier's "
                "own under this cache",
                "use a cache that stands still within a block, such as dual, free-cache or sparse",
            )


def _serial(component: object, *, causal: bool) -> str | None:
    """What keeps a part of the verifier from being asked out of sequence."""
    if isinstance(component, CachePolicy) and "layer-steps" in component.requires:
        return "runs each layer on what it gave for one state"
    if isinstance(component, CachePolicy):
        if component.exact() or not causal:
            return None
        return "approximates a network that sees both ways, not one that reads from the left"
    if isinstance(component, Strategy) and component.state:
        return "remembers earlier steps"
    if isinstance(component, Strategy) and component.role in ("revise", "length"):
        return "changes what was decided before"
    return None


def revoking_drafter(root: Recipe) -> Iterator[Finding]:
    """A drafting pipeline takes back what it has drafted."""
    for procedure in procedures(root):
        draft = first(procedure, Drafter)
        for part in draft.walk() if draft else ():
            if isinstance(part.component, Strategy) and part.component.role in ("revise", "length"):
                yield Finding(
                    part,
                    f"a draft only grows, and {part.title} changes what was drafted",
                    "leave it out of the drafter's pipeline; the verifier sends guesses back",
                )


def lasting_layers(root: Recipe) -> Iterator[Finding]:
    """A drafting pipeline keeps what its layers gave for drafts that are taken back."""
    for procedure in procedures(root):
        draft = first(procedure, Drafter)
        if draft is None or first(procedure, Bridge) is not None:
            continue  # across a bridge each round drafts afresh
        for part in draft.walk():
            if isinstance(part.component, CachePolicy) and "layer-steps" in part.component.requires:
                yield Finding(
                    part,
                    f"{part.title} keeps what layers gave, which is not taken back with a draft",
                    "use another cache, such as dual, or none",
                )


def wrong_attention(root: Recipe) -> Iterator[Finding]:
    """The view reads a network for what its attention does not give, where that is known."""
    for procedure in procedures(root):
        view = first(procedure, Sight)
        described = _described(root, procedure.component.home()) if view else None
        if view is None or described is None:
            continue
        problem = view.component.attention_problem(described.arch.attention.kind)
        if problem:
            yield Finding(view, problem, "use another view, or another verifier")


def unlike_vocabularies(root: Recipe) -> Iterator[Finding]:
    """Drafter and verifier have different tokens, and nothing carries them across."""
    for procedure in procedures(root):
        draft = first(procedure, Drafter)
        if draft is None or first(procedure, Bridge) is not None:
            continue
        home = procedure.component.home()
        for part in draft.walk():
            if not isinstance(part.component, Procedure) or part.component.home() == home:
                continue
            difference = _difference(root, part.component.home(), home)
            if difference:
                yield Finding(
                    part,
                    f"the drafter's tokens are not the verifier's: {difference}",
                    "carry the text across: `bridge: retokenize`",
                    "model",
                )


def bridged_laws(root: Recipe) -> Iterator[Finding]:
    """Distributions of two vocabularies are compared or mixed, which only a bridge keeps apart."""
    for procedure in procedures(root):
        if first(procedure, Bridge) is None:
            continue
        draft, judge = first(procedure, Drafter), first(procedure, Judge)
        if judge is not None and judge.component.laws:
            yield Finding(
                judge,
                f"{judge.title} reads the drafter's distributions, which are over other tokens",
                "use a judge that reads the verifier's law only, such as `conf`",
            )
        if draft is not None and draft.component.needs().logits:
            yield Finding(
                draft,
                f"{draft.title} mixes the verifier's distributions into its own, which are over "
                "other tokens",
                "leave that out (`recall: 0`)",
            )


def _difference(root: Recipe, drafter: str, verifier: str) -> str | None:
    """What sets two vocabularies apart; None where they agree or are not known yet."""
    one, other = _described(root, drafter), _described(root, verifier)
    if one is None or other is None or one.path == other.path:
        return None
    if one.tokenizer is None or other.tokenizer is None:
        sizes = one.arch.vocab_rows, other.arch.vocab_rows
        return f"{sizes[0]} and {sizes[1]} of them" if sizes[0] != sizes[1] else None
    sizes = one.tokenizer.vocab_size, other.tokenizer.vocab_size
    if sizes[0] != sizes[1]:
        return f"{sizes[0]} and {sizes[1]} of them"
    for token in range(sizes[0]):
        if one.tokenizer.token(token) != other.tokenizer.token(token):
            return (
                f"number {token} is {one.tokenizer.token(token)!r} and "
                f"{other.tokenizer.token(token)!r}"
            )
    return None


def _described(root: Recipe, model: str) -> CheckpointDescription | None:
    """What is known of a model that is on this machine; the rest is checked when it is loaded."""
    from dlmkit.engine import LoadOptions
    from dlmkit.models.description import describe_checkpoint

    models: dict[str, ModelRef] = root.component.models
    ref = models.get(model)
    if ref is not None and ref.derive is not None:
        ref = models.get(ref.derive.source)
    if ref is None or ref.repo is None:
        return None
    options = LoadOptions(revision=ref.revision, local_files_only=True, family=ref.family)
    try:
        return describe_checkpoint(ref.repo, options)
    except DlmkitError:
        return None


DRAFT_VERIFY_CHECKS = (
    Check("draft-evidence", "error", missing_evidence),
    Check("draft-laws", "error", unknown_laws),
    Check("draft-drawn", "error", undrawn_drafts),
    Check("draft-order", "error", wrong_order),
    Check("draft-gaps", "error", unordered_drafts),
    Check("draft-alternatives", "error", lone_judge),
    Check("draft-correction", "error", wrong_correction),
    Check("draft-carry", "error", lost_carry),
    Check("draft-branches", "error", hidden_branches),
    Check("draft-columns", "error", unshared_columns),
    Check("draft-memory", "error", verifier_memory),
    Check("draft-shadows", "error", layered_shadows),
    Check("draft-cache", "warning", leaping_cache),
    Check("draft-revision", "error", revoking_drafter),
    Check("draft-layers", "error", lasting_layers),
    Check("draft-attention", "error", wrong_attention),
    Check("draft-vocabulary", "error", unlike_vocabularies),
    Check("draft-bridge", "error", bridged_laws),
)
"""Every check of draft-verify procedures, in the order in which they run."""
