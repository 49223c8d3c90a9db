"""Model families: how published checkpoints map onto the shared decoder."""

from __future__ import annotations

from dlmkit_strategies.families.diffusion_gemma import DiffusionGemma
from dlmkit_strategies.families.dream import Dream, DreamReasoner
from dlmkit_strategies.families.fast_dllm_v2 import FastDllmV2
from dlmkit_strategies.families.huginn import Huginn
from dlmkit_strategies.families.lifted import Converted, OpenDcoder
from dlmkit_strategies.families.llada import Llada
from dlmkit_strategies.families.llada2 import Llada2
from dlmkit_strategies.families.llada_moe import LladaMoe
from dlmkit_strategies.families.llama import Llama
from dlmkit_strategies.families.looped import Looped
from dlmkit_strategies.families.nemotron import EfficientDlm, Nemotron
from dlmkit_strategies.families.openwebtext import Bd3Lm, Mdlm, Sedd
from dlmkit_strategies.families.qwen2 import Qwen2
from dlmkit_strategies.families.qwen3 import Qwen3
from dlmkit_strategies.families.sdar import Sdar
from dlmkit_strategies.families.seed_line import Illada, StableDiffCoder
from dlmkit_strategies.families.wedlm import WeDlm

__all__ = [
    "FAMILIES",
    "Bd3Lm",
    "Converted",
    "DiffusionGemma",
    "Dream",
    "DreamReasoner",
    "EfficientDlm",
    "FastDllmV2",
    "Huginn",
    "Illada",
    "Llada",
    "Llada2",
    "LladaMoe",
    "Llama",
    "Looped",
    "Mdlm",
    "Nemotron",
    "OpenDcoder",
    "Qwen2",
    "Qwen3",
    "Sdar",
    "Sedd",
    "StableDiffCoder",
    "WeDlm",
]

FAMILIES = (
    Bd3Lm,
    Converted,
    DiffusionGemma,
    Dream,
    DreamReasoner,
    EfficientDlm,
    FastDllmV2,
    Huginn,
    Illada,
    Llada,
    Llada2,
    LladaMoe,
    Llama,
    Looped,
    Mdlm,
    Nemotron,
    OpenDcoder,
    Qwen2,
    Qwen3,
    Sdar,
    Sedd,
    StableDiffCoder,
    WeDlm,
)
"""Every family of this package, for registration."""
