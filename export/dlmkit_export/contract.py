"""Names and types at the border of an exported graph: one place, for writers and readers.

A graph is one call of a network.  With no cache slots it is the full pass, with some the pass
over a block.  Integers are int32 on the way in, token ids int64 on the way out; masks are
boolean, true where a query may attend, and every query sees at least itself.

Legend: B rows, Q fed positions, C cache slots, S wanted rows, K candidates, V vocabulary,
M mixed tokens, Y layers, G key/value heads, E head dimension.

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

A graph that is fed mixtures (ability `mixed-inputs`) has two more inputs after `wanted`, and one
that tells what attention saw (`attention-taps`) one, and two more outputs at the end:

| input                        | shape          |                                           |
|------------------------------|----------------|-------------------------------------------|
| `mix_ids`, `mix_weights`     | `[B,Q,M]`      | fed by their weights in place of `ids`    |
| `watched`                    | `[B,Q]`        | queries that `relevance` is about         |

| output                       | shape          |                                           |
|------------------------------|----------------|-------------------------------------------|
| `attention`                  | `[Y,B,Q,C+Q]`  | weights, mean over the heads              |
| `relevance`                  | `[Y,B,Q]`      | of fed keys to the mean watched query     |

A graph that writes into its cache has, in place of what is cached or fresh above:

| input                        | shape          |                                           |
|------------------------------|----------------|-------------------------------------------|
| `write_index`                | `[B]`          | int64, the slot of the first fed position |
| `mask`                       | `[B,1,Q,C]`    | over all slots, those of the fed included |
| `keys.0`, `values.0`, …      | `[B,G,C,E]`    | of each layer; C is fixed                 |

and as last outputs `written_keys.0`, `written_values.0`, …: the same with the fed positions in
their slots, to be bound to the same memory.
"""

from __future__ import annotations

__all__ = [
    "ABILITIES",
    "ATTENTION_TAPS",
    "CONTRACT_VERSION",
    "CURRENT",
    "FRESH",
    "INPUTS",
    "IN_PLACE",
    "LOGITS",
    "MIXED_INPUTS",
    "MIXTURE",
    "PACK",
    "TAPS",
    "TOKENS",
    "WATCHED",
    "caches",
    "inputs_of",
    "outputs_of",
    "written",
]

CONTRACT_VERSION = 1

INPUTS = ("ids", "positions", "mask_past", "mask_new", "past_keys", "past_values", "wanted")
"""Inputs of a graph that reads its cache, in order."""

IN_PLACE = ("ids", "positions", "wanted", "write_index", "mask")
"""First inputs of a graph that writes into its cache; after them come the caches."""

CURRENT = "current"
"""The input that only graphs with a score pack have; it comes last."""

PACK = ("top_ids", "top_logp", "lse", "entropy", "current_logp")
"""The score pack, in order."""

LOGITS = "logits"
"""What a graph without a score pack returns in its place."""

FRESH = ("fresh_keys", "fresh_values")
"""Last outputs of a graph that reads its cache and has no ability."""

MIXED_INPUTS, ATTENTION_TAPS = "mixed-inputs", "attention-taps"
ABILITIES = (ATTENTION_TAPS, MIXED_INPUTS)
"""What a graph may be able to do beside the plain call."""

MIXTURE = ("mix_ids", "mix_weights")
"""More inputs of a graph that is fed mixtures, int32 and float32."""

TOKENS = ("ids", CURRENT, *MIXTURE)
"""Inputs that say what is at a position, and not which positions there are."""

WATCHED = "watched"
"""One more input of a graph that tells what attention saw, boolean."""

TAPS = ("attention", "relevance")
"""More outputs of such a graph, float32."""


def inputs_of(ability: str | None) -> tuple[str, ...]:
    """Inputs of a graph that reads its cache and has an ability (None: none), in order."""
    more = {MIXED_INPUTS: MIXTURE, ATTENTION_TAPS: (WATCHED,)}
    return INPUTS if ability is None else INPUTS + more[ability]


def outputs_of(ability: str | None) -> tuple[str, ...]:
    """Outputs of that graph with logits, in order."""
    return (LOGITS, *FRESH, *(TAPS if ability == ATTENTION_TAPS else ()))


def caches(layers: int) -> tuple[str, ...]:
    """Inputs for the cache of each layer: keys, values."""
    return tuple(f"{name}.{layer}" for layer in range(layers) for name in ("keys", "values"))


def written(layers: int) -> tuple[str, ...]:
    """Outputs for the cache of each layer, in the same order."""
    return tuple(f"written_{name}" for name in caches(layers))
