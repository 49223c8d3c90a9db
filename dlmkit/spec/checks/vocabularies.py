"""Checks of the tokens of drafter and verifier, and of the bridge between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlmkit.draft_verify.roles import Bridge, Drafter, Judge
from dlmkit.roles import Procedure
from dlmkit.spec.check import Check, Finding
from dlmkit.spec.identify import described, source_of
from dlmkit.spec.walk import first, together

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlmkit.spec.recipe import Recipe

__all__ = ["VOCABULARY_CHECKS"]


def unlike_vocabularies(root: Recipe) -> Iterator[Finding]:
    """Drafter and verifier have different tokens, and nothing carries them across."""
    for procedure, draft in together(root, Drafter):
        bridged = first(procedure, Bridge) is not None
        home = procedure.component.home()
        for part in () if bridged else draft.walk():
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


def _difference(root: Recipe, drafter: str, verifier: str) -> str | None:
    """What sets two vocabularies apart; None where they agree or are not known yet."""
    models = root.component.models
    one, other = (described(source_of(models, name)) for name in (drafter, verifier))
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


def bridged_laws(root: Recipe) -> Iterator[Finding]:
    """Distributions of two vocabularies are compared or mixed, which only a bridge keeps apart."""
    for _, _, draft, judge in together(root, Bridge, Drafter, Judge):
        if judge.component.laws:
            yield Finding(
                judge,
                f"{judge.title} reads the drafter's distributions, which are over other tokens",
                "use a judge that reads the verifier's law only, such as `conf`",
            )
        if draft.component.needs().logits:
            yield Finding(
                draft,
                f"{draft.title} mixes the verifier's distributions into its own, which are over "
                "other tokens",
                "leave that out (`recall: 0`)",
            )


VOCABULARY_CHECKS = (
    Check("draft-vocabulary", "error", unlike_vocabularies),
    Check("draft-bridge", "error", bridged_laws),
)
"""The checks of this module, in the order in which they run."""
