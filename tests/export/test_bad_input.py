"""What `dlmkit generate` says to bundles and machines that will not do: a sentence, exit code 2."""

from __future__ import annotations

import json
import shutil
from importlib import metadata

import attrs
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner

from dlmkit.cli.main import main
from dlmkit_export.bundle.manifest import MANIFEST
from dlmkit_export.bundle.verify import record_of
from dlmkit_export.runtime import provider
from tests.export.compiled import bundle


@pytest.fixture
def copy(tmp_path):
    return shutil.copytree(bundle("tiny"), tmp_path / "copy")


def generate(folder, device="cpu"):
    command = ("generate", "--engine", "onnxruntime", "--model", folder, "--device", device)
    small = ("-p", "fast-dllm-dual", "--set", "gen_length=32", "2 4 6")
    return CliRunner().invoke(main, [str(each) for each in (*command, *small)])


def edit(folder, change):
    fields = json.loads((folder / MANIFEST).read_text())
    change(fields)
    (folder / MANIFEST).write_text(json.dumps(fields))


def graph(folder, change):
    """Change a graph, and let the manifest agree."""
    path = folder / "model.onnx"
    model = onnx.load(str(path), load_external_data=False)
    change(model)
    path.write_bytes(model.SerializeToString())
    record = attrs.asdict(record_of(path))
    edit(folder, lambda fields: fields["files"].update({path.name: record}))


def missing(folder):
    (folder / "weights.bin").unlink()


def truncated(folder):
    path = folder / "weights.bin"
    path.write_bytes(path.read_bytes()[:-7])


def altered(folder):
    path = folder / "weights.bin"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")


def newer(folder):
    edit(folder, lambda fields: fields.update(format=99))


def small_bucket(folder):
    edit(folder, lambda fields: fields["buckets"].update(fed=[2]))


def unknown_operator(folder):
    graph(folder, lambda model: setattr(model.graph.node[0], "op_type", "NoSuchOperator"))


def unknown_opset(folder):
    graph(folder, lambda model: setattr(model.opset_import[0], "version", 999))


@pytest.mark.parametrize(
    ("spoil", "words", "step"),
    [
        (missing, "weights.bin is missing", "copy the bundle again"),
        (truncated, "is truncated", "copy the bundle again"),
        (altered, "its digest differs", "copy the bundle again"),
        (newer, "format version 99", "update dlmkit"),
        (small_bucket, "the largest bucket of the bundle is 2", "--buckets fed=2,"),
        (unknown_operator, "cannot load model.onnx", "--opset 20"),
        (unknown_opset, "cannot load model.onnx", "--opset 20"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_bundle_that_will_not_do_is_named_with_the_next_step(copy, spoil, words, step):
    """No stack trace, nothing decoded."""
    spoil(copy)
    refused(generate(copy), words, step)


def test_both_onnxruntime_packages_are_named_with_the_next_step(copy, monkeypatch):
    """Whichever came last is broken."""
    monkeypatch.setattr(metadata, "version", lambda name: "1")
    refused(generate(copy), "are both installed", "pip uninstall")


def test_a_missing_provider_is_named_with_the_next_step(copy, monkeypatch):
    """Never the CPU instead."""
    monkeypatch.setattr(provider, "choose_device", torch.device)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    refused(generate(copy, "cuda"), "cannot use cuda", "dlmkit[gpu]")


def refused(found, words, step):
    assert 2 == found.exit_code, found.output
    message = " ".join(found.stderr.split())
    assert words in message
    assert step in message.partition("hint:")[2]
    assert "Traceback" not in found.output
    assert not found.stdout
