"""Which promises a component makes, by its role."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlmkit.bundles import Bundle
from dlmkit.draft_verify.roles import Part
from dlmkit.roles import Procedure, Strategy
from dlmkit.testing.conformance.case import Check, ConformanceCase
from dlmkit.testing.conformance.declared import DECLARED
from dlmkit.testing.conformance.ending import EXIT, REVISE, STOP
from dlmkit.testing.conformance.lengthening import LENGTH
from dlmkit.testing.conformance.looped import LOOPED, toy_networks_for
from dlmkit.testing.conformance.pure import PURE
from dlmkit.testing.conformance.running import OBSERVE, procedure_promises
from dlmkit.testing.conformance.scoring import CONFIDENCE, GUIDE, LOGITS, SAMPLE
from dlmkit.testing.conformance.selecting import GUARD, TRANSFER
from dlmkit.testing.conformance.spanning import BLOCKS, CACHE, INPUTS
from dlmkit.testing.conformance.verifying import VERIFYING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dlmkit.component import Component
    from dlmkit.network import Network

__all__ = ["conformance_cases"]

BY_ROLE: Mapping[str, Mapping[str, Check]] = {
    "blocks": BLOCKS,
    "cache": CACHE | VERIFYING,
    "confidence": CONFIDENCE,
    "exit": EXIT,
    "guard": GUARD,
    "guide": GUIDE,
    "inputs": INPUTS,
    "length": LENGTH,
    "logits": LOGITS,
    "observe": OBSERVE,
    "revise": REVISE,
    "sample": SAMPLE,
    "stop": STOP,
    "transfer": TRANSFER,
}


def conformance_cases(
    component: Component, *, networks: Mapping[str, Network] | None = None
) -> list[ConformanceCase]:
    """List the promises of a component's role, each as a case to run.

    Args:
        component: the object to test, with the options to test it with.
        networks: for a procedure, toy networks by the names of its models; the first one's mask
            token fills the canvas.  By default one network called `main`, of the attention that
            it needs.
    """
    promises = dict(DECLARED)
    if isinstance(component, Strategy):
        promises |= PURE | LOOPED
    if isinstance(component, Part | Bundle):
        promises |= LOOPED
    if isinstance(component, Procedure):
        promises |= procedure_promises(networks or toy_networks_for(component))
    promises |= BY_ROLE.get(component.role, {})
    return [ConformanceCase(component, promise, check) for promise, check in promises.items()]
