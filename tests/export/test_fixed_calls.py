"""Calls at fixed addresses, for CUDA graphs of ONNX Runtime, give what ordinary calls give."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.testing import assert_close

from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.errors import EngineError
from dlmkit.models.loading import load_model
from dlmkit.need import Need
from dlmkit.passes.session import Session
from dlmkit.spec import load_spec
from dlmkit_export.contract import ABILITIES
from dlmkit_export.runtime import fixed_calls, graph_runner
from dlmkit_export.runtime.graph_runner import open_session
from dlmkit_export.runtime.provider import provider_of
from tests.engines.calls import feed
from tests.export.compiled import bundle, network, opened, source

PROMPTS = [[5, 6, 7], [8, 9, 10, 11], [4]]


class Binding:
    """Refuses to be changed once a recording was made with it."""

    def __init__(self, binding):
        self.real, self.recorded = binding, False

    def bind_input(self, *given):
        assert not self.recorded
        self.real.bind_input(*given)

    def bind_output(self, *given):
        assert not self.recorded
        self.real.bind_output(*given)


class Recording:
    """A session that repeats what it has recorded under a number, as a CUDA graph does."""

    def __init__(self, session):
        self.session, self.recordings, self.numbers = session, {}, []

    def get_inputs(self):
        return self.session.get_inputs()

    def io_binding(self):
        return Binding(self.session.io_binding())

    def run_with_iobinding(self, binding, options):
        number = int(options.get_run_config_entry("gpu_graph_annotation_id"))
        self.numbers.append(number)
        if number >= 0:
            binding = self.recordings.setdefault(number, binding)
            binding.recorded = True
        self.session.run_with_iobinding(binding.real)


@pytest.fixture
def recording(monkeypatch):
    """Networks opened meanwhile run as they do on CUDA; the sessions behind them."""
    made = []

    def opening(*given):
        made.append(Recording(open_session(*given)[0]))
        return made[-1], True

    monkeypatch.setattr(graph_runner, "open_session", opening)
    init = graph_runner.GraphRunner.__init__

    def with_options(self, *given):
        init(self, *given)
        self._run_options = fixed_calls.run_options()

    monkeypatch.setattr(graph_runner.GraphRunner, "__init__", with_options)
    return made


def decoded(compiled, preset="fast-dllm-dual", rows=3):
    options = ["gen_length=12", "pipeline.blocks.length=6"]
    canvas = Canvas.create(PROMPTS[:rows], 12, compiled.info.mask_id)
    steps = load_spec(preset, options).pipeline.steps(Context({"main": Session(compiled)}), canvas)
    return [(record.after_BN, record.confidence_BP) for record in steps]


@pytest.mark.parametrize("preset", ["fast-dllm-dual", "llada", "dkv-greedy"])
def test_recorded_calls_decode_the_same(recording, preset):
    """Block passes, whole passes, and passes of all sizes."""
    expected = decoded(network("tiny"), preset)
    compiled = opened(bundle("tiny")).network
    found = [decoded(compiled, preset) for _ in range(2)]
    for steps in found:
        for (tokens, scores), (its, others) in zip(expected, steps, strict=True):
            assert torch.equal(tokens, its)
            assert torch.equal(scores, others)
    numbers = recording[0].numbers
    assert -1 == numbers[0]
    assert sum(number >= 0 for number in numbers) > len(numbers) // 3


@pytest.mark.parametrize("preset", ["d2cache", "soft-mask", "sparse-dllm"])
def test_recorded_calls_of_graphs_with_abilities_decode_the_same(recording, preset):
    """What is mixed is copied to where the recording reads it, as ids and masks are."""
    expected = decoded(load_model(source("tiny"), device="cpu").network, preset)
    compiled = opened(bundle("tiny", abilities=ABILITIES)).network
    for steps in [decoded(compiled, preset) for _ in range(2)]:
        for (tokens, scores), (its, others) in zip(expected, steps, strict=True):
            assert torch.equal(tokens, its)
            assert_close(scores, others, atol=1e-4, rtol=1e-4)
    assert all(each.recordings for each in recording)


def test_mixtures_may_lie_anywhere():
    """Only keys and values stay in one place, and make another recording elsewhere."""
    calls, keys = fixed_calls.FixedCalls(), torch.zeros(2)
    given = [{"past_keys": keys, "mix_weights": torch.full((3,), float(n))} for n in range(3)]
    first, second, third = (calls.of(each, {}, lambda: (None, {})) for each in given)
    assert first is None
    assert second is third
    elsewhere = {**given[0], "past_keys": torch.zeros(2)}
    assert calls.of(elsewhere, {}, lambda: (None, {})) is None


def test_sizes_that_come_once_are_not_recorded(recording):
    """A recording costs memory that is never given back."""
    compiled = opened(bundle("tiny")).network
    for rows in (1, 2, 3):
        decoded(compiled, rows=rows)
    (session,) = recording
    assert session.recordings
    assert session.numbers.count(-1) >= len(session.recordings)
    assert set(session.recordings) == {number for number in session.numbers if number >= 0}


def test_there_is_a_bound_to_recordings(recording, monkeypatch):
    """Whatever comes afterwards runs as an ordinary call."""
    monkeypatch.setattr(fixed_calls, "MOST", 1)
    expected, compiled = decoded(network("tiny")), opened(bundle("tiny")).network
    found = decoded(compiled) + decoded(compiled, rows=1)
    assert 1 == len(recording[0].recordings)
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(expected, found, strict=False))


def test_cuda_gets_a_stream_and_graphs():
    """By the provider's own options."""
    name, options = provider_of(torch.device("cuda:1"), 77, graphs=True)
    assert "CUDAExecutionProvider" == name
    assert {
        "device_id": "1",
        "user_compute_stream": "77",
        "enable_cuda_graph": "1",
    } == options
    assert "enable_cuda_graph" not in provider_of(torch.device("cuda"), 77)[1]
    assert ("CPUExecutionProvider", {}) == provider_of(torch.device("cpu"))


@pytest.mark.parametrize("used", ["CUDAExecutionProvider", "CPUExecutionProvider"])
def test_a_graph_that_cannot_be_recorded_runs_all_the_same(monkeypatch, used):
    """On the same provider, or not at all."""
    tried = []

    def session(path, options, providers):
        tried.append(providers[0][1])
        if "enable_cuda_graph" in providers[0][1]:
            raise RuntimeError("not all nodes are on CUDA")
        return SimpleNamespace(get_providers=lambda: [used])

    monkeypatch.setattr(graph_runner.onnxruntime, "InferenceSession", session)
    arguments = Path("model.onnx"), torch.device("cuda"), 1, 77
    if used.startswith("CUDA"):
        assert not open_session(*arguments)[1]
    else:
        with pytest.raises(EngineError, match="would run on CPUExecutionProvider instead of CUDA"):
            open_session(*arguments)
    assert [True, False] == ["enable_cuda_graph" in each for each in tried]


@pytest.mark.gpu
def test_cuda_graphs_decode_what_the_cpu_does():
    """Recorded on the second call, repeated from the third on."""
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    compiled = opened(bundle("tiny"), device="cuda").network
    ids_BQ = torch.arange(12, device="cuda").reshape(2, 6) + 4
    expected = network("tiny")
    for shift in range(5):
        given = ids_BQ + shift
        found = feed(compiled, given, Need())
        assert torch.equal(
            feed(expected, given.cpu(), Need()).pack.top_ids_BPK, found.pack.top_ids_BPK.cpu()
        )
