"""Bundles: what is wrong with one is said before anything of it is used."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import attrs
import onnx
import pytest

from dlmkit.engine import LoadOptions
from dlmkit.errors import ModelError, RequestError
from dlmkit_export.bundle.buckets import Buckets
from dlmkit_export.bundle.make import make_bundle
from dlmkit_export.bundle.manifest import MANIFEST, read_manifest
from dlmkit_export.bundle.options import ExportOptions
from dlmkit_export.bundle.verify import record_of, verify_bundle
from tests.export.compiled import bundle, make, opened


@pytest.fixture
def copy(tmp_path):
    """A bundle to spoil."""
    return shutil.copytree(bundle("tiny"), tmp_path / "copy")


def edit(folder, change):
    """Change the manifest."""
    fields = json.loads((folder / MANIFEST).read_text())
    change(fields)
    (folder / MANIFEST).write_text(json.dumps(fields))


def resign(folder, name):
    """Make the manifest agree with a file that was changed."""
    record = attrs.asdict(record_of(folder / name))
    edit(folder, lambda fields: fields["files"].update({name: record}))


def check(folder):
    verify_bundle(folder, read_manifest(folder))


def test_a_manifest_reads_back_as_it_was_written(copy):
    """All of it, from the file to the object and back."""
    manifest = read_manifest(copy)
    before = (copy / MANIFEST).read_bytes()
    manifest.write(copy)
    assert before == (copy / MANIFEST).read_bytes()
    assert manifest == read_manifest(copy)
    check(copy)


def test_the_manifest_describes_every_file(copy):
    """And says what made it, of what, in which form."""
    manifest = read_manifest(copy)
    assert {path.name for path in copy.iterdir()} == {MANIFEST, *manifest.files}
    assert {"weights.bin", "model.onnx", "logits.onnx", "tokenizer.json"} <= set(manifest.files)
    fields = json.loads((copy / MANIFEST).read_text())
    assert fields.keys() >= {"format", "contract", "buckets", "graphs", "versions", "source"}
    assert "float32" == fields["network"]["dtype"]
    assert {"family", "revision", "special_ids"} <= fields["source"].keys()


_DECODE = """
import sys
from dlmkit import Runner, load_spec
changes = ["gen_length=32", "models.main=" + sys.argv[1], "models.main.engine=onnxruntime"]
runner = Runner.load(load_spec("fast-dllm-dual", changes))
decode = runner.start(runner.encode(["2 4 6"]))
steps = sum(1 for _ in decode)
print(steps > 0, [name for name in sys.modules if name.startswith("dlmkit.models.decoder")])
"""


def test_a_bundle_runs_without_the_network_s_code_and_checkpoint(copy):
    """In a process of its own, with nothing but the folder."""
    command = [sys.executable, "-W", "ignore", "-c", _DECODE, str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=copy)
    assert "True []" == done.stdout.strip()


def test_progress_counts_the_bytes_of_all_files(copy):
    """Up to the last one."""
    told = []
    verify_bundle(copy, read_manifest(copy), lambda done, total: told.append((done, total)))
    size = sum(path.stat().st_size for path in copy.iterdir() if path.name != MANIFEST)
    assert (size, size) == told[-1]


def test_a_missing_file_is_named(copy):
    """With what to do."""
    (copy / "weights.bin").unlink()
    with pytest.raises(ModelError, match=r"weights.bin is missing") as caught:
        opened(copy)
    assert "copy the bundle again" in caught.value.hint


def test_truncated_weights_are_told_from_altered_ones(copy):
    """By size first, which is quick, then by digest."""
    whole = (copy / "weights.bin").read_bytes()
    (copy / "weights.bin").write_bytes(whole[:-10])
    with pytest.raises(ModelError, match=f"truncated: {len(whole) - 10} bytes"):
        check(copy)
    (copy / "weights.bin").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ModelError, match="its digest differs"):
        check(copy)


@pytest.mark.parametrize("version", ["format", "contract"])
def test_newer_bundles_ask_for_an_update(copy, version):
    """Nothing is guessed about what a later release may have changed."""
    edit(copy, lambda fields: fields.update({version: 99}))
    with pytest.raises(ModelError, match=f"{version} version 99") as caught:
        opened(copy)
    assert "update dlmkit" in caught.value.hint


@pytest.mark.parametrize("text", ["", "{}", '{"format": 1, "contract": 1}', "[1]"])
def test_a_damaged_manifest_is_no_stack_trace(copy, text):
    """Whatever is wrong with it."""
    (copy / MANIFEST).write_text(text)
    with pytest.raises(ModelError, match="is damaged"):
        read_manifest(copy)


def test_a_folder_without_manifest_is_no_bundle(tmp_path):
    """The next step makes one."""
    with pytest.raises(ModelError, match="is not a bundle") as caught:
        read_manifest(tmp_path)
    assert "dlmkit export" in caught.value.hint


@pytest.mark.parametrize("name", ["../weights.bin", "/etc/hostname", "below/weights.bin"])
def test_a_manifest_cannot_name_files_elsewhere(copy, name):
    """Paths are refused, whether they exist or not."""
    edit(copy, lambda fields: fields["files"].update({name: {"bytes": 1, "sha256": "0"}}))
    with pytest.raises(ModelError, match="lies outside"):
        check(copy)


def test_a_link_that_leaves_the_folder_is_refused(copy, tmp_path):
    """Also where the content is right."""
    shutil.move(copy / "weights.bin", tmp_path / "elsewhere.bin")
    (copy / "weights.bin").symlink_to(tmp_path / "elsewhere.bin")
    with pytest.raises(ModelError, match="lies outside"):
        check(copy)


@pytest.mark.parametrize(
    ("location", "words"), [("../secret.bin", "lies outside"), ("other.bin", "does not list")]
)
def test_a_graph_cannot_read_weights_from_elsewhere(copy, location, words):
    """Not even where its own digest is right."""
    path = copy / "model.onnx"
    model = onnx.load(str(path), load_external_data=False)
    stored = next(tensor for tensor in model.graph.initializer if tensor.external_data)
    next(each for each in stored.external_data if each.key == "location").value = location
    path.write_bytes(model.SerializeToString())
    resign(copy, path.name)
    with pytest.raises(ModelError, match=words):
        check(copy)


def test_a_file_that_is_no_graph_is_refused(copy):
    """With its name."""
    (copy / "model.onnx").write_bytes(b"\xff" * 50)
    resign(copy, "model.onnx")
    with pytest.raises(ModelError, match=r"model.onnx is not an ONNX graph"):
        check(copy)


def test_an_existing_folder_is_never_overwritten(tmp_path):
    """Unless it is empty; and nothing half-made is left behind."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_text("mine")
    with pytest.raises(RequestError, match="exists already"):
        make("tiny", tmp_path / "full")
    with pytest.raises(ModelError):
        make_bundle("no such model", tmp_path / "new", ExportOptions(), LoadOptions())
    assert ["full"] == [path.name for path in tmp_path.iterdir()]


def test_buckets_are_read_from_text():
    """Sorted, each once."""
    assert Buckets(fed=(32, 64), slots=(512,)) == Buckets.parse(["fed=64,32,32", "slots=512"])


@pytest.mark.parametrize("text", ["fed", "fed=", "fed=a", "fed=0", "rows=4", "fed=-3"])
def test_texts_that_are_no_buckets_are_refused(text):
    """With an example."""
    with pytest.raises(RequestError, match="not a list of sizes"):
        Buckets.parse([text])
