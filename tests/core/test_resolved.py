"""A pipeline is resolved before its first step, and asks networks for no more than its parts do."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest

from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.denoise import Denoise
from dlmkit.loop.memory import parts
from dlmkit.passes.session import Session
from dlmkit.plugins import get_plugins
from dlmkit.roles import Strategy
from dlmkit.spec import load_spec
from tests.core.toy_presets import short, toys_for


def steps_of(document, networks):
    home = networks[document.pipeline.home()]
    canvas = Canvas.create([[3, 1, 4]], document.gen_length, home.info.mask_id)
    sessions = {name: Session(each) for name, each in networks.items()}
    return document.pipeline.steps(Context(sessions), canvas)


@pytest.mark.parametrize("preset", ["llada", "dual-diffusion-fast", "spiffy"])
def test_pipelines_are_resolved_once(monkeypatch, preset):
    """Each of a procedure's pipelines, however many passes follow."""
    asked = Counter()

    def counting(name, ask):
        def counted(pipeline):
            asked[name, id(pipeline)] += 1
            return ask(pipeline)

        return counted

    for name in ("forecast", "decision", "reads_region"):
        monkeypatch.setattr(Denoise, name, counting(name, getattr(Denoise, name)))
    document = short(preset)
    passes = list(islice(steps_of(document, toys_for(document)), 12))
    assert len(passes) >= 8
    assert asked
    assert {1} == set(asked.values())


@pytest.mark.parametrize(
    "preset",
    sorted(name for name in get_plugins().presets if isinstance(load_spec(name).pipeline, Denoise)),
)
def test_logits_are_fetched_only_where_a_part_declares_them(preset):
    """Else the score pack is all that a pass returns."""
    document, asked = short(preset), []
    networks = toys_for(document)
    main = networks["main"]
    forward = main.forward

    def noted(inputs, need):
        asked.append(need)
        return forward(inputs, need)

    main.forward = noted
    list(islice(steps_of(document, networks), 2))
    strategies = [part for part in parts(document.pipeline) if isinstance(part, Strategy)]
    assert {any(part.needs().logits for part in strategies)} == {need.logits for need in asked}
    assert {max(part.needs().top for part in strategies)} == {need.top for need in asked}
