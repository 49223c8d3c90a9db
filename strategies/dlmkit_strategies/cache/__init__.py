"""Cache policies: what is computed in a step, and what is read from the key/value store."""

from dlmkit_strategies.cache.causal import BlockCausal
from dlmkit_strategies.cache.causal_prefix import CausalPrefix
from dlmkit_strategies.cache.d2cache import D2Cache
from dlmkit_strategies.cache.delayed import DelayedDecode
from dlmkit_strategies.cache.elastic import ElasticCache
from dlmkit_strategies.cache.feature import FeatureCache
from dlmkit_strategies.cache.free import FreeCache
from dlmkit_strategies.cache.greedy import DelayedGreedy
from dlmkit_strategies.cache.leadless import Leadless
from dlmkit_strategies.cache.prompt import Prompt
from dlmkit_strategies.cache.recap import Recap
from dlmkit_strategies.cache.refresh import Refresh
from dlmkit_strategies.cache.spans import Dual, Prefix
from dlmkit_strategies.cache.sparse import Sparse
from dlmkit_strategies.cache.sub_block import SubBlock

__all__ = [
    "BlockCausal",
    "CausalPrefix",
    "D2Cache",
    "DelayedDecode",
    "DelayedGreedy",
    "Dual",
    "ElasticCache",
    "FeatureCache",
    "FreeCache",
    "Leadless",
    "Prefix",
    "Prompt",
    "Recap",
    "Refresh",
    "Sparse",
    "SubBlock",
]
