"""The network: one stateless call, the same for every back end.

A network is given token ids with explicit positions, cached keys and values with masks, and the
rows whose predictions are wanted.  It returns statistics (or logits) of those rows and the fresh
keys and values; it stores nothing.  PyTorch, ONNX Runtime and TensorRT differ in nothing else.

Legend: B rows, Q fed positions, C cache slots, K = C + Q keys (in `mix_`: mixed tokens), S wanted
rows, V vocabulary, Y layers, G key/value heads, E head dimension.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

import attrs

if TYPE_CHECKING:
    from torch import Tensor, device, dtype

    from dlmkit.models.arch import AttentionPattern
    from dlmkit.models.tokenizer import Tokenizer
    from dlmkit.passes.latents import Latents
    from dlmkit.passes.layer_steps import Features, LayerSteps
    from dlmkit.prediction import Need, ScorePack

__all__ = ["KeyValues", "Network", "NetworkInfo", "NetworkInputs", "NetworkOutput"]


@attrs.frozen(kw_only=True)
class NetworkInfo:
    """Facts about a loaded network that the loop and the checks rely on.

    `logit_shift` is 1 where row i-1 predicts token i (a habit kept from autoregressive training)
    and 0 where row i predicts token i.  `noise` is what the network was trained to see at
    undecided positions: `absorbing`, its mask token, or `uniform`, any token.  `eos_ids` end a
    text; the first is the padding token.
    `capabilities` names optional abilities: `logits` of whole distributions; `attention-taps`,
    what attention saw (`Need.taps`); `layer-steps`, passes that compute other positions in each
    layer; `mixed-inputs`, feeding mixtures of tokens; `latents`, refining latent states of
    `latent_dim` numbers, which begin as noise of standard deviation `latent_scale`; `noise-level`,
    predictions that hang on the noise level of a row.
    `prompt_ids` are the numbers of prompt tokens, embeddings that may be fed and are never
    predicted.  `cache_slots` is the fixed room of a network that writes into its cache (see
    `dlmkit.key_values.in_place`); None: it reads the cache only.  `own_threads` says that passes
    run on threads of the engine's own, not on PyTorch's; `recordable` that a pass does nothing but
    PyTorch's operators, the same for the same shapes.  `tokenizer` is there while a session decodes
    with a checkpoint that has one.
    """

    vocab_size: int
    mask_id: int | None
    eos_ids: tuple[int, ...]
    max_positions: int
    attention: AttentionPattern
    layers: int
    kv_heads: int
    head_dim: int
    dtype: dtype
    device: device
    logit_shift: int = 0
    noise: Literal["absorbing", "uniform"] = "absorbing"
    parameters: int = 0
    engine: str = "torch"
    eot_ids: tuple[int, ...] = ()
    capabilities: frozenset[str] = frozenset({"logits"})
    prompt_ids: tuple[int, ...] = ()
    latent_dim: int = 0
    latent_scale: float = 1.0
    cache_slots: int | None = None
    own_threads: bool = False
    recordable: bool = False
    tokenizer: Tokenizer | None = attrs.field(default=None, eq=False, repr=False)


@attrs.frozen(kw_only=True)
class KeyValues:
    """Post-rotary keys and values, each `[Y, B, G, positions, E]` in the network's dtype.

    `room` is the contiguous memory whose leading positions these are, where there is more of it.
    """

    keys_YBGCE: Tensor
    values_YBGCE: Tensor
    room: KeyValues | None = None

    def copied(self) -> KeyValues:
        """The same in memory of their own."""
        return KeyValues(keys_YBGCE=self.keys_YBGCE.clone(), values_YBGCE=self.values_YBGCE.clone())


@attrs.frozen(kw_only=True)
class NetworkInputs:
    """Everything that one call depends on.

    `ids_BQ` and `positions_BQ` int64, in any order; `want_BS` int64 indices into Q;
    `mask_new_B1QQ` boolean, true where a fed position may attend to another fed one (None:
    everywhere); `past` cached keys and values with `mask_past_B1QC` telling which slots are
    visible (both or neither); `current_BS` the tokens whose log-probability is asked for.
    Every query must see at least itself.  A network that writes into its cache leaves fresh keys
    and values in `past`, in the slots of `positions_BQ`.  Engines may know positions, wanted rows
    and masks by identity from the call before: make new tensors of them, never change one.

    Only for networks with the ability: `watch_BQ`, bool, the queries whose attention is noted;
    `mix_ids_BQK` and `mix_weights_BQK`, float32, tokens whose embeddings are added up in place of
    the embedding of `ids_BQ`; `layer_steps` with the `features` of the pass before (None: there was
    none), which the call writes into; `noise_B`, float32, the noise level of each row; `latents` of
    the fed positions, to be refined.
    """

    ids_BQ: Tensor
    positions_BQ: Tensor
    want_BS: Tensor
    mask_new_B1QQ: Tensor | None = None
    past: KeyValues | None = None
    mask_past_B1QC: Tensor | None = None
    current_BS: Tensor | None = None
    watch_BQ: Tensor | None = None
    mix_ids_BQK: Tensor | None = None
    mix_weights_BQK: Tensor | None = None
    layer_steps: LayerSteps | None = None
    features: Features | None = None
    noise_B: Tensor | None = None
    latents: Latents | None = None


@attrs.frozen(kw_only=True)
class NetworkOutput:
    """Statistics of the wanted rows, logits where needed, fresh keys and values of the fed rows.

    Rows are what the network returned at the wanted positions: the logit shift is not applied.
    The memory of `fresh` may be that of the next pass in the same thread: who keeps it copies it.
    It is None where the network has written into its cache.
    Where `Need.taps` asks: `attention_YBQK`, attention weights over cached and fed keys, and
    `relevance_YBQ`, the product of each fed key with the mean of the watched queries, unscaled;
    both are means over the heads, float32 at least.  After a pass in layer steps: `features`, and
    `computed`, the positions that it computed in full, of all rows, mean over the layers.  After a
    pass that was fed latents: `latents`, refined.
    """

    pack: ScorePack
    logits_BSV: Tensor | None
    fresh: KeyValues | None
    attention_YBQK: Tensor | None = None
    relevance_YBQ: Tensor | None = None
    features: Features | None = None
    computed: int | None = None
    latents: Latents | None = None


class Network(Protocol):
    """A loaded network on one engine."""

    @property
    def info(self) -> NetworkInfo:
        """Facts about the network."""
        ...

    def forward(self, inputs: NetworkInputs, need: Need) -> NetworkOutput:
        """Run one pass over the fed positions."""
        ...
