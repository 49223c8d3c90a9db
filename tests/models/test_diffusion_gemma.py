"""DiffusionGemma in transformers' own class: logits, and a decode without a mask token."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.errors import EngineError, ModelError
from dlmkit.models.loading import load_model
from dlmkit.network import NetworkInputs
from dlmkit.noise import Noise
from dlmkit.passes.session import Session
from dlmkit.prediction import Need
from dlmkit.spec import load_spec
from dlmkit_strategies.transformers_engine import TransformersEngine
from tests.models.checkpoints import folder, recorded
from tests.models.test_parity import TOLERANCE

VOCABULARY, BLOCK, NEW, STEPS = 320, 8, 16, 5


@pytest.fixture(scope="module")
def gemma():
    path = str(folder("diffusion_gemma"))
    return load_model(path, engine=TransformersEngine(), device="cpu", dtype="float32")


def call(text, block, shares=None):
    """A text read causally, a block that sees it all, and what is shown of the last step."""
    ids_BQ = torch.cat((text, block), dim=1)
    count, prefix = ids_BQ.shape[1], text.shape[1]
    places_BQ = torch.arange(count)[None]
    seen = torch.ones(count, count, dtype=torch.bool).tril()
    seen[prefix:] = True
    mixed = {}
    if shares is not None:
        shares_BQV = torch.cat((shares.new_zeros(1, prefix, VOCABULARY), shares), dim=1)
        every_BQV = torch.arange(VOCABULARY).expand_as(shares_BQV)
        own_BQ1 = 1 - shares_BQV.sum(-1, keepdim=True)
        mixed["mix_ids_BQK"] = torch.cat((ids_BQ[..., None], every_BQV), dim=-1)
        mixed["mix_weights_BQK"] = torch.cat((own_BQ1, shares_BQV), dim=-1)
    return NetworkInputs(
        ids_BQ=ids_BQ,
        positions_BQ=places_BQ,
        want_BS=places_BQ[:, prefix:],
        mask_new_B1QQ=seen[None, None],
        **mixed,
    )


def test_its_logits_equal_the_reference(gemma):
    """With and without the distributions of the step before."""
    arrays, need = recorded("diffusion_gemma"), Need(logits=True)
    first = gemma.network.forward(call(arrays["prompt"], arrays["canvas"]), need)
    assert_close(arrays["logits"], first.logits_BSV, **TOLERANCE["float32"])
    shares = arrays["logits"].softmax(dim=-1)
    again = gemma.network.forward(call(arrays["prompt"], arrays["canvas"], shares), need)
    assert_close(arrays["logits_selfcond"], again.logits_BSV, **TOLERANCE["float32"])


def test_it_says_what_it_is(gemma):
    """No mask token, uniform noise, a causal text before a free block."""
    info = gemma.network.info
    assert (None, "uniform", "transformers") == (info.mask_id, info.noise, info.engine)
    assert ("prefix-causal", BLOCK, (1,)) == (
        info.attention.kind,
        info.attention.block,
        info.eos_ids,
    )
    with pytest.raises(ModelError, match="does not fit the shared decoder") as caught:
        load_model(str(folder("diffusion_gemma")), device="cpu")
    assert "engine `transformers`" in str(caught.value)
    with pytest.raises(EngineError, match="use the engine torch"):
        load_model(str(folder("dream")), engine=TransformersEngine(), device="cpu")


def document(**options):
    """The preset, shortened."""
    overrides = [f"gen_length={NEW}", f"pipeline.blocks.length={BLOCK}"]
    overrides += [f"pipeline.{slot}[0].steps_per_block={STEPS}" for slot in ("logits", "revise")]
    return load_spec("diffusion-gemma", [*overrides, *(f"{k}={v}" for k, v in options.items())])


def decoded(network, prompts, **options):
    canvas = Canvas.create(prompts, NEW, VOCABULARY)
    session = Session(network)
    steps = document(**options).pipeline.steps(Context({"main": session}, 7), canvas)
    records = list(steps)
    ends = canvas.length_B.tolist()
    rows = [row[:end] for row, end in zip(canvas.tokens_BN.tolist(), ends, strict=True)]
    return rows, len(records)


def published(model, prompt, bound, limit):
    """The published loop over one row, with the same random numbers; tokens and passes."""
    tokens, step = list(prompt), 0
    for _ in range(NEW // BLOCK):
        places = torch.arange(len(tokens), len(tokens) + BLOCK)[None]
        kept, shown, last = [None] * BLOCK, None, None
        for left in range(STEPS, 0, -1):
            noise = Noise(7, torch.tensor([0]), step)
            draws = (noise.uniform_BP("uniform-noise", places)[0] * VOCABULARY).long().tolist()
            canvas = [d if k is None else k for k, d in zip(kept, draws, strict=True)]
            with torch.inference_mode():
                logits = model(
                    input_ids=torch.tensor([tokens]),
                    decoder_input_ids=torch.tensor([canvas]),
                    self_conditioning_logits=shown,
                ).logits
            shown = logits / (0.4 + 0.4 * left / STEPS)
            gumbel = noise.gumbel_BPV("categorical", places, VOCABULARY)
            drawn = (shown.double() + gumbel)[0].argmax(-1).tolist()
            entropy = torch.distributions.Categorical(logits=shown[0]).entropy().tolist()
            total, accepted = 0.0, set()
            for place in sorted(range(BLOCK), key=lambda p: entropy[p]):
                if total <= bound:
                    accepted.add(place)
                total += entropy[place]
            kept = [drawn[place] if place in accepted else None for place in range(BLOCK)]
            best = shown[0].argmax(-1).tolist()
            step += 1
            if best == last and sum(entropy) / BLOCK < limit:
                break
            last = best
        tokens += best
    return tokens, step


@pytest.mark.parametrize(("bound", "limit"), [(0.1, 0.005), (3.0, 0.005), (0.5, 10.0)])
def test_it_decodes_as_the_published_loop(gemma, bound, limit):
    """Tokens and passes, few or many kept in a step, to the last step or until all is settled."""
    options = {"pipeline.revise[0].bound": bound, "pipeline.revise[0].limit": limit}
    prompts = [[5, 9, 200, 33, 71, 8, 100], [7, 31]]
    rows, _ = decoded(gemma.network, prompts, **options, **{"pipeline.stop": "[]"})
    (alone,), passes = decoded(gemma.network, prompts[:1], **options, **{"pipeline.stop": "[]"})
    assert published(gemma.network.model, prompts[0], bound, limit) == (alone, passes)
    assert alone == rows[0]


def test_nothing_is_read_from_a_store(gemma):
    """The error says which option computes everything."""
    with pytest.raises(EngineError, match="store: false"):
        decoded(gemma.network, [[5, 9]], **{"pipeline.cache.store": "true"})
    with pytest.raises(EngineError, match="reads a text, and a block"):
        decoded(gemma.network, [[5, 9]], **{"pipeline.cache": "null"})
