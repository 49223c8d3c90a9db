"""The state of a training run: network, averaged weights, optimisers; saved without pickle."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dlmkit.builtin.sizes import SIZES
from dlmkit.errors import RequestError
from dlmkit.models.decoder import Decoder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dlmkit.builtin import CheckpointName
    from dlmkit.models.arch import ArchSpec

__all__ = ["ResumeError", "TrainingState"]

MATRIX_RATE, OTHER_RATE = 4e-3, 2e-3
"""Peak learning rates: Muon for the layers' matrices, AdamW for embedding, head and gains."""

AVERAGE_DECAY = 0.998
"""Decay per step of the averaged weights, which are the ones that are shipped."""


class ResumeError(RequestError):
    """A run was to be resumed from a folder that does not hold its state."""


class TrainingState:
    """Everything that changes during a run."""

    def __init__(self, model: CheckpointName, seed: int, device: torch.device) -> None:
        torch.manual_seed(seed)
        arch = SIZES[model]
        self.model, self.seed, self.step = model, seed, 0
        self.network = _initialised(arch).to(device)
        named = list(self.network.named_parameters())
        self.average = {name: weight.detach().clone() for name, weight in named}
        matrices = [weight for name, weight in named if _is_layer_matrix(name, weight)]
        others = [weight for name, weight in named if not _is_layer_matrix(name, weight)]
        self.optimisers: tuple[torch.optim.Optimizer, ...] = (
            torch.optim.Muon(
                matrices, lr=MATRIX_RATE, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"
            ),
            torch.optim.AdamW(others, lr=OTHER_RATE, betas=(0.9, 0.98), weight_decay=0.0),
        )

    def update(self, rate: float) -> None:
        """One optimiser step at a share of the peak rates; gradients are cleared."""
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        for optimiser, peak in zip(self.optimisers, (MATRIX_RATE, OTHER_RATE), strict=True):
            optimiser.param_groups[0]["lr"] = peak * rate
            optimiser.step()
            optimiser.zero_grad()
        self.step += 1
        decay = min(AVERAGE_DECAY, self.step / (self.step + 10))
        with torch.no_grad():
            for name, weight in self.network.named_parameters():
                self.average[name].lerp_(weight, 1 - decay)

    def save(self, folder: Path) -> None:
        """Write the state; an interrupted write leaves the previous one intact."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {key: tensor.cpu().clone() for key, tensor in self._tensors()}
        about = {"model": self.model, "seed": self.seed, "step": self.step}
        unfinished = folder / "state.safetensors.part"
        save_file(tensors, unfinished, metadata={"about": json.dumps(about)})
        unfinished.replace(folder / "state.safetensors")

    def load(self, folder: Path) -> None:
        """Continue from a saved state; raises `ResumeError` when it is not this run's."""
        path = folder / "state.safetensors"
        if not path.is_file():
            raise ResumeError(f"nothing to resume: no {path}", hint="start without --resume")
        with safe_open(path, "pt") as file:
            about = json.loads(file.metadata()["about"])
        if (about["model"], about["seed"]) != (self.model, self.seed):
            raise ResumeError(
                f"{path} is of a run with --model {about['model']} --seed {about['seed']}",
                hint="give the same model and seed, or another --out folder",
            )
        self.step = about["step"]
        self._restore(load_file(path))

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor of the state under a name of its own."""
        for name, weight in self.network.named_parameters():
            yield f"weight/{name}", weight.detach()
            yield f"average/{name}", self.average[name]
            for optimiser in self.optimisers:
                for key, value in optimiser.state.get(weight, {}).items():
                    yield f"optimiser.{key}/{name}", torch.as_tensor(value)

    def _restore(self, tensors: dict[str, Tensor]) -> None:
        weights = dict(self.network.named_parameters())
        for label, tensor in tensors.items():
            role, name = label.split("/", 1)
            weight = weights[name]
            if role == "weight":
                weight.data.copy_(tensor)
            elif role == "average":
                self.average[name].copy_(tensor)
            else:
                self._restore_optimiser(weight, role.removeprefix("optimiser."), tensor)

    def _restore_optimiser(self, weight: nn.Parameter, key: str, tensor: Tensor) -> None:
        for optimiser in self.optimisers:
            if any(weight is known for known in optimiser.param_groups[0]["params"]):
                placed = tensor if key == "step" else tensor.to(weight.device)
                optimiser.state[weight][key] = placed


def _is_layer_matrix(name: str, weight: Tensor) -> bool:
    return weight.ndim == 2 and name.startswith("model.layers.")


def _initialised(arch: ArchSpec) -> Decoder:
    """A network with normal weights; what writes to the residual stream starts smaller."""
    network = Decoder(arch)
    for name, weight in network.named_parameters():
        if name.endswith("norm.weight"):
            nn.init.ones_(weight)
        elif weight.ndim == 1:
            nn.init.zeros_(weight)
        elif name.startswith("model.embed"):
            nn.init.normal_(weight, std=0.02)
        else:
            writes = name.endswith(("o_proj.weight", "down_proj.weight"))
            depth = 2 * arch.layers if writes else 1
            nn.init.normal_(weight, std=(depth * weight.shape[1]) ** -0.5)
    return network
