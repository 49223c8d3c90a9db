"""Compose, run and compare decoding strategies for masked diffusion language models.

Names are loaded when they are first used, so importing this package does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlmkit.accounts.records import StepRecord
    from dlmkit.accounts.results import Result
    from dlmkit.accounts.traces import read_trace
    from dlmkit.canvas import Canvas
    from dlmkit.component import Component, StateField, option
    from dlmkit.engine import Engine, LoadedModel
    from dlmkit.errors import DlmkitError
    from dlmkit.generation import Decode, Runner, generate
    from dlmkit.guarantee import Guarantee
    from dlmkit.models.loading import load_model
    from dlmkit.need import Need
    from dlmkit.passes.plan import Plan
    from dlmkit.plugins import hookimpl
    from dlmkit.prediction import Prediction
    from dlmkit.roles import (
        Blocks,
        CachePolicy,
        CommitGuard,
        ConfidenceScorer,
        EarlyExit,
        Guide,
        InputTransform,
        LogitsTransform,
        Observer,
        Procedure,
        Reviser,
        StopRule,
        TokenSampler,
        TransferRule,
    )
    from dlmkit.spec import Document, load_spec
    from dlmkit.spec.documents import ModelRef
    from dlmkit.view import View

    __version__: str

__all__ = [
    "Blocks",
    "CachePolicy",
    "Canvas",
    "CommitGuard",
    "Component",
    "ConfidenceScorer",
    "Decode",
    "DlmkitError",
    "Document",
    "EarlyExit",
    "Engine",
    "Guarantee",
    "Guide",
    "InputTransform",
    "LoadedModel",
    "LogitsTransform",
    "ModelRef",
    "Need",
    "Observer",
    "Plan",
    "Prediction",
    "Procedure",
    "Result",
    "Reviser",
    "Runner",
    "StateField",
    "StepRecord",
    "StopRule",
    "TokenSampler",
    "TransferRule",
    "View",
    "__version__",
    "generate",
    "hookimpl",
    "load_model",
    "load_spec",
    "option",
    "read_trace",
]

_HOMES = {
    "Blocks": "dlmkit.roles",
    "CachePolicy": "dlmkit.roles",
    "Canvas": "dlmkit.canvas",
    "CommitGuard": "dlmkit.roles",
    "Component": "dlmkit.component",
    "ConfidenceScorer": "dlmkit.roles",
    "Decode": "dlmkit.generation",
    "DlmkitError": "dlmkit.errors",
    "Document": "dlmkit.spec",
    "EarlyExit": "dlmkit.roles",
    "Engine": "dlmkit.engine",
    "Guarantee": "dlmkit.guarantee",
    "Guide": "dlmkit.roles",
    "InputTransform": "dlmkit.roles",
    "LoadedModel": "dlmkit.engine",
    "LogitsTransform": "dlmkit.roles",
    "ModelRef": "dlmkit.spec.documents",
    "Need": "dlmkit.need",
    "Observer": "dlmkit.roles",
    "Plan": "dlmkit.passes.plan",
    "Prediction": "dlmkit.prediction",
    "Procedure": "dlmkit.roles",
    "Result": "dlmkit.accounts.results",
    "Reviser": "dlmkit.roles",
    "Runner": "dlmkit.generation",
    "StateField": "dlmkit.component",
    "StepRecord": "dlmkit.accounts.records",
    "StopRule": "dlmkit.roles",
    "TokenSampler": "dlmkit.roles",
    "TransferRule": "dlmkit.roles",
    "View": "dlmkit.view",
    "generate": "dlmkit.generation",
    "hookimpl": "dlmkit.plugins",
    "load_model": "dlmkit.models.loading",
    "load_spec": "dlmkit.spec",
    "option": "dlmkit.component",
    "read_trace": "dlmkit.accounts.traces",
}
"""Where each public name is defined."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib import metadata

        return metadata.version("dlmkit")
    if name not in _HOMES:
        raise AttributeError(f"module 'dlmkit' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
