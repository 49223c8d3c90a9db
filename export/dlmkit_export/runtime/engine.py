"""The ONNX Runtime engine: runs bundles, and makes those of the built-in checkpoints."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from dlmkit.bounds import at_least
from dlmkit.builtin import PREFIX
from dlmkit.component import option
from dlmkit.engine import Engine, LoadedModel, LoadOptions, Provenance
from dlmkit.errors import EngineError, ModelError
from dlmkit_export.contract import ABILITIES
from dlmkit_export.runtime.changed import (
    refuse_derived_bundle,
    refuse_missing,
    refuse_other_rope,
)

if TYPE_CHECKING:
    import torch

    from dlmkit.models.derivation import Derivation
    from dlmkit.models.reach import RopeScaling
    from dlmkit.network import NetworkInfo
    from dlmkit_export.bundle.manifest import Manifest
    from dlmkit_export.runtime.network import OnnxNetwork

__all__ = ["OnnxRuntimeEngine"]


@attrs.frozen
class OnnxRuntimeEngine(Engine):
    """Runs bundles with ONNX Runtime, on the CPU or one CUDA device.

    Built-in checkpoints are compiled on first use; other models need `dlmkit export` once.
    """

    name = "onnxruntime"
    for_builtin = True
    derives = frozenset({"prompt_tokens", "skip_layers"})

    threads: int | None = option(
        None, doc="Processor threads; as many as PyTorch uses if not given.", check=at_least(1)
    )

    def abilities(self) -> frozenset[str]:
        """Prompt tokens, and what graphs may be made for.

        A graph computes the same positions in every layer.
        """
        return frozenset({"prompt-tokens", *ABILITIES})

    def known_info(self, reference: str) -> NetworkInfo | None:
        """What the manifest of a bundle says."""
        manifest = _manifest(reference)
        if manifest is None:
            return None
        import torch

        return manifest.info(self.name, torch.device("cpu"), None)

    def refuse_derivation(self, reference: str, derivation: Derivation) -> None:
        """Built-in models are compiled again, with the changes; bundles cannot be changed."""
        super().refuse_derivation(reference, derivation)
        if derivation.asked and not reference.startswith(PREFIX):
            refuse_derived_bundle(reference, _manifest(reference), derivation)

    def refuse_rope(self, reference: str, rope: RopeScaling) -> None:
        """A bundle has the rotary embedding that it was compiled with."""
        manifest = _manifest(reference)
        if manifest is not None:
            refuse_other_rope(reference, manifest, rope)

    def refuse_unable(self, reference: str, abilities: frozenset[str]) -> None:
        """A bundle has the abilities that it was compiled with."""
        manifest = _manifest(reference)
        if manifest is not None:
            refuse_missing(abilities, reference, manifest)

    def load(self, reference: str, options: LoadOptions) -> LoadedModel:
        """Check the bundle that `reference` names, and open it."""
        return self._opened(reference, options, None)

    def derive(self, source: LoadedModel, derivation: Derivation) -> LoadedModel:
        """Compile the built-in model again, with weights of its own."""
        from dlmkit_export.runtime.network import OnnxNetwork

        origin, network = source.provenance, source.network
        self.refuse_derivation(origin.reference, derivation)
        if not isinstance(network, OnnxNetwork):
            return super().derive(source, derivation)
        return self._opened(origin.reference, network.options, derivation)

    def _opened(
        self, reference: str, options: LoadOptions, derivation: Derivation | None
    ) -> LoadedModel:
        from dlmkit.models.family import FamilyDefaults
        from dlmkit.models.tokenizer import load_tokenizer
        from dlmkit_export.bundle.manifest import read_manifest
        from dlmkit_export.bundle.verify import verify_bundle
        from dlmkit_export.runtime.provider import runtime_device

        device = runtime_device(options.device)
        folder = _bundle_folder(reference, options, derivation)
        with _naming_remedy(reference, folder):
            manifest = read_manifest(folder)
        _refuse_changes(reference, options, manifest)
        refuse_missing(options.abilities, reference, manifest)
        if options.rope is not None:
            refuse_other_rope(reference, manifest, options.rope)
        with _naming_remedy(reference, folder):
            verify_bundle(folder, manifest, options.progress)
        return LoadedModel(
            network=self._network(folder, manifest, device, options),
            tokenizer=load_tokenizer(folder, FamilyDefaults()),
            provenance=_provenance(reference, folder, manifest, options.mask_id, derivation),
        )

    def _network(
        self, folder: Path, manifest: Manifest, device: torch.device, options: LoadOptions
    ) -> OnnxNetwork:
        import torch

        from dlmkit_export.runtime.graph_runner import GraphRunner
        from dlmkit_export.runtime.network import OnnxNetwork

        threads = self.threads or torch.get_num_threads()
        info = manifest.info(self.name, device, options.mask_id)
        return OnnxNetwork(
            attrs.evolve(info, own_threads=device.type == "cpu"),
            manifest,
            lambda name: GraphRunner(folder / name, device, threads),
            options,
        )


def _manifest(reference: str) -> Manifest | None:
    """The manifest of a bundle that can be read; of others, loading says what is wrong."""
    from dlmkit_export.bundle.manifest import read_manifest

    try:
        return read_manifest(Path(reference).expanduser())
    except ModelError:
        return None


def _bundle_folder(reference: str, options: LoadOptions, derivation: Derivation | None) -> Path:
    from dlmkit_export.bundle.changes import as_in_spec, changes_as_options
    from dlmkit_export.bundle.manifest import MANIFEST
    from dlmkit_export.runtime.builtin_bundles import builtin_bundle

    if reference.startswith(PREFIX):
        return builtin_bundle(reference, options, derivation)
    folder = Path(reference).expanduser()
    if (folder / MANIFEST).is_file():
        return folder
    what = (
        f"{reference} is not a bundle" if folder.is_dir() else f"there is no bundle {reference!r}"
    )
    rope = options.rope and as_in_spec(options.rope)
    wanted = shlex.join(("--model", reference, *changes_as_options(None, rope)))
    raise EngineError(
        f"{what}, and ONNX Runtime runs nothing else",
        hint=f"make one: dlmkit export {wanted} -o FOLDER, then use --model FOLDER",
    )


@contextmanager
def _naming_remedy(reference: str, folder: Path) -> Iterator[None]:
    """A spoiled bundle of a built-in model need not be copied: it is made again."""
    try:
        yield
    except ModelError as error:
        if not reference.startswith(PREFIX):
            raise
        raise ModelError(
            str(error.args[0]), hint=f"delete {folder}; the next run makes it again"
        ) from error


def _refuse_changes(reference: str, options: LoadOptions, manifest: Manifest) -> None:
    """A compiled network cannot be turned into another one when it is loaded."""
    dtype = str(manifest.network["dtype"])
    asked = {
        "--dtype": options.dtype not in ("auto", dtype),
        "a family": options.family is not None,
        "a revision": options.revision is not None,
    }
    changed = [name for name, wanted in asked.items() if wanted]
    if changed:
        raise EngineError(
            f"{reference} is compiled ({dtype}, family {manifest.source.family}); "
            f"{' and '.join(changed)} cannot be chosen any more",
            hint="leave that out, or export the model again with it",
        )


def _provenance(
    reference: str,
    folder: Path,
    manifest: Manifest,
    mask_id: int | None,
    derivation: Derivation | None,
) -> Provenance:
    source, ids = manifest.source, manifest.source.special_ids
    compiled_in = derivation or source.derivation
    if mask_id is not None:
        places = {**ids.provenance, "mask_id": "given by the user"}
        ids = attrs.evolve(ids, mask_id=mask_id, provenance=places)
    return Provenance(
        reference=f"{reference} {derivation.text}" if derivation else reference,
        path=folder,
        revision=source.revision,
        family=source.family,
        architecture=source.architecture,
        special_ids=ids,
        dtype_reason="as compiled",
        derivation=compiled_in.text if compiled_in else "",
    )
