"""Draft and verify: drafters, views, judges, and what is done with their verdicts."""

from dlmkit_strategies.draft_verify.bonuses import (
    NextToken,
    VerifierStep,
    WhenEmpty,
    WhenWhole,
)
from dlmkit_strategies.draft_verify.divergence import Divergence
from dlmkit_strategies.draft_verify.drawing import PointMass, Ratio, Recursive
from dlmkit_strategies.draft_verify.judge_sets import AllJudges, AnyJudge
from dlmkit_strategies.draft_verify.judges import (
    Among,
    AmongLikely,
    Greedy,
    Likely,
    LikelyOrBest,
    Transition,
    Trust,
    Typical,
)
from dlmkit_strategies.draft_verify.model_steps import ModelSteps
from dlmkit_strategies.draft_verify.ngrams import NgramTable
from dlmkit_strategies.draft_verify.own_chain import OwnTopChain
from dlmkit_strategies.draft_verify.own_step import OwnStep
from dlmkit_strategies.draft_verify.resolvers import (
    KeepAtLeastOne,
    Remask,
    ReplaceAll,
    ReplaceFirst,
    Truncate,
)
from dlmkit_strategies.draft_verify.schedules import (
    AdaptiveLength,
    EveryBlocks,
    Fixed,
    GrowAndShrink,
    MultiBlock,
    UntilUnsure,
)
from dlmkit_strategies.draft_verify.scopes import DeepestPath, Elementwise, Prefix
from dlmkit_strategies.draft_verify.sights import (
    AfterDraft,
    BeforeDraft,
    Causal,
    EveryState,
    LeaveGuessOut,
    LeaveOneOut,
)

__all__ = [
    "AdaptiveLength",
    "AfterDraft",
    "AllJudges",
    "Among",
    "AmongLikely",
    "AnyJudge",
    "BeforeDraft",
    "Causal",
    "DeepestPath",
    "Divergence",
    "Elementwise",
    "EveryBlocks",
    "EveryState",
    "Fixed",
    "Greedy",
    "GrowAndShrink",
    "KeepAtLeastOne",
    "LeaveGuessOut",
    "LeaveOneOut",
    "Likely",
    "LikelyOrBest",
    "ModelSteps",
    "MultiBlock",
    "NextToken",
    "NgramTable",
    "OwnStep",
    "OwnTopChain",
    "PointMass",
    "Prefix",
    "Ratio",
    "Recursive",
    "Remask",
    "ReplaceAll",
    "ReplaceFirst",
    "Transition",
    "Truncate",
    "Trust",
    "Typical",
    "UntilUnsure",
    "VerifierStep",
    "WhenEmpty",
    "WhenWhole",
]
