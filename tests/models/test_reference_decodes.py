"""Whole decodes of block models equal those of the published samplers, token for token."""

from __future__ import annotations

import functools
import json

import pytest
from safetensors.torch import load_file

from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.passes.session import Session
from dlmkit.spec import load_spec
from dlmkit_strategies.families import Llada2, Sdar
from tests.models.checkpoints import folder, load_folder, loaded, recorded, write_checkpoint

CACHES = ("pipeline.cache=null", "pipeline.cache=block-causal")
PROMPTS = {"p13": "prompt13", "p16": "prompt16"}
NEW = 24


@functools.cache
def network(name, block):
    families = {"sdar": Sdar(block=block), "llada2_moe": Llada2(block=block)}
    mask_id = {"fast_dllm_v2": 507, "llada2_moe": 511, "sdar": 509, "wedlm": 505}[name]
    return loaded(name, dtype="float32", family=families.get(name), mask_id=mask_id).network


def decoded(model, spec, overrides, prompt, count):
    """The tokens after the prompt, and the number of forward passes."""
    document = load_spec(spec, [f"gen_length={count}", *overrides])
    canvas = Canvas.create([prompt], count, model.info.mask_id)
    session = Session(model)
    for _ in document.pipeline.steps(Context({"main": session}), canvas):
        pass
    return canvas.tokens_BN[0, len(prompt) :].tolist(), session.counts.forwards


def whole_blocks(prompt, block):
    """New tokens up to the end of the block that holds the last one asked for."""
    return -(-(len(prompt) + NEW) // block) * block - len(prompt)


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("row", PROMPTS)
@pytest.mark.parametrize("block", [4, 8])
@pytest.mark.parametrize("threshold", [None, "05", "09"])
def test_sdar_decodes_as_its_sampler(threshold, block, row, cache):
    """One token a step, or everything above a threshold; blocks of the config or the user."""
    arrays = recorded("sdar", "decode.npz")
    prompt = arrays[PROMPTS[row]][0].tolist()
    quota = "pipeline.transfer.of[1]" if threshold else "pipeline.transfer"
    overrides = [cache, f"pipeline.blocks.length={block}"]
    overrides += [f"{quota}.length={block}", f"{quota}.steps_per_block={block}"]
    name = "static"
    if threshold:
        overrides.append(f"pipeline.transfer.of[0].threshold={int(threshold) / 10}")
        name = f"dynamic_thr{threshold}"
    expected = arrays[f"out_{row}_low_confidence_{name}_b{block}_s{block}"][0].tolist()
    spec = "sdar-dynamic" if threshold else "sdar"
    count = whole_blocks(prompt, block)
    found, _ = decoded(network("sdar", block), spec, overrides, prompt, count)
    assert expected[len(prompt) :] == found


@pytest.mark.parametrize("row", PROMPTS)
@pytest.mark.parametrize("block", [4, 8])
def test_sdar_decodes_from_left_to_right_as_its_sampler(block, row):
    """The published `sequential`: the quota goes to the first masks."""
    arrays = recorded("sdar", "decode.npz")
    prompt = arrays[PROMPTS[row]][0].tolist()
    overrides = ["pipeline.confidence={use: given-order, offsets: [0]}"]
    overrides += [f"pipeline.{slot}.length={block}" for slot in ("blocks", "transfer")]
    overrides += [f"pipeline.transfer.steps_per_block={block}"]
    expected = arrays[f"out_{row}_sequential_b{block}_s{block}"][0].tolist()
    count = whole_blocks(prompt, block)
    found = decoded(network("sdar", block), "sdar", overrides, prompt, count)
    assert (expected[len(prompt) :], count) == found


@pytest.mark.parametrize("row", ["p5", "p13", "p16"])
@pytest.mark.parametrize("small", [4, 8])
@pytest.mark.parametrize("threshold", ["05", "09", "10"])
@pytest.mark.parametrize("reuse", [False, True])
def test_fast_dllm_v2_decodes_as_its_sampler(reuse, threshold, small, row):
    """Four blocks and the token after them, with and without the sub-block cache."""
    arrays = recorded("fast_dllm_v2", "decode.npz")
    prompt = arrays[f"prompt{row[1:]}"][0].tolist()
    case = f"{row}_thr{threshold}_sub{small}_{'blockcache' if reuse else 'plain'}"
    expected = arrays[f"out_{case}"][0].tolist()[len(prompt) :]
    overrides = [
        f"pipeline.blocks.length={small}",
        f"pipeline.transfer.threshold={int(threshold) / 10}",
    ]
    spec = "fast-dllm-v2-dual" if reuse else "fast-dllm-v2"
    count = len(prompt) // 8 * 8 + 32 + 1 - len(prompt)
    found, _ = decoded(network("fast_dllm_v2", None), spec, overrides, prompt, count)
    assert expected == found


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("row", PROMPTS)
@pytest.mark.parametrize(("threshold", "edit", "passes"), [("09", "09", 16), ("07", "05", 8)])
def test_llada2_edits_as_its_sampler(threshold, edit, passes, row, cache):
    """LLaDA2.1: masks are filled and tokens replaced by the same passes."""
    arrays = recorded("llada2_moe", "decode_edit.npz")
    prompt = arrays[PROMPTS[row]][0].tolist()
    overrides = [
        cache,
        "pipeline.blocks.length=8",
        f"pipeline.transfer.of[0].threshold={int(threshold) / 10}",
        f"pipeline.revise[0].threshold={int(edit) / 10}",
        f"pipeline.revise[0].passes={passes}",
    ]
    count = whole_blocks(prompt, 8)
    found, _ = decoded(network("llada2_moe", 8), "llada2-edit", overrides, prompt, count)
    expected = arrays[f"out_{row}_thr{threshold}_edit{edit}_post{passes}_b8"][0].tolist()
    assert expected == found[:NEW]


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("row", PROMPTS)
@pytest.mark.parametrize(("threshold", "steps"), [("095", 8), ("05", 8), ("09", 4)])
def test_llada2_decodes_as_its_sampler(threshold, steps, row, cache):
    """Everything above the threshold, or the step's quota where that is more."""
    arrays = recorded("llada2_moe", "decode.npz")
    prompt = arrays[PROMPTS[row]][0].tolist()
    overrides = [
        cache,
        "pipeline.blocks.length=8",
        f"pipeline.transfer.of[0].threshold=0.{threshold[1:]}",
        "pipeline.transfer.of[1].length=8",
        f"pipeline.transfer.of[1].steps_per_block={steps}",
    ]
    count = whole_blocks(prompt, 8)
    found, _ = decoded(network("llada2_moe", 8), "llada2", overrides, prompt, count)
    assert arrays[f"out_{row}_thr{threshold}_b8_s{steps}"][0].tolist() == found[:NEW]


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("row", PROMPTS)
@pytest.mark.parametrize("block", [4, 8])
@pytest.mark.parametrize("threshold", ["05", "09"])
def test_wedlm_decodes_as_its_block_sampler(threshold, block, row, cache):
    """Tokens and forward passes, without moving any mask."""
    arrays = recorded("wedlm", "decode.npz")
    prompt = arrays[PROMPTS[row]][0].tolist()
    case = f"{row}_b{block}_thr{threshold}"
    overrides = [
        cache,
        f"pipeline.blocks.length={block}",
        f"pipeline.transfer.threshold={int(threshold) / 10}",
    ]
    found = decoded(network("wedlm", None), "fast-dllm", overrides, prompt, NEW)
    expected = arrays[f"out_{case}"][0].tolist()[len(prompt) :]
    assert (expected, int(arrays[f"steps_{case}"])) == found


@pytest.mark.parametrize("row", PROMPTS)
@pytest.mark.parametrize("block", [4, 8])
def test_wedlm_without_threshold_decides_one_token_a_pass(block, row):
    """Threshold zero switches the rule off in the published sampler."""
    arrays = recorded("wedlm", "decode.npz")
    prompt = arrays[PROMPTS[row]][0].tolist()
    overrides = [
        CACHES[1],
        f"pipeline.blocks.length={block}",
        f"pipeline.transfer.steps_per_block={block}",
    ]
    found, passes = decoded(network("wedlm", None), "llada", overrides, prompt, NEW)
    assert arrays[f"out_{row}_b{block}_thr00"][0].tolist()[len(prompt) :] == found
    assert NEW == passes


def test_llada22_decodes_as_far_as_there_is_a_reference(tmp_path):
    """A longer context, and replacements as in 2.1: insertions and deletions are not made."""
    source = folder("llada2_moe")
    config = json.loads((source / "config.json").read_text())
    longer = {**config, "max_position_embeddings": 131072}
    path = write_checkpoint(tmp_path, longer, load_file(source / "model.safetensors"))
    model = load_folder(path, dtype="float32", family=Llada2(block=8), mask_id=511).network
    arrays = recorded("llada2_moe", "decode_edit.npz")
    prompt = arrays["prompt13"][0].tolist()
    overrides = [CACHES[1], "pipeline.blocks.length=8", "pipeline.transfer.of[0].threshold=0.7"]
    overrides += ["pipeline.revise[0].threshold=0.5", "pipeline.revise[0].passes=8"]
    found, _ = decoded(model, "llada2-edit", overrides, prompt, whole_blocks(prompt, 8))
    assert 131072 == model.info.max_positions
    assert arrays["out_p13_thr07_edit05_post8_b8"][0].tolist() == found[:NEW]
