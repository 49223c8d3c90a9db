"""From canvas to prediction: guidance and logits transforms around one forward pass.

The order is fixed: guide, then transforms that everybody sees, then those that only the token
sampler sees.

Legend: B rows, N canvas positions, P window positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import torch
from torch import Tensor

from dlmkit.errors import EngineError, StrategyError
from dlmkit.need import Need
from dlmkit.passes.columns import predict_columns
from dlmkit.passes.plan import Plan
from dlmkit.passes.session import Session
from dlmkit.prediction import Prediction, score_pack
from dlmkit.roles import CachePolicy, Guide, InputTransform, LogitsTransform, Mixture
from dlmkit.view import View

__all__ = ["Forecast"]


@attrs.frozen(kw_only=True)
class Forecast:
    """The stages between the canvas and the strategies that read a prediction."""

    inputs: tuple[InputTransform, ...]
    cache: CachePolicy | None
    guide: Guide | None
    logits: tuple[LogitsTransform, ...]
    need: Need

    def predict(
        self, session: Session, view: View, aside: View | None = None
    ) -> tuple[View, Prediction]:
        """Run one forward pass; return what the strategies of this step see and read.

        A position without a prediction is not eligible in this step.  `aside` is a window of
        positions that are predicted once more, in `Prediction.shadow`, each by a shadow that sees
        no other; without it, strategies that need shadows get those of the whole window.

        Raises:
            EngineError: in a checked session, the cache policy computes no eligible position of
                a live row.
        """
        ids_BN = view.tokens_BN
        for transform in self.inputs:
            ids_BN = transform.apply(ids_BN, view)
        variants = self.guide.variants(ids_BN, view) if self.guide else (ids_BN,)
        plan = self.cache.plan(view) if self.cache else Plan.full(ids_BN)
        view = view if plan.whole else _narrowed(view, plan, session)
        shadowed = view if aside is None and self.need.shadow else aside
        if shadowed is not None:
            plan = attrs.evolve(
                plan,
                shadow_BH=shadowed.positions_BP,
                shadow_valid_BH=shadowed.inside_BP & view.live_B[:, None],
                shadows_meet=aside is None,
            )
        predictions = session.predict(
            variants,
            view.canvas,
            view.positions_BP,
            plan,
            self.need,
            view.predicted_BP,
            mixture=self._mixture(view),
        )
        prediction = self._finished(predictions, view)
        if predictions[0].taps is not None:
            prediction = attrs.evolve(prediction, taps=predictions[0].taps)
        shadows = [each.shadow for each in predictions if each.shadow is not None]
        if shadows and shadowed is not None:
            prediction = attrs.evolve(prediction, shadow=self._finished(shadows, shadowed))
        return view, prediction

    def _mixture(self, view: View) -> Mixture | None:
        mixtures = [(part, part.mix(view)) for part in self.inputs]
        found = [(part.name, each) for part, each in mixtures if each is not None]
        if len(found) > 1:
            raise StrategyError(
                f"'{found[0][0]}' and '{found[1][0]}' both mix embeddings",
                hint="use one of them",
            )
        return found[0][1] if found else None

    def predict_states(
        self, session: Session, view: View, states: Sequence[Tensor], *, columns: bool = False
    ) -> tuple[View, list[Prediction]]:
        """Run one pass over several canvases under the plan of the one in view.

        They may differ only where that plan computes; neither guidance nor input transforms take
        part.  Each is a row of its own or, with `columns`, part of one.  Raises as `predict` does.
        """
        plan = self.cache.plan(view) if self.cache else Plan.full(view.tokens_BN)
        view = view if plan.whole else _narrowed(view, plan, session)
        asked = view.canvas, view.positions_BP, plan, self.need, view.predicted_BP
        predictions = (
            predict_columns(session, states, *asked) if columns else session.predict(states, *asked)
        )
        return view, [self._finished([each], view) for each in predictions]

    def _finished(self, predictions: Sequence[Prediction], view: View) -> Prediction:
        """Combine the variants, and edit the result in both stages."""
        prediction = predictions[0]
        if self.guide:
            logits = [each.logits_BPV for each in predictions if each.logits_BPV is not None]
            edited_BPV = self.guide.combine(logits, view)
            prediction = self._from_logits(edited_BPV, view)
        scored = self._edit(prediction, view, "score")
        if scored is not prediction:
            prediction = attrs.evolve(scored, original=prediction)
        sampling = self._edit(prediction, view, "sampling")
        if sampling is not prediction:
            prediction = attrs.evolve(prediction, sampling=sampling)
        return prediction

    def _edit(self, prediction: Prediction, view: View, stage: str) -> Prediction:
        """Apply the transforms of one stage; without any, return the very same prediction."""
        logits_BPV = prediction.logits_BPV
        for transform in self.logits:
            if transform.stage == stage and logits_BPV is not None:
                logits_BPV = transform.edit(logits_BPV, view)
        if logits_BPV is None or logits_BPV is prediction.logits_BPV:
            return prediction
        return self._from_logits(logits_BPV, view)

    @property
    def _scored(self) -> Need:
        """What an edited distribution is reduced to; shadows are read at the tokens that stand."""
        return attrs.evolve(self.need, current=self.need.current or self.need.shadow)

    def _from_logits(self, logits_BPV: Tensor, view: View) -> Prediction:
        return Prediction(
            pack=score_pack(logits_BPV, self._scored, view.tokens_BP), logits_BPV=logits_BPV
        )


def _narrowed(view: View, plan: Plan, session: Session) -> View:
    """The view of a step that predicts a part of the window; the same view if it predicts all."""
    predicted_BP = session.kept.of(
        "predicted",
        (plan, view.positions_BP),
        lambda: _predicted(view, plan, session),
    )
    if predicted_BP is None:
        return view
    narrowed = attrs.evolve(view, predicted_BP=predicted_BP)
    if session.checked and not torch.equal(view.live_B, narrowed.live_B):
        raise EngineError(
            "the cache policy's plan feeds no position that could be decided",
            hint="feed at least one undecided position of each row's block "
            "(shifted families: the one before it)",
        )
    return narrowed


def _predicted(view: View, plan: Plan, session: Session) -> Tensor | None:
    """Which positions of the window the plan predicts; None for all, where that may be read."""
    predicted_BP = plan.predicted_BP(
        view.positions_BP, view.info.logit_shift, view.tokens_BN.shape[1]
    )
    if session.checked and bool(predicted_BP.all()):
        return None
    return predicted_BP
