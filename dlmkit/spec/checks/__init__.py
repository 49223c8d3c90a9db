"""The project's own composition checks, by the ids of the conflicts that they detect.

Each is one function over the recipe of a document and reads declared traits only; it names no
concrete strategy.  What breaks a promise that the parts make together is an error, however well
the pipeline would run.  A further check is a further function and a line below it.  (C1, two
strategies where a slot takes one, is reported while the document is read.)
"""

from __future__ import annotations

from dlmkit.spec.checks.caches import CACHE_CHECKS
from dlmkit.spec.checks.drafter import DRAFTER_CHECKS
from dlmkit.spec.checks.engines import ENGINE_CHECKS
from dlmkit.spec.checks.episodes import EPISODE_CHECKS
from dlmkit.spec.checks.guards import GUARD_CHECKS
from dlmkit.spec.checks.judge import JUDGE_CHECKS
from dlmkit.spec.checks.lengths import LENGTH_CHECKS
from dlmkit.spec.checks.models import MODEL_CHECKS
from dlmkit.spec.checks.steps import STEP_CHECKS
from dlmkit.spec.checks.strategies import STRATEGY_CHECKS
from dlmkit.spec.checks.verifier import VERIFIER_CHECKS
from dlmkit.spec.checks.vocabularies import VOCABULARY_CHECKS

__all__ = ["CHECKS"]

CHECKS = (
    *EPISODE_CHECKS,
    *GUARD_CHECKS,
    *LENGTH_CHECKS,
    *MODEL_CHECKS,
    *ENGINE_CHECKS,
    *JUDGE_CHECKS,
    *DRAFTER_CHECKS,
    *VERIFIER_CHECKS,
    *VOCABULARY_CHECKS,
    *STRATEGY_CHECKS,
    *CACHE_CHECKS,
    *STEP_CHECKS,
)
"""Every check of the core, in the order in which they run."""
