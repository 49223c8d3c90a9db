"""Run a checked document on loaded models: the one way from prompts to results.

The command line, the benchmarks and users' own programs all come through here.

Legend: B rows, N canvas positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from time import perf_counter
from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor

from dlmkit.accounts.ledger_keeper import LedgerKeeper
from dlmkit.accounts.results import Result
from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.defaults import DEFAULT_PIPELINE
from dlmkit.engine import LoadedModel, find_engine
from dlmkit.errors import ModelError
from dlmkit.host.threads import LeftToNetworks
from dlmkit.models.loading import load_model
from dlmkit.passes.session import Session
from dlmkit.profiling.weighing import PassLog, Scales, Sizes
from dlmkit.prompts import Mode, check_prompts, encode
from dlmkit.requirements import asked_of, refuse_unmet
from dlmkit.spec import Document, load_spec

if TYPE_CHECKING:
    from pathlib import Path

    from dlmkit.accounts.records import StepRecord
    from dlmkit.models.tokenizer import Tokenizer

__all__ = ["Decode", "Runner", "generate"]


def generate(
    prompts: str | Sequence[str],
    pipeline: str | Path | Document = DEFAULT_PIPELINE,
    *,
    overrides: Sequence[str] = (),
    mode: Mode = "auto",
    seed: int = 0,
) -> list[Result]:
    """Decode prompts in one batch and return a result for each.

    Args:
        prompts: one text or several.
        pipeline: the name of a preset, the path or text of a spec, or a checked document.
        overrides: changes to the spec, `path=value` each.
        mode: `chat` (a user's turn), `plain` (text to continue), `infill` (gaps to fill), or
            `auto` (chat where the model has a chat template, else plain).
        seed: number below 2**32 that all random draws derive from.

    Raises:
        DlmkitError: what was asked for cannot be done; the message says why and what to do.
    """
    texts = [prompts] if isinstance(prompts, str) else list(prompts)
    document = pipeline if isinstance(pipeline, Document) else load_spec(pipeline, overrides)
    runner = Runner.load(document)
    decode = runner.start(runner.encode(texts, mode), seed=seed, infill=mode == "infill")
    for _ in decode:
        pass
    return decode.results()


@attrs.frozen
class Runner:
    """A document with its models in memory; decodes as many batches as wanted."""

    document: Document
    models: Mapping[str, LoadedModel]

    @classmethod
    def load(
        cls, document: Document, *, progress: Callable[[int, int], None] | None = None
    ) -> Runner:
        """Load every model of the document; `progress` is told bytes read and bytes in all.

        Raises:
            ModelError, EngineError: a model cannot be loaded.
            StrategyError, EngineError: the pipeline is not for such a model.
        """
        loaded = {}
        for name, ref in document.models.items():
            if ref.repo is None:
                continue
            loaded[name] = load_model(
                ref.repo,
                engine=ref.engine or "torch",
                family=ref.family,
                device=ref.device or "auto",
                dtype=ref.dtype or "auto",
                revision=ref.revision,
                local_files_only=ref.local_files_only,
                mask_id=ref.mask_id,
                rope=ref.rope,
                abilities=asked_of(document.pipeline, {name, *document.derived_from(name)}),
                progress=progress,
            )
        for name, ref in document.models.items():
            if ref.derive is not None:
                source = document.models[ref.derive.source]
                engine = source.engine or find_engine("torch")
                loaded[name] = engine.derive(loaded[ref.derive.source], ref.derive)
        infos = {name: model.network.info for name, model in loaded.items()}
        refuse_unmet(document.pipeline, infos)
        return cls(document, {name: loaded[name] for name in document.models})

    @property
    def home(self) -> LoadedModel:
        """The model whose tokens the canvas holds."""
        return self.models[self.document.pipeline.home()]

    @cached_property
    def scales(self) -> Scales | None:
        """What passes cost here, if `dlmkit profile` has measured all of these models.

        Raises:
            RequestError: what was measured cannot be read.
        """
        return Scales.find(self.models, self.document.pipeline.home())

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of that model.

        Raises:
            ModelError: the checkpoint has none.
        """
        if self.home.tokenizer is None:
            raise ModelError(
                f"{self.home.provenance.reference} has no tokenizer",
                hint="add its tokenizer.json to the folder, or decode token ids from Python",
            )
        return self.home.tokenizer

    @property
    def mask_id(self) -> int:
        """What undecided positions hold: the mask token of that model.

        For a causal network, which is never shown them, and for one that was trained to see any
        tokens there, it is the number after its vocabulary.

        Raises:
            ModelError: the network needs a mask token, and nothing says which it is.
        """
        info = self.home.network.info
        mask_id = info.mask_id
        causal = info.attention.kind == "causal" and info.logit_shift
        if mask_id is None and (causal or info.noise == "uniform"):
            return info.vocab_size
        if mask_id is None:
            raise ModelError(
                f"{self.home.provenance.reference} does not say which token is its mask",
                hint="name it: --set models.main.mask_id=ID",
            )
        return mask_id

    def encode(self, prompts: Sequence[str], mode: Mode = "auto") -> list[list[int]]:
        """Return the token ids of each prompt."""
        return encode(prompts, self.tokenizer, self.mask_id, mode)

    def check(self, prompts: Sequence[Sequence[int]], *, infill: bool = False) -> None:
        """Refuse prompts that the model cannot decode: too long, or without a beginning.

        Raises:
            RequestError: the first that does not, by number.
        """
        check_prompts(prompts, self._new_tokens(infill), self.home.network.info)

    def _new_tokens(self, infill: bool) -> int:
        return 0 if infill else self.document.gen_length

    def start(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        seed: int = 0,
        infill: bool = False,
        first_sample: int = 0,
    ) -> Decode:
        """Lay out one batch; nothing runs until the decode is iterated.

        `first_sample` is the identity of the first row for random numbers: a prompt decodes the
        same in any batch as long as it keeps its number.

        Raises:
            RequestError: a prompt is unusable or does not fit.
        """
        self.check(prompts, infill=infill)
        canvas = Canvas.create(
            prompts,
            self._new_tokens(infill),
            self.mask_id,
            infill=infill,
            device=self.home.network.info.device,
            first_sample=first_sample,
        )
        sessions = {
            name: Session(model.network, tokenizer=model.tokenizer)
            for name, model in self.models.items()
        }
        tokenizers = {name: model.tokenizer for name, model in self.models.items()}
        return Decode(self, Context(sessions, seed, tokenizers), canvas, keep_given=infill)


class Decode:
    """One batch being decoded: iterate it for its step records, then ask for the results."""

    def __init__(
        self, runner: Runner, context: Context, canvas: Canvas, *, keep_given: bool
    ) -> None:
        self.runner = runner
        self.context = context
        self.canvas = canvas
        self.seconds = 0.0
        self._keep_given = keep_given
        self._inference = torch.inference_mode()
        self._threads = LeftToNetworks(each.network.info for each in runner.models.values())
        self._live: dict[str, list[Tensor]] = {name: [] for name in runner.models}
        self._passes = PassLog()
        self._ledgers = LedgerKeeper(len(canvas.start_B), canvas.mask_id)
        self._records = runner.document.pipeline.steps(context, canvas)

    def __iter__(self) -> Iterator[StepRecord]:
        return self

    def __next__(self) -> StepRecord:
        """Run one forward pass.

        Raises:
            StopIteration: nothing is left to decode.
        """
        started = perf_counter()
        try:
            with self._inference, self._threads:
                record = next(self._records)
        finally:
            self.seconds += perf_counter() - started
        self._live[record.network].append(record.live_B)
        self._passes.add(record)
        self._ledgers.add(record)
        return record

    def results(self) -> list[Result]:
        """Results of all rows as they stand; complete once the iteration has ended."""
        rows = self.canvas.tokens_BN.shape[0]
        fed = sum(each.fed_positions for each in self.context.counts().values()) // rows
        nfe = {
            name: torch.stack(live).sum(dim=0).tolist() if live else [0] * rows
            for name, live in self._live.items()
        }
        ids = self.canvas.tokens_BN.tolist()
        starts, ends = self.canvas.start_B.tolist(), self.canvas.length_B.tolist()
        left = self.canvas.masked_BN.sum(dim=1).tolist()
        given = (self.canvas.given_BN & self.canvas.inside_BN).sum(dim=1).tolist()
        weighted, bounds = self._weighted(), self._bounds()
        ledgers = self._ledgers.ledgers()
        document, spec_id = self.runner.document, self.runner.document.spec_id
        found = []
        for row in range(rows):
            first = 0 if self._keep_given else starts[row]
            kept = self._kept(ids[row][first : ends[row]])
            found.append(
                Result(
                    text=self._text(kept),
                    token_ids=kept,
                    tokens=len(kept) - (given[row] if self._keep_given else 0),
                    nfe={name: each[row] for name, each in nfe.items()},
                    fed_positions=fed,
                    weighted_nfe=weighted[row],
                    weighted_bounds=bounds[row],
                    ledger=ledgers[row],
                    seconds=self.seconds,
                    masks_left=left[row],
                    batch_size=rows,
                    pipeline=document.name,
                    spec_id=spec_id,
                    seed=self.context.seed,
                )
            )
        return found

    def _weighted(self) -> Sequence[float | None]:
        """Weighted passes of each row, where costs were measured."""
        scales, (rows, columns) = self.runner.scales, self.canvas.tokens_BN.shape
        if scales is None:
            return [None] * rows
        return self._passes.weighted(scales, columns) or [0.0] * rows

    def _bounds(self) -> Sequence[tuple[float, float]]:
        """What the weighted passes of each row would be by the sizes of the networks alone."""
        rows, columns = self.canvas.tokens_BN.shape
        models, home = self.runner.models, self.runner.document.pipeline.home()
        weights = {name: model.network.info.parameters for name, model in models.items()}
        memory, arithmetic = (
            self._passes.weighted(Sizes(weights, home, computing), columns) or [0.0] * rows
            for computing in (False, True)
        )
        return list(zip(memory, arithmetic, strict=True))

    def _kept(self, ids: Sequence[int]) -> tuple[int, ...]:
        """Leave out masks that were never decided, and what follows the end of a new text."""
        info = self.runner.home.network.info
        ends = () if self._keep_given else (*info.eos_ids, *info.eot_ids)
        stop = next((place for place, token in enumerate(ids) if token in ends), len(ids))
        return tuple(token for token in ids[:stop] if token != self.canvas.mask_id)

    def _text(self, ids: Sequence[int]) -> str:
        tokenizer = self.runner.home.tokenizer
        return "" if tokenizer is None else tokenizer.decode(ids)
