"""What cannot be changed any more once a network is compiled, and what to do instead."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from dlmkit.errors import EngineError, ModelError
from dlmkit.spec import SpecError, load_spec
from dlmkit_export.bundle.buckets import Buckets
from dlmkit_export.bundle.changes import export_command
from dlmkit_export.bundle.make import make_bundle
from dlmkit_export.bundle.manifest import read_manifest
from dlmkit_export.bundle.options import ExportOptions
from dlmkit_export.runtime.engine import OnnxRuntimeEngine
from dlmkit_strategies.rope import NtkRope
from tests.export.changed import PLAIN, ROPE, changed, derivation, prompts
from tests.export.compiled import bundle, opened, source


def test_deriving_from_a_bundle_says_what_to_export():
    """The command with the checkpoint's name, and how to name the result."""
    asked = derivation(skip_layers=(1,), prompt_tokens="my file")
    with pytest.raises(EngineError, match="no other model can be derived from it") as caught:
        OnnxRuntimeEngine().derive(opened(bundle("tiny")), asked)
    assert "dlmkit export --model tiny-checkpoint --skip-layers 1 --prompt-tokens 'my file' -o" in (
        caught.value.hint
    )
    assert "{repo: FOLDER, engine: onnxruntime}" in caught.value.hint


def test_another_rope_says_what_to_export():
    """With the mapping of the spec, quoted for a shell."""
    with pytest.raises(EngineError, match="is compiled with no `rope`; rope") as caught:
        opened(bundle("tiny"), rope=NtkRope(context=512))
    command = "dlmkit export --model tiny-checkpoint --rope '{use: ntk, context: 512}' -o FOLDER"
    assert command in caught.value.hint
    with pytest.raises(
        EngineError, match=r"is compiled with rope \{use: ntk, context: 256, factor: 8.0\}"
    ):
        opened(changed(), rope=NtkRope(context=512))


def test_the_rope_that_a_bundle_was_compiled_with_may_be_named():
    """And it may be left out."""
    assert 256 == opened(changed(), rope=ROPE).network.info.max_positions
    assert 256 == opened(changed()).network.info.max_positions


def test_the_command_makes_such_a_bundle_again():
    """Everything that was chosen for it, and both changes: layers count as in the checkpoint."""
    manifest = read_manifest(changed())
    ids = attrs.evolve(
        manifest.source.special_ids, mask_id=7, provenance={"mask_id": "given by the user"}
    )
    made = attrs.evolve(
        manifest,
        buckets=Buckets(fed=(8, 16)),
        graphs=attrs.evolve(manifest.graphs, logits=None, candidates=4, opset=20),
        network={**manifest.network, "dtype": "float16", "layers": 3},
        source=attrs.evolve(manifest.source, revision="main", special_ids=ids),
    )
    assert (
        "dlmkit export --model tiny-checkpoint --revision main --mask-id 7 --dtype float16 "
        "--opset 20 --score-pack 4 --no-logits --buckets fed=8,16 --skip-layers 0,2 "
        f"--prompt-tokens {Path(prompts()).name} "
        "--rope '{use: ntk, context: 256, factor: 8.0}' -o FOLDER"
    ) == export_command(made, derivation=derivation(skip_layers=(1,)))
    slots = attrs.evolve(manifest.graphs, cache_slots=64, opset=24)
    assert "--in-place 64 --buckets" in export_command(attrs.evolve(made, graphs=slots))


def test_eight_bits_are_refused():
    """PyTorch's exporter has no translation for their product."""
    with pytest.raises(EngineError, match="cannot derive a model by `quantize`") as caught:
        OnnxRuntimeEngine().derive(opened(bundle("tiny")), derivation(quantize="int8"))
    assert "engine torch" in caught.value.hint


def test_a_derivation_that_changes_nothing_opens_the_bundle_again():
    """Of any model."""
    model = OnnxRuntimeEngine().derive(opened(bundle("tiny")), derivation())
    assert 2 == model.network.info.layers


def test_prompt_tokens_that_are_not_there_are_an_error_and_no_bundle(tmp_path):
    """As on PyTorch."""
    asked = derivation(prompt_tokens=str(tmp_path / "nowhere"))
    with pytest.raises(ModelError, match="holds no prompt tokens"):
        make_bundle(source("tiny"), tmp_path / "new", ExportOptions(), PLAIN, derivation=asked)
    assert not (tmp_path / "new").exists()


def refused(*changes):
    """Message and hint by check of what is wrong with prompted trees on other models."""
    with pytest.raises(SpecError) as caught:
        load_spec("parallel-prompt", changes)
    return {each.check: (each.message, each.hint) for each in caught.value.problems}


BASE = "models.base={{repo: {}, engine: onnxruntime}}"


def test_check_says_what_loading_would_say():
    """Before anything is loaded, with the same next step."""
    tokens = f"models.main.derive.prompt_tokens={prompts()}"
    message, hint = refused(BASE.format(bundle("tiny")), tokens)["derive-engine"]
    with pytest.raises(EngineError) as caught:
        OnnxRuntimeEngine().derive(opened(bundle("tiny")), derivation(prompt_tokens=prompts()))
    assert f"models.main.derive: {caught.value.args[0]}" == message
    assert caught.value.hint == hint


def test_check_knows_the_rope_of_a_bundle():
    """The right one passes."""
    rope = "{{use: ntk, context: 256, factor: 8}}"
    main = f"models.main={{{{repo: {{}}, engine: onnxruntime, rope: {rope}}}}}"
    load_spec("llada", [main.format(changed())])
    with pytest.raises(SpecError, match=r"models.main.rope: .* is compiled with no `rope`"):
        load_spec("llada", [main.format(bundle("tiny"))])


def test_check_knows_the_prompt_tokens_of_a_bundle():
    """And its attention: neither of the two is causal."""
    models = "models={{main: {{repo: {}, engine: onnxruntime}}}}"
    assert {"prompt-tokens", "C11"} <= refused(models.format(bundle("tiny"))).keys()
    assert "prompt-tokens" not in refused(models.format(changed()))


def test_a_checkpoint_is_to_be_exported_with_its_changes():
    """By `check` where it is derived from, by loading where it is stretched."""
    message, hint = refused(BASE.format("some/checkpoint"))["derive-engine"]
    assert "ONNX Runtime runs bundles" in message
    assert "dlmkit export --model some/checkpoint --prompt-tokens builtin/guide -o FOLDER" in hint
    with pytest.raises(EngineError, match="is not a bundle") as caught:
        OnnxRuntimeEngine().load(source("tiny"), attrs.evolve(PLAIN, rope=NtkRope(context=512)))
    assert "--rope '{use: ntk, context: 512}' -o FOLDER" in caught.value.hint
