"""Promises of every strategy about whole decodes that it takes part in."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from dlmkit.loop.memory import parts
from dlmkit.testing.conformance.case import Check, require
from dlmkit.testing.conformance.decoding import PROMPTS, Decoded, decode, refuse_strays
from dlmkit.testing.conformance.pipelines import pipeline_around
from dlmkit.testing.conformance.scenes import attention_for
from dlmkit.testing.one_device import strays
from dlmkit.testing.plain import FoursInOrder
from dlmkit.testing.toy import toy_looped_network, toy_network

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlmkit.component import Component
    from dlmkit.models.arch import AttentionPattern
    from dlmkit.network import Network
    from dlmkit.roles import Procedure

__all__ = ["LOOPED", "decodes_of", "toy_networks", "toy_networks_for"]


@functools.cache
def toy_networks(shift: int = 0, attention: AttentionPattern | None = None) -> dict[str, Network]:
    """The toy network under the name that pipelines use by default."""
    return {"main": toy_network(logit_shift=shift, attention=attention, prompts=2)}


def toy_networks_for(component: Component) -> dict[str, Network]:
    """One that the component can work with; a causal one predicts the next token."""
    if any("latents" in getattr(part, "requires", ()) for part in parts(component)):
        return {"main": toy_looped_network()}
    attention = attention_for(component)
    return toy_networks(int(attention is not None and attention.kind == "causal"), attention)


def pipelines(strategy: Any) -> Iterator[Procedure]:
    """The strategy over one block, and over blocks of four."""
    yield pipeline_around(strategy, blocks=None)
    if strategy.role != "blocks":
        yield pipeline_around(strategy, blocks=FoursInOrder())


@functools.lru_cache(maxsize=2)
def decodes_of(strategy: Any) -> tuple[Decoded, ...]:
    """Decode the toy prompts with the strategy, on networks with and without logit shift."""
    return tuple(_decode_all(strategy))


def _decode_all(strategy: Any) -> Iterator[Decoded]:
    for pipeline in pipelines(strategy):
        for shift in (0, 1):
            yield decode(pipeline, toy_networks(shift, attention_for(strategy)))


def _decodes_to_the_end(strategy: Any) -> None:
    for decoded in decodes_of(strategy):
        left = sum(row.count(decoded.mask_id) for row in decoded.rows)
        require(left == 0 or strategy.role == "stop", f"{left} masks are left when the decode ends")


def _leaves_the_prompt_alone(strategy: Any) -> None:
    for decoded in decodes_of(strategy):
        for prompt, row in zip(PROMPTS, decoded.rows, strict=True):
            require(row[: len(prompt)] == prompt, f"prompt {prompt} became {row[: len(prompt)]}")


def _decodes_alike_with_the_same_seed(strategy: Any) -> None:
    for one, other in zip(decodes_of(strategy), _decode_all(strategy), strict=True):
        require(one == other, "two decodes with the same seed differ")


def _decodes_a_row_as_it_does_alone(strategy: Any) -> None:
    networks = toy_networks(attention=attention_for(strategy))
    for pipeline in pipelines(strategy):
        together = decode(pipeline, networks)
        for number, prompt in enumerate(PROMPTS):
            alone = decode(pipeline, networks, [prompt], first_sample=number)
            require(
                alone.rows[0] == together.rows[number],
                f"row {number} alone is {alone.rows[0]}, in a batch {together.rows[number]}",
            )


def _keeps_its_tensors_on_one_device(strategy: Any) -> None:
    networks = toy_networks_for(strategy)  # loaded before: they lie where the canvas does
    with strays() as found:
        for pipeline in pipelines(strategy):
            decode(pipeline, networks)
    refuse_strays(found)


LOOPED: dict[str, Check] = {
    "decodes to the end": _decodes_to_the_end,
    "leaves the prompt alone": _leaves_the_prompt_alone,
    "decodes alike with the same seed": _decodes_alike_with_the_same_seed,
    "decodes a row as it does alone": _decodes_a_row_as_it_does_alone,
    "keeps its tensors on one device": _keeps_its_tensors_on_one_device,
}
