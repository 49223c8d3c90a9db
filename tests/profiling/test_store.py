"""Measured costs are found again for the same network on the same machine, and only then."""

from __future__ import annotations

import json

import attrs
import pytest
import torch
from click.testing import CliRunner

from dlmkit.cli.main import main
from dlmkit.errors import RequestError
from dlmkit.generation import Runner
from dlmkit.models.loading import load_model
from dlmkit.profiling.costs import CostTable
from dlmkit.profiling.measure import measure_costs
from dlmkit.profiling.store import find_costs, identity, keep_costs, recorded_costs
from dlmkit.profiling.weighing import Scales
from dlmkit.spec import load_spec
from tests.tiny_model import write_tiny_model

COSTS = CostTable({(1, 1): 0.5, (2, 1): 0.75})


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(str(write_tiny_model(tmp_path_factory.mktemp("tiny"))), device="cpu")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache folder of its own."""
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / name))
    return tmp_path / "dlmkit"


def test_what_is_kept_is_found(model):
    """Nothing is found before."""
    assert find_costs(model) is None
    keep_costs(model, COSTS)
    assert find_costs(model) == COSTS


def test_a_later_measurement_replaces_an_earlier_one(model, cache):
    """There is one file for each network."""
    keep_costs(model, COSTS)
    keep_costs(model, CostTable({(1, 1): 2.0}))
    assert 2.0 == find_costs(model).of(1, 1)
    assert 1 == len(list((cache / "costs").iterdir()))


def test_what_was_measured_is_found_without_loading(model):
    """By where the model came from, on the same engine and device."""
    keep_costs(model, COSTS)
    origin, cpu = model.provenance.reference, torch.device("cpu")
    assert COSTS == recorded_costs(origin, "torch", cpu)
    assert recorded_costs(origin, "onnxruntime", cpu) is None
    assert recorded_costs("some/model", "torch", cpu) is None


def test_scales_of_a_document_know_derived_models(tmp_path):
    """As they are after loading; one that was not measured leaves all without."""
    folder = write_tiny_model(tmp_path / "tiny")
    derived = "{derive: {from: main, skip_layers: [0]}}"
    changes = [f"models={{main: {{repo: '{folder}', device: cpu}}, less: {derived}}}"]
    document = load_spec("llada", changes)
    models = Runner.load(document).models
    keep_costs(models["main"], COSTS)
    assert Scales.recorded(document.models, "main") is None
    keep_costs(models["less"], COSTS)
    assert Scales.find(models, "main") == Scales.recorded(document.models, "main")


def test_other_folders_with_the_same_network_share_it(model, tmp_path):
    """Values of weights do not change the time of a pass."""
    keep_costs(model, COSTS)
    twin = load_model(str(write_tiny_model(tmp_path / "twin", seed=1)), device="cpu")
    assert find_costs(twin) == COSTS


@pytest.mark.parametrize(
    ("part", "change"),
    [("network", {"layers": 1}), ("network", {"engine": "x"}), ("provenance", {"derivation": "x"})],
)
def test_another_network_is_not_mistaken_for_it(model, part, change):
    """Nor the same one on another engine, or with fewer layers."""
    keep_costs(model, COSTS)
    if part == "network":
        network = type("Other", (), {"info": attrs.evolve(model.network.info, **change)})()
        other = attrs.evolve(model, network=network)
    else:
        other = attrs.evolve(model, provenance=attrs.evolve(model.provenance, **change))
    assert find_costs(other) is None
    assert identity(other) != identity(model)


@pytest.mark.parametrize("content", ["", "{}", '{"seconds": [[1]]}', '{"seconds": []}'])
def test_a_damaged_file_says_what_to_do(model, content):
    """It is not passed over in silence."""
    keep_costs(model, COSTS).write_text(content)
    with pytest.raises(RequestError, match="dlmkit profile"):
        find_costs(model)


def test_scales_need_every_model(model):
    """Half a sum would look like a cheap pipeline."""
    assert Scales.find({"main": model}, "main") is None
    keep_costs(model, COSTS)
    assert Scales({"main": COSTS}, "main") == Scales.find({"main": model}, "main")


def test_every_shape_is_measured_once(model):
    """And reported, in order."""
    done = []
    costs = measure_costs(model.network, (1, 3), (2, 5), repeats=1, advance=lambda: done.append(0))
    assert {(1, 2), (1, 5), (3, 2), (3, 5)} == set(costs.seconds)
    assert 4 == len(done)
    assert min(costs.seconds.values()) > 0


def profile(model, *options):
    path = str(model.provenance.path)
    return CliRunner().invoke(main, ["profile", "--model", path, "--repeats", "1", *options])


def test_the_command_measures_and_keeps(model):
    """As JSON for programs, as a table for people."""
    found = json.loads(profile(model, "--rows", "1,2", "--fed", "4", "--json").stdout)
    assert [[1, 4], [2, 4]] == [entry[:2] for entry in found["main"]["seconds"]]
    assert [1, 2] == find_costs(model).rows
    shown = profile(model, "--rows", "1", "--fed", "4").stdout
    assert "milliseconds of a forward pass" in " ".join(shown.split())


def test_sizes_are_numbers(model):
    """With an example of how they are written."""
    result = profile(model, "--rows", "1,x")
    assert 2 == result.exit_code
    assert "--rows 1,x: not a list of sizes" in result.stderr
    assert "Traceback" not in result.output
