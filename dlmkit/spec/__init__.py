"""Specs: YAML documents that name and compose strategies."""

from __future__ import annotations

from dlmkit.spec.check import Check, Finding
from dlmkit.spec.documents import Document, ModelRef
from dlmkit.spec.load import check_document, load_spec
from dlmkit.spec.recipe import Recipe, recipe_of
from dlmkit.spec.report import Problem, SpecError

__all__ = [
    "Check",
    "Document",
    "Finding",
    "ModelRef",
    "Problem",
    "Recipe",
    "SpecError",
    "check_document",
    "load_spec",
    "recipe_of",
]
