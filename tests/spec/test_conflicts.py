"""The 24 conflicts of strategies with each other: found at their place, or said why they cannot be.

Here every one is provoked with the built-in strategies; tests of single checks say what passes.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import attrs
import pytest

from dlmkit.spec import SpecError, load_spec

PAGE = Path(__file__).parents[2] / "docs/reference/spec.md"
HEAD = "dlmkit: pipeline/1\nname: conflict\ngen_length: 64\npipeline:\n"
SLOTS = {
    "blocks": "{use: fixed, length: 32}",
    "sample": "greedy",
    "confidence": "probability",
    "transfer": "{use: threshold, threshold: 0.9}",
}
BLOCK_CAUSAL = {
    "architectures": ["SDARForCausalLM"], "block_size": 4, "head_dim": 8, "hidden_size": 16,
    "intermediate_size": 24, "num_attention_heads": 2, "num_hidden_layers": 2,
    "num_key_value_heads": 1, "vocab_size": 64, "max_position_embeddings": 128,
    "rms_norm_eps": 1e-6, "rope_theta": 1e4, "tie_word_embeddings": False, "attention_bias": False,
    "hidden_act": "silu",
}  # fmt: skip


@attrs.frozen
class Case:
    """What is written over a plain document, and what is said about it in which line."""

    slots: dict[str, str]
    line: int
    message: str
    hint: str
    severity: str = "error"
    model: str | None = None


CASES = {
    "C1": Case(
        {"transfer": "[top-k, threshold]"}, 8,
        "pipeline.transfer takes one transfer strategy, not a list", "combine them with",
    ),
    "C2": Case(
        {"confidence": "entropy"}, 8,
        "reads probability, but confidence 'entropy' gives nats",
        "choose a confidence in that unit, or a transfer rule that only ranks",
    ),
    "C3": Case(
        {"transfer": "everything", "revise": "backtrack", "cache": "dkv-decode", "max_steps": "9"},
        9, "revise 'backtrack' may put masks back, but cache 'dkv-decode' freezes decided tokens",
        "use a cache that recomputes them",
    ),
    "C4": Case(
        {"exit": "{use: gap, threshold: 5.0}", "cache": "dual"}, 9,
        "exit 'gap' reads predictions outside the current block, but cache 'dual'",
        "use another cache, or none",
    ),
    "C5": Case(
        {"transfer": "{use: runners-up}", "cache": "dual"}, 8,
        "transfer 'runners-up' compares steps, and cache 'dual' makes them more alike",
        "set its thresholds anew, or refresh the cache more often", "warning",
    ),
    "C7": Case(
        {"length": "daedal", "cache": "prompt"}, 9,
        "length 'daedal' may move positions, but cache 'prompt' stores keys and values by position",
        "leave the cache out, or use a length controller that only cuts",
    ),
    "C9": Case(
        {"guide": "cfg", "exit": "{use: gap, threshold: 5.0}"}, 10,
        "exit 'gap' compares candidates after 'cfg' changed them",
        "its thresholds were set on the unchanged distribution; set them anew", "warning",
    ),
    "C11": Case(
        {"cache": "block-causal"}, 10,
        "is for networks with block-causal attention; this one's is full",
        "use another one, or a model that it is for", model="builtin/drafter",
    ),
    "C12": Case(
        {"inputs": "soft-mask", "cache": "free-cache"}, 9,
        "inputs 'soft-mask' changes what masks are fed, but cache 'free-cache' may keep masks",
        "use a cache that computes masks in every step, or none",
    ),
    "C13": Case(
        {"exit": "{use: gap, threshold: 5.0}"}, 10,
        "exit 'gap' reads predictions outside the block; this model's attention is block-causal",
        "use one that reads the block alone", model="block-causal",
    ),
    "C14": Case(
        {"blocks": "{use: adablock, delimiters: [3]}", "transfer": "{use: time-grid, steps: 8}"},
        5, "blocks 'adablock' chooses block ends in their first step, but transfer rule",
        "use a transfer rule that looks at every step anew",
    ),
    "C15": Case(
        {"transfer": "{use: union, of: [local-leap, dilated]}"}, 8,
        "transfer rule 'dilated' keeps commits apart, but 'local-leap' puts them beside each other",
        "use one of them, or each in its own part of the decode with `when`", "warning",
    ),
    "C16": Case(
        {"transfer": "everything", "revise": "[reopen-recorded, backtrack]", "max_steps": "64"}, 9,
        "'backtrack' and 'reopen-recorded' both put masks back",
        "each counts on its own share of the steps; expect more of them, or use one", "warning",
    ),
    "C17": Case(
        {"length": "[eotp, daedal]"}, 9,
        "pipeline.length takes one length strategy, not a list", "keep one of them",
    ),
    "C18": Case(
        {"transfer": "everything", "revise": "backtrack"}, 9,
        "revise 'backtrack' may put masks back for ever", "set max_steps in the pipeline",
    ),
    "C20": Case(
        {"revise": "token-edit"}, 10,
        "revise 'token-edit' replaces decided tokens, which models of the family 'llada' were not",
        "use a model that was, such as LLaDA2.1, or a reviser that puts masks back",
        "warning", "builtin/drafter",
    ),
    "C23": Case(
        {"transfer": "{use: quota, steps_per_block: 32}", "max_steps": "40"}, 9,
        "the pipeline plans 64 steps, but max_steps is 40",
        "all that is left then is committed at once; plan fewer steps", "warning",
    ),
    "C24": Case(
        {"transfer": "explore", "revise": "reopen-faded", "max_steps": "64"}, 9,
        "'reopen-faded' may take back at once what 'explore' commits although it is uncertain",
        "use one of them, or let the reviser begin later with `when`", "warning",
    ),
}  # fmt: skip

ELSEWHERE = {
    "C10": "needs a file of weights: test_weights_tell_what_they_were_trained_beside",
}
BY_THE_LOOP = {
    "C6": "test_a_reopened_position_is_forgotten_unless_it_is_kept",
    "C8": "test_a_row_that_exits_is_not_revised",
    "C19": "there is no joint sampler",
    "C21": "the conformance promise 'decodes a row as it does alone'",
    "C22": "strategies are called without gradients",
}


def written(case: Case, tmp_path: Path) -> str:
    """The document of a case, a slot a line."""
    head, model = HEAD, case.model
    if model == "block-causal":
        model = str(tmp_path)
        (tmp_path / "config.json").write_text(json.dumps(BLOCK_CAUSAL))
    if model:
        head = head.replace("gen_length", f"models: {{main: {{repo: {model}}}}}\ngen_length")
    return head + "".join(f"  {name}: {value}\n" for name, value in (SLOTS | case.slots).items())


def problems(text: str) -> tuple[Any, ...]:
    """Everything that the checks say."""
    try:
        return load_spec(text).warnings
    except SpecError as error:
        return error.problems


@pytest.mark.parametrize("conflict", CASES)
def test_a_conflict_is_found_with_its_place_reason_and_hint(conflict: str, tmp_path: Path) -> None:
    """Under its own id; a second length controller is a second component in a slot for one."""
    case = CASES[conflict]
    check = "C1" if conflict == "C17" else conflict
    (found,) = (each for each in problems(written(case, tmp_path)) if each.check == check)
    assert case.message in found.message
    assert case.hint in (found.hint or "")
    assert (case.severity, case.line) == (found.severity, found.mark and found.mark.line)


def test_the_list_of_conflicts_is_complete() -> None:
    """Each is provoked here or elsewhere, or cannot occur and the reference page says why."""
    assert {f"C{number}" for number in range(1, 25)} == {*CASES, *ELSEWHERE, *BY_THE_LOOP}
    impossible = PAGE.read_text("utf-8").partition("The others cannot occur:")[2]
    listed = re.findall(r"^\| (C\d+) \|", impossible, re.MULTILINE)
    assert {*BY_THE_LOOP, "C17"} == set(listed)
