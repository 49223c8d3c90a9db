"""What strategies require of the network that they are used with, and whether it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from dlmkit.component import Component
from dlmkit.denoise import Denoise
from dlmkit.errors import EngineError, StrategyError
from dlmkit.roles import Procedure, Strategy

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from dlmkit.models.arch import AttentionPattern
    from dlmkit.network import NetworkInfo

__all__ = [
    "LEFT_TO_RIGHT",
    "abilities_of",
    "asked_of",
    "attention_problem",
    "demands",
    "reading_problem",
    "refuse_unmet",
    "without",
]

_WITHOUT = {
    "attention-taps": "it does not tell what attention saw",
    "latents": "it hands over no latent states, and only looped models have any",
    "layer-steps": "it computes the same positions in every layer",
    "mixed-inputs": "it is fed whole tokens",
    "prompt-tokens": "it embeds no prompt tokens",
}
"""Abilities, which an engine has or not, and what it means to be without.

A model may still have no prompt tokens, or latents.
"""

LEFT_TO_RIGHT = (
    "write `blocks: {use: fixed, length: 1}`, or use a model that fills masks in any order"
)
"""How to decode with a causal model."""

_LONG = 1 << 20
"""More tokens than any text has."""

_ATTENTION = {
    "block-causal": ("block-causal", "causal", "masks-last"),
    "prefix-causal": ("prefix-causal",),
}
"""Requirements that a model's attention meets, by its kind."""


def attention_problem(strategy: Strategy | Procedure, pattern: AttentionPattern) -> str | None:
    """Say which attention a strategy is for, if the model's is another."""
    for name in sorted(strategy.requires & _ATTENTION.keys()):
        if pattern.kind not in _ATTENTION[name]:
            return (
                f"{strategy.role} {strategy.name!r} is for networks with {name} attention; "
                f"this one's is {pattern.kind}"
            )
    return None


def reading_problem(procedure: Procedure, pattern: AttentionPattern) -> str | None:
    """Say why a causal model cannot decode in this pipeline's order, if that is so.

    It predicts the next token from tokens, and was never shown a mask.
    """
    if pattern.kind != "causal" or not isinstance(procedure, Denoise):
        return None
    blocks = procedure.blocks
    if blocks is not None and blocks.planned_width(_LONG) == 1:
        return None
    return (
        f"model {procedure.model!r} is causal: it predicts one token after the other, and this "
        "pipeline asks it for several at once"
    )


def refuse_unmet(procedure: Procedure, networks: Mapping[str, NetworkInfo]) -> None:
    """Refuse a pipeline for these networks before it decodes anything.

    Raises:
        StrategyError: a strategy, or the order of decoding, is for another kind of attention.
        EngineError: a strategy needs what the network's engine does not offer.
    """
    for strategy, model in _strategies(procedure, procedure.home()):
        info = networks.get(model)
        problem = attention_problem(strategy, info.attention) if info else None
        if problem:
            raise StrategyError(problem, hint="use another one, or a model that it is for")
        if info and isinstance(strategy, Procedure):
            problem = reading_problem(strategy, info.attention)
            if problem:
                raise StrategyError(problem, hint=LEFT_TO_RIGHT)
        missing = abilities_of(strategy) - _abilities(info) if info else frozenset()
        if missing and info:
            raise EngineError(
                f"{strategy.role} {strategy.name!r} needs {', '.join(sorted(missing))}, which the "
                f"engine '{info.engine}' does not offer for model '{model}'",
                hint=f"{without(missing)}; use the torch engine without `compile`, or do without",
            )


def demands(procedure: Procedure) -> Iterator[tuple[Strategy | Procedure, str, frozenset[str]]]:
    """Each strategy with the name of its model and the abilities that it needs of the engine."""
    for strategy, model in _strategies(procedure, procedure.home()):
        yield strategy, model, abilities_of(strategy)


def abilities_of(strategy: Strategy | Procedure) -> frozenset[str]:
    """The abilities that a strategy needs of the engine."""
    tapped = isinstance(strategy, Strategy) and bool(strategy.needs().taps)
    return strategy.requires & _WITHOUT.keys() | ({"attention-taps"} if tapped else frozenset())


def asked_of(procedure: Procedure, models: Collection[str]) -> frozenset[str]:
    """The abilities that the strategies used with one of these models need of its engine."""
    needed = (wanted for _, name, wanted in demands(procedure) if name in models)
    return frozenset().union(*needed)


def without(missing: Iterable[str]) -> str:
    """What an engine is like that lacks these abilities."""
    return " and ".join(_WITHOUT[name] for name in sorted(missing))


def _abilities(info: NetworkInfo) -> frozenset[str]:
    return info.capabilities | ({"prompt-tokens"} if info.prompt_ids else frozenset())


def _strategies(component: Component, model: str) -> Iterator[tuple[Strategy | Procedure, str]]:
    """Every strategy and procedure from a component down, with the model that it is used with."""
    if isinstance(component, Procedure):
        model = component.home()
    if isinstance(component, Strategy | Procedure):
        yield component, model
    cls: Any = type(component)
    for field in attrs.fields(cls):
        value: Any = getattr(component, field.name)
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, Component):
                yield from _strategies(item, model)
