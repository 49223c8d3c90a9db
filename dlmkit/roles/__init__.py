"""The roles: one base class per question that a decoding strategy answers.

A strategy is a frozen component of one role with one pure method: tensors in, tensors out.  The
loop intersects what a strategy returns with what is eligible, applies it, and counts it.  Rows of
a batch are independent: a method must give each row what it would give the row alone.
"""

from dlmkit.roles.after import LengthController, Resize, Reviser, Revision, StopRule
from dlmkit.roles.choosing import CommitGuard, EarlyExit, Exit, TransferRule
from dlmkit.roles.passes import Blocks, CachePolicy, Guide, InputTransform, Mixture
from dlmkit.roles.procedure import Observer, Procedure, Splitter
from dlmkit.roles.proposing import ConfidenceScorer, LogitsTransform, ScoreSpace, TokenSampler
from dlmkit.roles.strategy import Strategy

__all__ = [
    "Blocks",
    "CachePolicy",
    "CommitGuard",
    "ConfidenceScorer",
    "EarlyExit",
    "Exit",
    "Guide",
    "InputTransform",
    "LengthController",
    "LogitsTransform",
    "Mixture",
    "Observer",
    "Procedure",
    "Resize",
    "Reviser",
    "Revision",
    "ScoreSpace",
    "Splitter",
    "StopRule",
    "Strategy",
    "TokenSampler",
    "TransferRule",
]
