"""Drafting with a pipeline of its own: another network, or the same one with an approximation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import attrs

from dlmkit.bounds import at_least, at_most
from dlmkit.component import option
from dlmkit.denoise import Denoise
from dlmkit.draft_verify.roles import Drafter, DraftRun
from dlmkit.draft_verify.round import Setting
from dlmkit.errors import RequestError
from dlmkit.need import Need
from dlmkit_strategies.draft_verify.bridged_steps import BridgedSteps
from dlmkit_strategies.draft_verify.pipeline_run import PipelineRun

__all__ = ["ModelSteps"]

MANY = 1 << 20
"""More positions than any text has."""


@attrs.frozen(kw_only=True)
class ModelSteps(Drafter):
    """Several steps of an ordinary pipeline, each a node on top of the one before.

    The pipeline has its own network, which may be the verifier's with a cache, and its own cache.
    Rows whose draft was not kept whole return to the cache as it was before; the others keep it.
    With `recall` the drafter also knows what the verifier said last about a position, and so
    follows its order more closely; that changes guesses, never what is kept of them.
    Source: DualDiffusion (arXiv:2604.05250).
    """

    name = "model-steps"
    tells_laws = True

    pipeline: Denoise = option(doc="what drafts; it must not take tokens back")
    recall: float = option(
        0.0,
        doc="weight of the verifier's last distributions in the drafter's, as powers; 0: none",
        check=(at_least(0), at_most(1)),
    )

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """What is recalled takes the place of the pipeline's own edits."""
        if options["recall"] and (options["pipeline"].logits or options["pipeline"].guide):
            message = "recall does not go with `logits` or `guide` in the pipeline"
            yield "recall", message, "leave out one of them"

    def begin(self, setting: Setting) -> DraftRun:
        """Open a session of its own.

        Raises:
            RequestError: without a bridge, its model has other tokens than the verifier's, or its
                cache cannot be taken back.
        """
        if setting.bridge is not None:
            return BridgedSteps(self.pipeline, setting, setting.bridge, self.recall)
        drafter = setting.context.session(self.pipeline.model).info
        verifier = setting.context.session(setting.verifier.model).info
        sizes = drafter.vocab_size, verifier.vocab_size
        masks = drafter.mask_id, verifier.mask_id
        if sizes[0] != sizes[1] or (None not in masks and masks[0] != masks[1]):
            what, values = ("tokens", sizes) if sizes[0] != sizes[1] else ("as its mask", masks)
            raise RequestError(
                f"drafter '{self.pipeline.model}' has {values[0]} {what}, verifier "
                f"'{setting.verifier.model}' {values[1]}",
                hint="carry the text between them: `bridge: retokenize`",
            )
        cache = self.pipeline.cache
        if cache is not None and "layer-steps" in cache.requires:
            raise RequestError(
                f"cache {cache.name!r} keeps what layers gave, "
                "which is not taken back with a draft",
                hint="use another cache in the drafter's pipeline, such as dual, or none",
            )
        return PipelineRun(self.pipeline, self.recall, setting)

    @property
    def order(self) -> Literal["position", "reveal"]:  # type: ignore[override] # the pipeline's
        """From left to right if its blocks hold one token, or are decided in one step each."""
        return "position" if self._single() or self._sweeps() else "reveal"

    def alone(self) -> bool:
        """Whether a step decides one position, however many are masked."""
        if self._single():
            return True
        return self.pipeline.transfer.steps_per_block(MANY) == MANY and not self.pipeline.exit

    def _single(self) -> bool:
        blocks = self.pipeline.blocks
        return blocks is not None and blocks.planned_width(MANY) == 1

    def _sweeps(self) -> bool:
        """Whether a step leaves no mask in its block, so that what follows lies to the right."""
        cache = self.pipeline.cache
        predicted = cache is None or cache.provides() != "some"
        return self.pipeline.transfer.whole and predicted and not self.pipeline.guard

    def needs(self) -> Need:
        """The verifier's distributions, if they are recalled."""
        return Need(logits=self.recall > 0)

    def sampled(self) -> bool:
        """Whether the pipeline's sampler draws."""
        return self.pipeline.sample.stochastic
