"""Promises of procedures, which run whole decodes, and of observers, which watch them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from dlmkit.testing.conformance.case import Check, require
from dlmkit.testing.conformance.decoding import PROMPTS, decode, refuse_strays
from dlmkit.testing.conformance.looped import toy_networks
from dlmkit.testing.conformance.pipelines import pipeline_around
from dlmkit.testing.one_device import strays
from dlmkit.testing.plain import BestPosition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dlmkit.network import Network

__all__ = ["OBSERVE", "procedure_promises"]


def procedure_promises(networks: Mapping[str, Network]) -> dict[str, Check]:
    """The promises of a procedure that runs on these networks."""

    def decodes_to_the_end(procedure: Any) -> None:
        decoded = decode(procedure, networks)
        left = sum(row.count(decoded.mask_id) for row in decoded.rows)
        require(left == 0, f"{left} masks are left when the decode ends")

    def leaves_the_prompt_alone(procedure: Any) -> None:
        for prompt, row in zip(PROMPTS, decode(procedure, networks).rows, strict=True):
            require(row[: len(prompt)] == prompt, f"prompt {prompt} became {row[: len(prompt)]}")

    def gives_the_same_trace_with_the_same_seed(procedure: Any) -> None:
        one, other = decode(procedure, networks), decode(procedure, networks)
        require(one.trace == other.trace, "two traces with the same seed differ")

    def counts_what_was_executed(procedure: Any) -> None:
        decoded = decode(procedure, networks)
        for name, executed in decoded.executed.items():
            reported = decoded.reported[name]
            # Which of the passes filled an empty store, a network cannot know.
            told = attrs.evolve(reported, prefills=0, prefill_positions=0)
            require(told == executed, f"'{name}' executed {executed}, reported {reported}")

    def keeps_its_tensors_on_one_device(procedure: Any) -> None:
        with strays() as found:
            decode(procedure, networks)
        refuse_strays(found)

    return {
        "decodes to the end": decodes_to_the_end,
        "leaves the prompt alone": leaves_the_prompt_alone,
        "gives the same trace with the same seed": gives_the_same_trace_with_the_same_seed,
        "counts what was executed": counts_what_was_executed,
        "keeps its tensors on one device": keeps_its_tensors_on_one_device,
    }


def _changes_nothing(observer: Any) -> None:
    watched = decode(pipeline_around(observer, blocks=None), toy_networks())
    alone = decode(pipeline_around(BestPosition(), blocks=None), toy_networks())
    require(watched == alone, "the decode differs from one without the observer")


OBSERVE: dict[str, Check] = {"changes nothing": _changes_nothing}
