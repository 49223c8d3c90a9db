"""Parallel prompt decoding: a causal model that drafts for itself behind what it checks."""

from __future__ import annotations

from dlmkit_strategies.prompt_tokens.fed import PromptTokens
from dlmkit_strategies.prompt_tokens.guesses import PromptedTree
from dlmkit_strategies.prompt_tokens.nodes import EveryNode

__all__ = ["EveryNode", "PromptTokens", "PromptedTree"]
