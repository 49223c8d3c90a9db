"""The canvas: every token of a batch, given and undecided, with what is known about each.

Rows are padded on the right, so a row's positions do not depend on its neighbours.  Only the
loop changes a canvas; strategies see it through a `View`.

Legend: B rows, N canvas positions, P window positions, R chosen rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import attrs
import torch
from torch import Tensor

from dlmkit.errors import RequestError
from dlmkit.layout import Layout

__all__ = ["Canvas"]

_NOTHING = -1
"""No token id: marks positions that a commit leaves alone."""


@attrs.define(eq=False, slots=False)
class Canvas:
    """A batch of rows being decoded.

    `tokens_BN` int64; `given_BN` true where the token was given (or is padding) and never
    changes; `inside_BN` false on padding; `columns_N` the numbers of the positions; `length_B`
    the end of each row; `start_B` its first undecided position when decoding began;
    `commit_step_BN` int32, the step that decided a position, -1 before; `done_B` rows that take
    no further part; `samples_B` int64 row identities for random numbers; `initial_masks_B` the
    masks laid out so far.  `region_width` is the widest span from start to end, `ragged` whether
    lengths differ (both known on the host).
    """

    tokens_BN: Tensor
    given_BN: Tensor
    inside_BN: Tensor
    columns_N: Tensor
    length_B: Tensor
    start_B: Tensor
    samples_B: Tensor
    mask_id: int
    region_width: int
    ragged: bool
    commit_step_BN: Tensor
    done_B: Tensor
    initial_masks_B: Tensor
    _masked: tuple[Tensor, Tensor] | None = attrs.field(default=None, repr=False)
    _undone: tuple[Tensor, Tensor] | None = attrs.field(default=None, repr=False)

    @classmethod
    def create(
        cls,
        prompts: Sequence[Sequence[int]],
        gen_length: int,
        mask_id: int,
        *,
        infill: bool = False,
        device: torch.device | str = "cpu",
        first_sample: int = 0,
    ) -> Canvas:
        """Lay out prompts of any lengths, each followed by `gen_length` masks.

        With `infill`, masks inside a prompt are to be filled too, and `gen_length` may be 0.

        Raises:
            RequestError: no prompt, an empty one, nothing to decode, or masks without `infill`.
        """
        _refuse_bad_prompts(prompts, gen_length, mask_id, infill)
        lengths = [len(prompt) + gen_length for prompt in prompts]
        rows = [[*prompt, *[mask_id] * gen_length] for prompt in prompts]
        starts = [row.index(mask_id) for row in rows]
        width = max(lengths)
        padded = [row + [_padding(mask_id)] * (width - len(row)) for row in rows]
        tokens_BN = torch.tensor(padded, dtype=torch.int64, device=device)
        masked_BN = tokens_BN == mask_id
        length_B = torch.tensor(lengths, device=device)
        columns_N = torch.arange(width, device=device)
        return cls(
            tokens_BN=tokens_BN,
            given_BN=~masked_BN,
            inside_BN=columns_N < length_B[:, None],
            columns_N=columns_N,
            length_B=length_B,
            start_B=torch.tensor(starts, device=device),
            samples_B=torch.arange(first_sample, first_sample + len(rows), device=device),
            mask_id=mask_id,
            region_width=max(end - start for end, start in zip(lengths, starts, strict=True)),
            ragged=len(set(lengths)) > 1,
            commit_step_BN=torch.full_like(tokens_BN, -1, dtype=torch.int32),
            done_B=torch.zeros(len(rows), dtype=torch.bool, device=device),
            initial_masks_B=masked_BN.sum(dim=1),
        )

    @classmethod
    def chosen(cls, candidates: Sequence[Canvas], best_B: Tensor) -> Canvas:
        """Take each row from the candidate of that number; their rows may differ in length."""
        widest = max(each.tokens_BN.shape[1] for each in candidates)
        rows = torch.arange(len(best_B), device=best_B.device)

        def picked(name: str, padding: int) -> Tensor:
            values = [getattr(each, name) for each in candidates]
            if values[0].ndim > 1:
                room = [(0, widest - each.shape[1]) for each in values]
                pads = zip(values, room, strict=True)
                values = [torch.nn.functional.pad(each, by, value=padding) for each, by in pads]
            return torch.stack(values)[best_B, rows]

        first, length_B = candidates[0], picked("length_B", 0)
        columns, shortest = int(length_B.amax()), int(length_B.amin())
        columns_N = torch.arange(columns, device=length_B.device)
        return cls(
            tokens_BN=picked("tokens_BN", _padding(first.mask_id))[:, :columns],
            given_BN=picked("given_BN", True)[:, :columns],
            inside_BN=columns_N < length_B[:, None],
            columns_N=columns_N,
            length_B=length_B,
            start_B=first.start_B,
            samples_B=first.samples_B,
            mask_id=first.mask_id,
            region_width=int((length_B - first.start_B).amax()),
            ragged=columns != shortest,
            commit_step_BN=picked("commit_step_BN", -1)[:, :columns],
            done_B=picked("done_B", 0),
            initial_masks_B=picked("initial_masks_B", 0),
        )

    def of_rows(self, rows_R: Tensor, tokens_RN: Tensor) -> Canvas:
        """These rows, which may repeat, with other tokens in them."""
        tensors = {
            field.name: getattr(self, field.name)[rows_R]
            for field in attrs.fields(Canvas)
            if field.name.endswith(("_B", "_BN"))
        }
        tensors["tokens_BN"] = tokens_RN
        return attrs.evolve(self, **tensors, masked=None, undone=None)

    def become(self, other: Canvas) -> None:
        """Take over everything that another canvas of the same batch says."""
        self.__dict__.clear()
        self.__dict__.update(other.__dict__)

    def restart(self) -> None:
        """Begin another decode: what is decided counts as old, progress counts from here."""
        self.commit_step_BN = torch.full_like(self.commit_step_BN, -1)
        self.done_B = torch.zeros_like(self.done_B)
        self.initial_masks_B = self.masked_BN.sum(dim=1)

    def take(self, other: Canvas) -> None:
        """Take over what another canvas says, and keep what is worked out of what stays."""
        for field in attrs.fields(Canvas):
            if not field.name.startswith("_"):
                setattr(self, field.name, getattr(other, field.name))

    def snapshot(self) -> Canvas:
        """The canvas as it is now, untouched by what is committed later."""
        _ = self.undone_B1  # worked out here, it is known to the snapshots of later steps too
        twin = object.__new__(Canvas)
        twin.__dict__.update(self.__dict__)
        return twin

    @property
    def masked_BN(self) -> Tensor:
        """Undecided positions; given text and padding hold no mask."""
        if self._masked is None or self._masked[0] is not self.tokens_BN:
            self._masked = (self.tokens_BN, self.tokens_BN == self.mask_id)
        return self._masked[1]

    @cached_property
    def _blank_BM(self) -> Tensor:
        rows, columns = self.tokens_BN.shape
        return self.tokens_BN.new_full((rows, columns + 1), _NOTHING)

    @property
    def undone_B1(self) -> Tensor:
        """Rows that still take part, bool."""
        if self._undone is None or self._undone[0] is not self.done_B:
            self._undone = (self.done_B, ~self.done_B[:, None])
        return self._undone[1]

    def commit(self, positions_BP: Tensor, where_BP: Tensor, tokens_BP: Tensor, step: int) -> None:
        """Set the chosen positions to the given tokens; given text is never touched.

        Positions set to the mask token count as undecided again.
        """
        new_BN = self._spread(positions_BP, where_BP, tokens_BP)
        stays_BN = (new_BN == _NOTHING) | self.given_BN
        self.tokens_BN = torch.where(stays_BN, self.tokens_BN, new_BN)
        steps_BN = torch.where(stays_BN, self.commit_step_BN, step)
        self.commit_step_BN = torch.where(self.masked_BN, -1, steps_BN)

    def follow(self, layout: Layout) -> None:
        """Lay the rows out anew; what is new is masked."""
        device = self.tokens_BN.device
        self.initial_masks_B = self.initial_masks_B + layout.length_B - self.length_B
        self.columns_N = torch.arange(layout.columns, device=device)
        self.inside_BN = self.columns_N < layout.length_B[:, None]
        tokens_BN = layout.carry(self.tokens_BN, self.mask_id)
        self.tokens_BN = tokens_BN.masked_fill(~self.inside_BN, _padding(self.mask_id))
        self.given_BN = layout.carry(self.given_BN, False) | ~self.inside_BN
        self.commit_step_BN = layout.carry(self.commit_step_BN, -1)
        self.length_B = layout.length_B
        self.region_width, self.ragged = layout.region_width, layout.ragged
        self.__dict__.pop("_blank_BM", None)

    def _spread(self, positions_BP: Tensor, where_BP: Tensor, tokens_BP: Tensor) -> Tensor:
        """Move window values to canvas positions; unchosen ones land in a column beyond the end."""
        columns = self.tokens_BN.shape[1]
        target_BP = torch.where(where_BP, positions_BP, columns)
        return self._blank_BM.scatter(1, target_BP, tokens_BP)[:, :columns]


def _padding(mask_id: int) -> int:
    """The token behind a row's end: text that no query may see; any id but the mask will do."""
    return 0 if mask_id else 1


def _refuse_bad_prompts(
    prompts: Sequence[Sequence[int]], gen_length: int, mask_id: int, infill: bool
) -> None:
    if not prompts:
        raise RequestError("no prompt was given", hint="pass at least one prompt")
    if gen_length < 0 or (gen_length == 0 and not infill):
        raise RequestError(
            f"gen_length must be at least 1; got {gen_length}",
            hint="set it to the number of new tokens, for example --set gen_length=64",
        )
    for number, prompt in enumerate(prompts, 1):
        if not prompt and not gen_length:
            raise RequestError(f"prompt {number} is empty", hint="give it some text")
        if mask_id in prompt and not infill:
            raise RequestError(
                f"prompt {number} contains the mask token (id {mask_id})",
                hint="use infilling to have masks inside the given text filled (--infill)",
            )
        if infill and not gen_length and mask_id not in prompt:
            raise RequestError(
                f"prompt {number} has no mask to fill",
                hint="mark what is to be filled with the mask token, or set gen_length",
            )
