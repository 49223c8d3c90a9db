"""A real but tiny network for tests: random weights, any vocabulary, milliseconds on a CPU.

It is the shared decoder behind the ordinary torch network, in float64, so attention, positions,
caches and batches behave as they do in a large model; only the answers mean nothing.
"""

from __future__ import annotations

from typing import Any, TypeVar

import attrs
import tokenizers
import torch

from dlmkit.engines.torch_network import TorchNetwork
from dlmkit.models.arch import ArchSpec, AttentionPattern, RotarySpec
from dlmkit.models.decoder import Decoder
from dlmkit.models.looped import LoopedArch, LoopedDecoder
from dlmkit.models.prompt_tokens import PromptedEmbedding, prompt_ids
from dlmkit.models.text_module import TextModule
from dlmkit.models.tokenizer import Tokenizer
from dlmkit.network import NetworkInfo

__all__ = ["toy_looped_network", "toy_network", "toy_tokenizer"]

_Module = TypeVar("_Module", bound=TextModule)

_SIZES: Any = {
    "hidden": 16,
    "heads": 2,
    "kv_heads": 1,
    "head_dim": 8,
    "ffn": 24,
    "rotary": RotarySpec(dim=8),
    "max_positions": 512,
}


def toy_network(
    seed: int = 0,
    *,
    vocabulary: int = 24,
    logit_shift: int = 0,
    attention: AttentionPattern | None = None,
    dtype: torch.dtype = torch.float64,
    prompts: int = 0,
) -> TorchNetwork:
    """Build a two-layer network with weights drawn from `seed`.

    The last token id is the mask, the one before it ends a text.  Logits spread widely, so that
    no decision hangs on rounding.  It has so many prompt tokens.
    """
    arch = ArchSpec(
        **_SIZES, vocab_rows=vocabulary, layers=2, attention=attention or AttentionPattern()
    )
    generator = torch.Generator().manual_seed(seed)
    decoder = _drawn(Decoder(arch), generator, dtype)
    if prompts:
        weight = decoder.model.embed_tokens.weight
        prompts_MD = 0.5 * torch.randn(prompts, arch.hidden, generator=generator)
        decoder.model.embed_tokens = PromptedEmbedding(weight, prompts_MD.to(dtype))
    info = _info(arch, vocabulary, logit_shift, dtype)
    info = attrs.evolve(info, prompt_ids=prompt_ids(vocabulary, prompts))
    return TorchNetwork(decoder, info)


def toy_looped_network(
    seed: int = 0, *, vocabulary: int = 24, depth: int = 8, dtype: torch.dtype = torch.float64
) -> TorchNetwork:
    """Build a causal looped network of three layers, the middle one repeated, from `seed`.

    Its states settle within some ten recurrences.
    """
    arch = LoopedArch(
        **_SIZES,
        vocab_rows=vocabulary,
        layers=3,
        attention=AttentionPattern(kind="causal"),
        prelude=1,
        coda=1,
        depth=depth,
    )
    decoder = _drawn(LoopedDecoder(arch), torch.Generator().manual_seed(seed), dtype)
    decoder.adapter.weight[:, : arch.hidden] *= 1.5  # more of the state, so that it settles slowly
    return TorchNetwork(decoder, _info(arch, vocabulary, 1, dtype))


def _drawn(decoder: _Module, generator: torch.Generator, dtype: torch.dtype) -> _Module:
    """The module with random weights."""
    with torch.no_grad():
        for parameter in decoder.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(noise * 0.5 + (1.0 if parameter.ndim == 1 else 0.0))
    return decoder.to(dtype).eval().requires_grad_(False)


def toy_tokenizer(vocabulary: int = 24) -> Tokenizer:
    """One letter for each token, from `a` on; the last two are special."""
    names = [chr(ord("a") + each) for each in range(vocabulary - 2)]
    special = [tokenizers.AddedToken(name, special=True) for name in ("</s>", "<mask>")]
    words = {name: number for number, name in enumerate([*names, "</s>", "<mask>"])}
    core = tokenizers.Tokenizer(tokenizers.models.WordLevel(words))
    core.add_special_tokens(special)
    core.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    core.decoder = tokenizers.decoders.Fuse()
    return Tokenizer(core)


def _info(arch: ArchSpec, vocabulary: int, logit_shift: int, dtype: torch.dtype) -> NetworkInfo:
    return NetworkInfo(
        vocab_size=vocabulary,
        mask_id=vocabulary - 1,
        eos_ids=(vocabulary - 2,),
        max_positions=arch.max_positions,
        attention=arch.attention,
        layers=arch.layers,
        kv_heads=arch.kv_heads,
        head_dim=arch.head_dim,
        dtype=dtype,
        device=torch.device("cpu"),
        logit_shift=logit_shift,
        tokenizer=toy_tokenizer(vocabulary),
    )
