"""A confidence that discounts tokens which are common everywhere.

Legend: B rows, P window positions, V vocabulary.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor

from dlmkit.bounds import above, at_least
from dlmkit.component import option
from dlmkit.errors import RequestError
from dlmkit.need import Need
from dlmkit.prediction import Prediction
from dlmkit.roles import ConfidenceScorer
from dlmkit.view import View

__all__ = ["Calibrated"]

_SMALLEST = 1e-9


@attrs.frozen
class Calibrated(ConfidenceScorer):
    """Probability times the surprise of the token in ordinary text, less the further right it is.

    With j the offset in the block, c the probability and f the share of the token in a corpus:
    exp(-decay j) min(-c log(f + 1e-9), clip).  Without a file every token counts as equally
    common.  Source: PC-Sampler (arXiv:2508.13021), lambda and alpha.
    """

    name = "calibrated"
    need = Need(top=2)

    decay: float = option(0.25, doc="preference for the left, per position", check=at_least(0))
    clip: float = option(10.0, doc="largest calibrated confidence", check=above(0))
    frequencies: str | None = option(
        None, doc="path of a JSON list with the count of each token in a corpus; absent: all equal"
    )

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """Refuse a file that holds no counts."""
        if options["frequencies"] is not None:
            try:
                _counts(options["frequencies"])
            except RequestError as error:
                yield "frequencies", str(error.args[0]), error.hint or ""

    def score(self, tokens_BP: Tensor, prediction: Prediction, view: View) -> Tensor:
        """Scores between 0 and `clip`, float32."""
        probability_BP = prediction.logp_of(tokens_BP).exp()
        surprise_V = -(_shares(self.frequencies, view.info.vocab_size) + _SMALLEST).log()
        surprise_BP = surprise_V.to(tokens_BP.device)[tokens_BP]
        offset_BP = (view.positions_BP - view.block.start_B[:, None]).clamp_min(0)
        weight_BP = torch.exp(-self.decay * offset_BP.to(surprise_BP.dtype))
        return weight_BP * (probability_BP * surprise_BP).clamp_max(self.clip)


@lru_cache(maxsize=4)
def _shares(path: str | None, vocabulary: int) -> Tensor:
    """Share of each token, `shares_V` float64.

    Raises:
        RequestError: the file cannot be read or has another length.
    """
    if path is None:
        return torch.full((vocabulary,), 1 / vocabulary, dtype=torch.float64)
    counts = _counts(path)
    if counts.shape != (vocabulary,):
        raise RequestError(
            f"token frequencies {path} hold {counts.numel()} numbers, "
            f"but the vocabulary has {vocabulary}",
            hint="count tokens with the tokenizer of this model",
        )
    return counts / counts.sum()


def _counts(path: str) -> Tensor:
    """The numbers of a file, `counts_V` float64.

    Raises:
        RequestError: the file cannot be read, or holds something else.
    """
    try:
        return torch.tensor(json.loads(Path(path).read_text("utf-8")), dtype=torch.float64)
    except (OSError, ValueError, TypeError) as error:
        raise RequestError(
            f"token frequencies {path} cannot be read: {error}",
            hint="give a JSON file with one list of numbers",
        ) from None
