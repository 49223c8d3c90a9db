"""Loading a model: from a reference to something that decodes, with a record of what was found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from dlmkit.engine import Engine, LoadedModel, LoadOptions, Provenance
from dlmkit.errors import EngineError
from dlmkit.models.arch import ArchSpec
from dlmkit.models.config import Config, read_config
from dlmkit.models.decoder import Decoder
from dlmkit.models.family import ModelFamily, find_family
from dlmkit.models.placement import choose_device, choose_dtype
from dlmkit.models.reference import locate_model
from dlmkit.models.special_ids import SpecialIds, find_special_ids
from dlmkit.models.tensor_files import list_tensors
from dlmkit.models.tokenizer import Tokenizer, load_tokenizer
from dlmkit.models.weights import build_decoder
from dlmkit.network import NetworkInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


__all__ = ["Checkpoint", "load_checkpoint", "load_model"]


@attrs.frozen(kw_only=True)
class Checkpoint:
    """A checkpoint in memory: its description, the filled decoder, the tokenizer."""

    path: Path
    config: Config
    family: ModelFamily
    arch: ArchSpec
    special_ids: SpecialIds
    decoder: Decoder
    tokenizer: Tokenizer | None
    provenance: Provenance

    def network_info(self, engine: str) -> NetworkInfo:
        """Facts about the network as an engine of that name runs it."""
        embedding = self.decoder.model.embed_tokens.weight
        return NetworkInfo(
            vocab_size=self.arch.vocab_rows,
            mask_id=self.special_ids.mask_id,
            eos_ids=self.special_ids.eos_ids,
            eot_ids=self.special_ids.eot_ids,
            max_positions=self.arch.max_positions,
            attention=self.arch.attention,
            layers=self.arch.layers,
            kv_heads=self.arch.kv_heads,
            head_dim=self.arch.head_dim,
            dtype=embedding.dtype,
            device=embedding.device,
            logit_shift=self.family.defaults.logit_shift,
            parameters=sum(value.numel() for value in self.decoder.parameters()),
            engine=engine,
        )


def load_model(reference: str, *, engine: str | Engine = "torch", **options: Any) -> LoadedModel:
    """Load a model on an engine.

    Args:
        reference: `builtin/verifier`, a checkpoint folder, or a hub id `owner/name`.
        engine: an engine, or the name of a registered one (with its default options).
        options: the fields of `dlmkit.engine.LoadOptions`: `device`, `dtype`, `revision`, ...

    Raises:
        ModelError: the checkpoint cannot be found or read.
        EngineError: the engine is unknown, or cannot run the model here.
    """
    chosen = _engine(engine) if isinstance(engine, str) else engine
    return chosen.load(reference, LoadOptions(**options))


def load_checkpoint(reference: str, options: LoadOptions) -> Checkpoint:
    """Read a checkpoint into memory with PyTorch.

    Everything that can be checked without reading weights is checked first.

    Raises:
        ModelError: the checkpoint cannot be found, understood or read.
        EngineError: the device is not usable or too small.
    """
    device = choose_device(options.device)
    located = locate_model(
        reference, revision=options.revision, local_files_only=options.local_files_only
    )
    config = read_config(located.path)
    family = _family(config, options.families)
    tensors = list_tensors(located.path)
    arch = family.describe(config, tensors)
    tokenizer = load_tokenizer(located.path, family.defaults)
    special_ids = _special_ids(config, family, arch, tokenizer, options.mask_id)
    dtype, dtype_reason = choose_dtype(options.dtype, config, tensors.values(), device)
    return Checkpoint(
        path=located.path,
        config=config,
        family=family,
        arch=arch,
        special_ids=special_ids,
        decoder=build_decoder(
            arch,
            family.names(arch),
            tensors.values(),
            device=device,
            dtype=dtype,
            progress=options.progress,
        ),
        tokenizer=tokenizer,
        provenance=Provenance(
            reference=reference,
            path=located.path,
            revision=located.revision,
            family=family.name,
            architecture=config.architecture,
            special_ids=special_ids,
            dtype_reason=dtype_reason,
        ),
    )


def _family(config: Config, families: Iterable[type[ModelFamily]] | None) -> ModelFamily:
    """Choose among the given families, or among all registered ones."""
    if families is not None:
        return find_family(config, families)
    from dlmkit.plugins import get_plugins

    plugins = get_plugins()
    offered: Mapping[str, Any] = plugins.registry.of_role(ModelFamily.role)
    return find_family(config, offered.values(), map(str, plugins.failures))


def _special_ids(
    config: Config,
    family: ModelFamily,
    arch: ArchSpec,
    tokenizer: Tokenizer | None,
    mask_id: int | None,
) -> SpecialIds:
    if tokenizer is None:
        return find_special_ids(config, family.defaults, arch.vocab_rows, mask_id=mask_id)
    return find_special_ids(
        config,
        family.defaults,
        arch.vocab_rows,
        mask_id=mask_id,
        tokenizer_mask=tokenizer.declared_mask,
        token_id=tokenizer.token_id,
    )


def _engine(name: str) -> Engine:
    """Return the registered engine of that name, with its default options."""
    from dlmkit.plugins import get_plugins

    registry = get_plugins().registry
    cls = registry.find(Engine.role, name)
    if cls is None:
        known = ", ".join(sorted(registry.of_role(Engine.role))) or "none"
        raise EngineError(
            f"no engine is called {name!r}; known are: {known}",
            hint="run `dlmkit doctor` to see which engines are usable here",
        )
    engine: Any = cls()
    return engine  # type: ignore[no-any-return] # the registry vouches for the role
