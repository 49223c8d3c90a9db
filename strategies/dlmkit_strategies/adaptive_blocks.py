"""Blocks whose length follows from what the network predicts when they begin.

Legend: B rows, P window positions, S sizes, F features.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from functools import lru_cache
from math import floor
from pathlib import Path
from typing import Any

import attrs
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from dlmkit.bounds import above, at_least, at_most, not_empty
from dlmkit.canvas import Canvas
from dlmkit.component import option
from dlmkit.errors import RequestError
from dlmkit.host.constants import constant
from dlmkit.need import Need
from dlmkit.prediction import Prediction
from dlmkit.roles import Blocks
from dlmkit.view import BlockSpan, View

__all__ = ["DelimiterBlocks", "PolicyBlocks"]


@attrs.frozen
class ForeseeingBlocks(Blocks):
    """Blocks that begin at the row's first mask and reach as far as they may until they choose."""

    until_filled = True
    foresees = True

    @abstractmethod
    def farthest(self, region: int) -> int:
        """The longest block in a region of that many positions."""

    def current(self, canvas: Canvas) -> BlockSpan:
        """From the row's first mask; the number of a block is counted by the loop."""
        last_B1 = canvas.length_B[:, None] - 1
        start_B = torch.where(canvas.masked_BN, canvas.columns_N, last_B1).amin(dim=1)
        start_B = start_B.maximum(canvas.start_B)
        width = min(self.farthest(canvas.region_width), canvas.region_width)
        stop_B = (start_B + width).minimum(canvas.length_B)
        index_B = torch.zeros_like(start_B)
        return BlockSpan(start_B=start_B, stop_B=stop_B, index_B=index_B, width=width)


@attrs.frozen
class DelimiterBlocks(ForeseeingBlocks):
    """End a block behind the delimiter that the network is surest of.

    Looked at are the most probable tokens of the block's first pass, over a share of the row's
    region; where no delimiter reaches the threshold, the block has the default length.
    Source: AdaBlock (arXiv:2509.26432), tau_D; its threshold for Dream is 0.5.
    """

    name = "adablock"

    delimiters: tuple[int, ...] = option(
        doc="token ids that end a block", check=not_empty, examples=((3, 7),)
    )
    threshold: float = option(0.3, doc="smallest probability that counts", check=at_least(0))
    length: int = option(32, doc="tokens in a block without delimiter", check=at_least(1))
    share: float = option(
        0.25, doc="share of the region that is looked at", check=(above(0), at_most(1))
    )

    def farthest(self, region: int) -> int:
        """The default length, or the span that is looked at."""
        return max(self.length, floor(self.share * region))

    def end(self, prediction: Prediction, view: View) -> Tensor:
        """Behind the surest delimiter, ties to the first, or after the default length."""
        block, pack = view.block, prediction.pack
        region_B = view.canvas.length_B - view.canvas.start_B
        seen_B = block.start_B + (self.share * region_B.double()).floor().long()
        ids = constant(self.delimiters, view.positions_BP.device)
        found_BP = torch.isin(pack.top_ids_BPK[..., 0], ids) & view.in_block_BP
        found_BP = found_BP & (view.positions_BP < seen_B[:, None])
        sure_BP = torch.where(found_BP, pack.top_logp_BPK[..., 0].exp(), -1.0)
        best_B1 = sure_BP.argmax(dim=1, keepdim=True)
        reached_B = sure_BP.amax(dim=1) >= self.threshold
        delimiter_B = view.positions_BP.gather(1, best_B1)[:, 0]
        return torch.where(reached_B, delimiter_B + 1, block.start_B + self.length)


@attrs.frozen
class PolicyBlocks(ForeseeingBlocks):
    """Let a small trained policy choose the size of each block.

    The policy reads the entropies in nats of the next max(sizes) positions, 0 behind the end of
    the row, and rates every size: W2 relu(W1 h + b1) + b2; ties go to the smaller one.
    Source: CtrlDiff (arXiv:2505.14455), dynamic block prediction.  Its authors publish neither code
    nor weights, and their policy reads hidden states; this is the decoding side, reconstructed.
    The metadata of the weights may name what they were trained beside, such as `confidence`,
    `sample`, `transfer` or `gen_length`; a spec that differs is warned about.
    """

    name = "policy"
    need = Need(entropy=True)

    sizes: tuple[int, ...] = option((4, 8, 16, 32), doc="lengths to choose from", check=not_empty)
    weights: str | None = option(
        None,
        doc="path of a safetensors file with `W1` [D, max(sizes)], `b1`, `W2` [sizes, D], `b2`; "
        "absent: nothing is known, so always the smallest",
    )

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """Refuse weights that cannot be read, and sizes that they were not trained for."""
        if options["weights"] is not None:
            try:
                _policy(options["weights"], len(options["sizes"]), max(options["sizes"]))
            except RequestError as error:
                yield "weights", str(error.args[0]), error.hint or ""

    def trained_beside(self) -> Mapping[str, str]:
        """What the metadata of the weights say."""
        if self.weights is None:
            return {}
        return _policy(self.weights, len(self.sizes), max(self.sizes)).beside

    def farthest(self, region: int) -> int:
        """The largest size."""
        return max(self.sizes)

    def end(self, prediction: Prediction, view: View) -> Tensor:
        """The size that the policy rates best."""
        sizes = constant(tuple(sorted(self.sizes)), view.positions_BP.device)
        if self.weights is None or prediction.pack.entropy_BP is None:
            return view.block.start_B + sizes[0]
        entropy_BP = torch.where(view.in_block_BP, prediction.pack.entropy_BP, 0.0).float()
        offset_BP = (view.positions_BP - view.block.start_B[:, None]).clamp(0, max(self.sizes) - 1)
        feature_BF = entropy_BP.new_zeros(len(entropy_BP), max(self.sizes))
        feature_BF = feature_BF.scatter_add(1, offset_BP, entropy_BP)
        policy = _policy(self.weights, len(self.sizes), max(self.sizes))
        w1, b1, w2, b2 = (each.to(feature_BF.device) for each in policy.tensors)
        rating_BS = (feature_BF @ w1.T + b1).relu() @ w2.T + b2
        return view.block.start_B + sizes[rating_BS.argmax(dim=1)]


@attrs.frozen(eq=False)
class _Policy:
    """Float32 weights `W1`, `b1`, `W2`, `b2`, and what they were trained beside."""

    tensors: tuple[Tensor, ...]
    beside: Mapping[str, str]


@lru_cache(maxsize=4)
def _policy(path: str, sizes: int, features: int) -> _Policy:
    """Read the policy.

    Raises:
        RequestError: the file cannot be read, or does not fit the sizes.
    """
    try:
        with safe_open(Path(path), "pt") as file:
            tensors = tuple(file.get_tensor(name).float() for name in ("W1", "b1", "W2", "b2"))
            beside = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise RequestError(
            f"the block policy {path} cannot be read: {error}",
            hint="give a safetensors file with W1, b1, W2 and b2",
        ) from None
    width = tensors[1].numel()
    expected = ((width, features), (width,), (sizes, width), (sizes,))
    found = tuple(tuple(each.shape) for each in tensors)
    if found != expected:
        raise RequestError(
            f"the block policy {path} has shapes {found}, but these sizes need {expected}",
            hint="give the sizes that the policy was trained for",
        )
    return _Policy(tensors, beside)
