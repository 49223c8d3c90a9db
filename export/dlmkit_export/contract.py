"""Names and types at the border of an exported graph: one place, for writers and readers.

A graph is one call of a network.  With no cache slots it is the full pass, with some the pass
over a block.  Integers are int32 on the way in, token ids int64 on the way out; masks are
boolean, true where a query may attend, and every query sees at least itself.

Legend: B rows, Q fed positions, C cache slots, S wanted rows, K candidates, V vocabulary,
Y layers, G key/value heads, E head dimension.

| input                        | shape          |                                           |
|------------------------------|----------------|-------------------------------------------|
| `ids`, `positions`           | `[B,Q]`        | positions in any order, gaps allowed      |
| `mask_past`, `mask_new`      | `[B,1,Q,C]`, `[B,1,Q,Q]` | joined inside                   |
| `past_keys`, `past_values`   | `[Y,B,G,C,E]`  | post-rotary; C may be 0                   |
| `wanted`                     | `[B,S]`        | rows among Q that go through the head     |
| `current`                    | `[B,S]`        | tokens whose log-probability is returned  |

| output                       | shape          |                                           |
|------------------------------|----------------|-------------------------------------------|
| `top_ids`, `top_logp`        | `[B,S,K]`      | most probable first, ties to the lowest id |
| `lse`, `entropy`, `current_logp` | `[B,S]`    | float32, nats                             |
| `logits`                     | `[B,S,V]`      | in place of the five above and `current`  |
| `fresh_keys`, `fresh_values` | `[Y,B,G,Q,E]`  | of the fed positions, not stored          |
"""

from __future__ import annotations

__all__ = ["CONTRACT_VERSION", "CURRENT", "FRESH", "INPUTS", "LOGITS", "PACK"]

CONTRACT_VERSION = 1

INPUTS = ("ids", "positions", "mask_past", "mask_new", "past_keys", "past_values", "wanted")
"""Inputs of every graph, in order."""

CURRENT = "current"
"""The input that only graphs with a score pack have; it comes last."""

PACK = ("top_ids", "top_logp", "lse", "entropy", "current_logp")
"""The score pack, in order."""

LOGITS = "logits"
"""What a graph without a score pack returns in its place."""

FRESH = ("fresh_keys", "fresh_values")
"""Last outputs of every graph."""
