"""Cache policies: what is computed in a step, and what is read from the key/value store."""

from dlmkit_strategies.cache.free import FreeCache
from dlmkit_strategies.cache.prompt import Prompt
from dlmkit_strategies.cache.spans import Dual, Prefix

__all__ = ["Dual", "FreeCache", "Prefix", "Prompt"]
