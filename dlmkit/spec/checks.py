"""The project's own composition checks, by the ids of the conflicts that they detect.

Each is one function over the recipe of a document and reads declared traits only; it names no
concrete strategy.  A further check is a further function and a line in `CHECKS`.  (C1, two
strategies where a slot takes one, is reported while the document is read.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlmkit.component import Component, options_of
from dlmkit.roles import (
    Blocks,
    CachePolicy,
    ConfidenceScorer,
    EarlyExit,
    Guide,
    LengthController,
    LogitsTransform,
    Reviser,
    Strategy,
    TransferRule,
)
from dlmkit.schedules import Schedule
from dlmkit.spec.check import Check, Finding
from dlmkit.spec.checks_draft_verify import DRAFT_VERIFY_CHECKS
from dlmkit.spec.checks_engines import ENGINE_CHECKS
from dlmkit.spec.checks_episodes import EPISODE_CHECKS
from dlmkit.spec.checks_guards import GUARD_CHECKS
from dlmkit.spec.checks_lengths import LENGTH_CHECKS
from dlmkit.spec.checks_models import MODEL_CHECKS
from dlmkit.spec.walk import first, own, procedures, simple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlmkit.spec.recipe import Recipe

__all__ = ["CHECKS"]


def known_model(root: Recipe) -> Iterator[Finding]:
    """A procedure names a model that the document does not list."""
    models = root.component.models
    for part in procedures(root):
        name = part.component.home()
        if name in models:
            continue
        owner = next(
            (
                each.key
                for each in options_of(type(part.component))
                if getattr(part.component, each.name) == name
            ),
            None,
        )
        known = ", ".join(sorted(models))
        yield Finding(part, f"`models` has no model {name!r}", f"known: {known}", owner)


def block_length(root: Recipe) -> Iterator[Finding]:
    """The blocks do not cover gen_length."""
    for part in root.walk():
        if isinstance(part.component, Blocks):
            problem = part.component.length_problem(root.component.gen_length)
            if problem:
                yield Finding(part, problem, "change gen_length, or see the options of the blocks")


def score_space(root: Recipe) -> Iterator[Finding]:
    """A transfer rule reads another unit than the confidence scorer gives."""
    for procedure in procedures(root):
        scorer = first(procedure, ConfidenceScorer)
        if scorer is None:
            continue
        space = scorer.component.score_space()
        for part in own(procedure, TransferRule):
            spaces = part.component.score_spaces()
            if spaces and space not in spaces:
                yield Finding(
                    part,
                    f"transfer rule {part.component.name!r} reads {' or '.join(sorted(spaces))}, "
                    f"but {scorer.title} gives {space}",
                    "choose a confidence in that unit, or a transfer rule that only ranks",
                )


def exit_scale(root: Recipe) -> Iterator[Finding]:
    """An exit compares candidates whose distribution is edited before it sees them."""
    for procedure in procedures(root):
        edits = [part for part in simple(procedure) if _edits_scores(part.component)]
        for part in simple(procedure, EarlyExit) if edits else ():
            if part.component.needs().top >= 2:
                names = ", ".join(repr(each.component.name) for each in edits)
                yield Finding(
                    part,
                    f"{part.title} compares candidates after {names} changed them",
                    "its thresholds were set on the unchanged distribution; set them anew",
                )


def _edits_scores(component: Component) -> bool:
    if isinstance(component, LogitsTransform):
        return component.stage == "score"
    return isinstance(component, Guide)


def termination(root: Recipe) -> Iterator[Finding]:
    """Masks may be put back for ever."""
    for procedure in procedures(root):
        if getattr(procedure.component, "max_steps", None) is not None:
            continue
        for part in simple(procedure, Strategy):
            if part.component.reopens:
                yield Finding(
                    part,
                    f"{part.title} may put masks back for ever",
                    "set max_steps in the pipeline",
                )


def step_cap(root: Recipe) -> Iterator[Finding]:
    """The transfer rule plans more steps than max_steps allows."""
    for procedure in procedures(root):
        cap = getattr(procedure.component, "max_steps", None)
        planned = _planned_steps(procedure, root.component.gen_length)
        if cap is not None and planned is not None and planned > cap:
            yield Finding(
                procedure,
                f"the pipeline plans {planned} steps, but max_steps is {cap}",
                "all that is left then is committed at once; plan fewer steps",
                "max_steps",
            )


def _planned_steps(procedure: Recipe, gen_length: int) -> int | None:
    rule, blocks = first(procedure, TransferRule), first(procedure, Blocks)
    if rule is None or first(procedure, LengthController):
        return None
    width = blocks.component.planned_width(gen_length) if blocks else gen_length
    if width is None:
        return None
    steps: int | None = rule.component.steps_per_block(width)
    return steps and steps * -(-gen_length // width)


def schedule_steps(root: Recipe) -> Iterator[Finding]:
    """A schedule runs over steps whose number is not fixed."""
    for procedure in procedures(root):
        if _planned_steps(procedure, root.component.gen_length) is not None:
            continue
        for part in own(procedure, Schedule):
            if part.component.over == "steps":
                message = "the schedule runs over steps, but their number is not fixed"
                yield Finding(part, message, "write `over: filled`", "over")


def frozen_reopening(root: Recipe) -> Iterator[Finding]:
    """A reviser may put masks back where the cache keeps old keys and values."""
    for cache, part, whole in _beside_caches(root):
        frozen = cache.component.freezes()
        if part.component.reopens and (frozen == "tokens" or (frozen == "blocks" and whole)):
            what = "decided tokens" if frozen == "tokens" else "other blocks"
            yield Finding(
                part,
                f"{part.title} may put masks back, but {cache.title} freezes {what}",
                "use a cache that recomputes them, for example inside `refresh` with every: 1",
            )


def missing_predictions(root: Recipe) -> Iterator[Finding]:
    """A strategy reads predictions where the cache computes none."""
    for cache, part, whole in _beside_caches(root):
        given = cache.component.provides()
        decided = _looks_at_tokens(part.component) and given in ("undecided", "some")
        if given == "region" or not (decided or whole):
            continue
        where = "of decided tokens" if decided else "outside the current block"
        yield Finding(
            part,
            f"{part.title} reads predictions {where}, but {cache.title} does not compute them in "
            "every step",
            "use another cache, or none",
        )


def _looks_at_tokens(component: Strategy) -> bool:
    """Whether it reads what is predicted where tokens stand."""
    return component.needs().current or (isinstance(component, Reviser) and component.rewrites)


def false_agreement(root: Recipe) -> Iterator[Finding]:
    """A strategy compares steps whose predictions rest on the same stored values."""
    for cache, part, _ in _beside_caches(root):
        if part.component.history and not cache.component.exact():
            yield Finding(
                part,
                f"{part.title} compares steps, and {cache.title} makes them more alike than they "
                "are",
                "set its thresholds anew, or refresh the cache more often",
            )


def unknown_share(root: Recipe) -> Iterator[Finding]:
    """A cache must know how many tokens a step decides, and the transfer rule does not fix it."""
    for procedure in procedures(root):
        fixed = _planned_steps(procedure, root.component.gen_length) is not None
        for part in () if fixed else own(procedure, Strategy):
            if "fixed-steps" in part.component.requires:
                yield Finding(
                    part,
                    f"{part.title} needs a transfer rule with a fixed number of steps",
                    "use a transfer rule such as quota",
                )


def _beside_caches(root: Recipe) -> Iterator[tuple[Recipe, Recipe, bool]]:
    """Each cache with each strategy beside it, and whether that looks beyond the current block."""
    for procedure in procedures(root):
        cache, blocks = first(procedure, CachePolicy), first(procedure, Blocks)
        for part in own(procedure, Strategy) if cache else ():
            if part.component.role != "cache" and cache:
                yield cache, part, part.component.span == "region" and blocks is not None


def stale_mixtures(root: Recipe) -> Iterator[Finding]:
    """A mask is fed something new in each step, but the cache keeps it as it was."""
    for cache, part, _ in _beside_caches(root):
        if "mixed-inputs" in part.component.requires and cache.component.freezes() != "nothing":
            yield Finding(
                part,
                f"{part.title} changes what masks are fed, but {cache.title} may keep masks as "
                "they were",
                "use a cache that computes masks in every step, or none",
            )


def lonely_layers(root: Recipe) -> Iterator[Finding]:
    """A cache lets layers choose positions, and something else is to be fed or told in a pass."""
    for cache, part, _ in _beside_caches(root):
        needs = part.component.needs()
        more = needs.taps or "mixed-inputs" in part.component.requires
        more = more and "layer-steps" in cache.component.requires
        layered = any(getattr(each.component, "by_layer", False) for each in cache.walk())
        if more or (needs.shadow and layered):
            yield Finding(
                part,
                f"{part.title} has shadows or mixtures fed, or asks what attention saw, which "
                f"{cache.title} cannot do layer by layer",
                "use another cache, such as dual, or none",
            )


def opposite_places(root: Recipe) -> Iterator[Finding]:
    """One transfer rule draws commits together, another keeps them apart."""
    for procedure in procedures(root):
        rules = list(simple(procedure, TransferRule))
        near = [part for part in rules if part.component.locality == "near"]
        for part in rules:
            if near and part.component.locality == "far":
                yield Finding(
                    part,
                    f"transfer rule {part.component.name!r} keeps commits apart, but "
                    f"{near[0].component.name!r} puts them beside each other",
                    "use one of them, or each in its own part of the decode with `when`",
                )


def double_reopening(root: Recipe) -> Iterator[Finding]:
    """Two revisers put masks back, each without regard to the other."""
    for procedure in procedures(root):
        reopening = [part for part in simple(procedure, Reviser) if part.component.reopens]
        for part in reopening[1:]:
            yield Finding(
                part,
                f"{part.component.name!r} and {reopening[0].component.name!r} both put masks back",
                "each counts on its own share of the steps; expect more of them, or use one",
            )


def other_training(root: Recipe) -> Iterator[Finding]:
    """The weights of a strategy were trained beside something else."""
    for procedure in procedures(root):
        for part in own(procedure, Strategy):
            for slot, trained in part.component.trained_beside().items():
                here = _standing(slot, procedure, root)
                if here is not None and here != trained:
                    yield Finding(
                        part,
                        f"the weights of {part.title} were trained with {slot} {trained}, and "
                        f"here it is {here}",
                        f"set {slot} to {trained}, or expect other choices than in training",
                    )


def _standing(slot: str, procedure: Recipe, root: Recipe) -> str | None:
    """The names of what stands in a slot, or the length; None where there is no such slot."""
    if slot == "gen_length":
        return str(root.component.gen_length)
    filled = getattr(procedure.component, slot, procedure)
    if not isinstance(filled, Strategy | tuple | None):
        return None
    names = [each.name for each in (filled if isinstance(filled, tuple) else (filled,)) if each]
    return ", ".join(names) or "none"


def undone_exploration(root: Recipe) -> Iterator[Finding]:
    """Tokens that are committed in doubt are taken back for being doubtful."""
    for procedure in procedures(root):
        exploring = [part for part in simple(procedure, TransferRule) if part.component.doubtful]
        for part in simple(procedure, Reviser) if exploring else ():
            if part.component.reopens:
                yield Finding(
                    part,
                    f"{part.component.name!r} may take back at once what "
                    f"{exploring[0].component.name!r} commits although it is uncertain",
                    "use one of them, or let the reviser begin later with `when`",
                )


CHECKS = (
    *EPISODE_CHECKS,
    *GUARD_CHECKS,
    *LENGTH_CHECKS,
    *MODEL_CHECKS,
    *ENGINE_CHECKS,
    *DRAFT_VERIFY_CHECKS,
    Check("model", "error", known_model),
    Check("block-length", "error", block_length),
    Check("C2", "error", score_space),
    Check("C3", "error", frozen_reopening),
    Check("C4", "error", missing_predictions),
    Check("C5", "warning", false_agreement),
    Check("C9", "warning", exit_scale),
    Check("C10", "warning", other_training),
    Check("C12", "error", stale_mixtures),
    Check("layer-steps", "error", lonely_layers),
    Check("C15", "warning", opposite_places),
    Check("C16", "warning", double_reopening),
    Check("C18", "error", termination),
    Check("C23", "warning", step_cap),
    Check("C24", "warning", undone_exploration),
    Check("fixed-steps", "error", unknown_share),
    Check("schedule-steps", "error", schedule_steps),
)
"""Every check of the core, in the order in which they run."""
