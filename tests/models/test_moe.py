"""Experts: routing follows its definition, grouping changes nothing, loading stacks in order."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch.testing import assert_close

from dlmkit.errors import ModelError
from dlmkit.models.arch import MoeSpec
from dlmkit.models.grouped import grouped_linear, tiled_linear
from dlmkit.models.moe import SparseMLP
from tests.models.checkpoints import folder, load_folder, loaded, write_checkpoint

SOFTMAX = MoeSpec(experts=8, chosen=3, ffn=16)
GROUPED = MoeSpec(
    experts=8,
    chosen=2,
    ffn=16,
    score="sigmoid",
    renormalise=True,
    scale=2.5,
    groups=4,
    kept_groups=2,
    selection_bias=True,
    shared_ffn=24,
)


def filled(spec):
    torch.manual_seed(0)
    mlp = SparseMLP(32, spec)
    for parameter in mlp.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return mlp.double().requires_grad_(False)


def chosen_by_definition(scores, bias, spec):
    """Rank groups by their two best, then experts inside the kept ones."""
    ranked = [score + extra for score, extra in zip(scores, bias, strict=True)]
    size = spec.experts // spec.groups
    groups = [ranked[start : start + size] for start in range(0, spec.experts, size)]
    best = [sum(sorted(group)[-2:]) for group in groups]
    kept = sorted(range(spec.groups), key=lambda g: -best[g])[: spec.kept_groups]
    allowed = [expert for expert in range(spec.experts) if expert // size in kept]
    return sorted(allowed, key=lambda expert: -ranked[expert])[: spec.chosen]


def by_definition(mlp, x_D):
    """One token through its experts, one at a time."""
    spec, experts = mlp.gate.spec, mlp.experts
    raw = mlp.gate.weight @ x_D
    scores = raw.sigmoid() if spec.score == "sigmoid" else raw.softmax(0)
    bias = [0.0] * spec.experts if mlp.gate.expert_bias is None else mlp.gate.expert_bias.tolist()
    chosen = chosen_by_definition(scores.tolist(), bias, spec)
    total = sum(scores[e] for e in chosen) if spec.renormalise else 1.0
    out = torch.zeros_like(x_D)
    for e in chosen:
        inner = torch.nn.functional.silu(experts.gate_proj[e] @ x_D) * (experts.up_proj[e] @ x_D)
        out += scores[e] / total * spec.scale * (experts.down_proj[e] @ inner)
    return out if mlp.shared_experts is None else out + mlp.shared_experts(x_D)


@pytest.mark.parametrize("spec", [SOFTMAX, GROUPED], ids=["softmax", "grouped"])
def test_experts_follow_their_definition(spec):
    """Sorting and grouping give what one token and one expert at a time give."""
    mlp = filled(spec)
    x_BQD = torch.randn(2, 5, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = torch.stack([by_definition(mlp, x_D) for x_D in x_BQD.flatten(0, 1)])
    assert_close(expected.view(2, 5, 32), mlp(x_BQD))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=7))
def test_tiles_give_each_group_its_matrix(sizes):
    """Empty groups, one large group, or none at all."""
    generator = torch.Generator().manual_seed(sum(sizes))
    x_AI = torch.randn(sum(sizes), 3, generator=generator)
    weight_XOI = torch.randn(len(sizes), 4, 3, generator=generator)
    parts = zip(x_AI.split(sizes), weight_XOI, strict=True)
    expected_AO = torch.cat([part @ matrix.T for part, matrix in parts])
    ends_X = torch.tensor(sizes).cumsum(0)
    assert_close(expected_AO, tiled_linear(x_AI, weight_XOI, ends_X))
    assert_close(expected_AO, grouped_linear(x_AI, weight_XOI, ends_X))


def test_the_grouped_kernel_agrees_with_tiles():
    """Aligned sizes in float32 take the kernel; the result is the same."""
    x_AI, weight_XOI = torch.randn(40, 16), torch.randn(5, 24, 16)
    ends_X = torch.tensor([3, 3, 20, 39, 40])
    assert_close(tiled_linear(x_AI, weight_XOI, ends_X), grouped_linear(x_AI, weight_XOI, ends_X))


def test_a_sparse_layer_exports_without_its_values():
    """No shape and no branch depends on what the router chooses."""
    mlp = filled(SOFTMAX).float()
    program = torch.export.export(mlp, (torch.randn(1, 6, 32),))
    x_BQD = torch.randn(1, 6, 32)
    assert_close(mlp(x_BQD), program.module()(x_BQD))


@pytest.mark.parametrize("name", ["llada_moe", "qwen3_moe_ar"])
def test_a_missing_expert_is_named(tmp_path, name):
    """One expert of many is reported under its name in the file."""
    tensors = load_file(folder(name) / "model.safetensors")
    gone = "model.layers.1.mlp.experts.5.up_proj.weight"
    config = json.loads((folder(name) / "config.json").read_text())
    write_checkpoint(tmp_path, config, {k: v for k, v in tensors.items() if k != gone})
    with pytest.raises(ModelError, match=f"tensor '{gone}' is missing"):
        load_folder(tmp_path)


def test_an_expert_too_many_is_named(tmp_path):
    """A number beyond the config's count does not fit."""
    tensors = load_file(folder("llada_moe") / "model.safetensors")
    extra = "model.layers.1.mlp.experts.8.up_proj.weight"
    tensors[extra] = tensors["model.layers.1.mlp.experts.7.up_proj.weight"].clone()
    config = json.loads((folder("llada_moe") / "config.json").read_text())
    with pytest.raises(ModelError, match=f"{extra}' is number 8 of .* which holds 8"):
        load_folder(write_checkpoint(tmp_path, config, tensors))


def test_stacked_experts_are_read_too(tmp_path):
    """Training forks of LLaDA2 store one tensor for all experts of a layer."""
    tensors = load_file(folder("llada2_moe") / "model.safetensors")
    for part in ("gate", "up", "down"):
        names = [f"model.layers.1.mlp.experts.{e}.{part}_proj.weight" for e in range(8)]
        stacked = torch.stack([tensors.pop(each) for each in names])
        tensors[f"model.layers.1.mlp.experts.{part}_proj"] = stacked
    config = json.loads((folder("llada2_moe") / "config.json").read_text())
    expected = loaded("llada2_moe", dtype="float32").network.decoder.state_dict()
    found = load_folder(write_checkpoint(tmp_path, config, tensors)).network.decoder.state_dict()
    assert_close(expected, found, atol=0, rtol=0)
