"""The ONNX Runtime engine: runs bundles, and makes those of the built-in checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from dlmkit.bounds import at_least
from dlmkit.component import option
from dlmkit.engine import Engine, LoadedModel, LoadOptions, Provenance
from dlmkit.errors import EngineError, ModelError

if TYPE_CHECKING:
    import torch

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

    threads: int | None = option(
        None, doc="Processor threads; as many as PyTorch uses if not given.", check=at_least(1)
    )

    def abilities(self) -> frozenset[str]:
        """What graphs may be made for; a graph computes the same positions in every layer."""
        from dlmkit_export.contract import ABILITIES

        return frozenset(ABILITIES)

    def load(self, reference: str, options: LoadOptions) -> LoadedModel:
        """Check the bundle that `reference` names, and open it."""
        from dlmkit.models.family import FamilyDefaults
        from dlmkit.models.tokenizer import load_tokenizer
        from dlmkit_export.bundle.manifest import read_manifest
        from dlmkit_export.bundle.verify import verify_bundle
        from dlmkit_export.runtime.ability_calls import refuse_missing
        from dlmkit_export.runtime.provider import runtime_device

        device = runtime_device(options.device)
        wanted = options.abilities & self.abilities()
        folder = _bundle_folder(reference, options, wanted)
        with _naming_remedy(reference, folder):
            manifest = read_manifest(folder)
        _refuse_changes(reference, options, manifest)
        refuse_missing(wanted, reference, manifest)
        with _naming_remedy(reference, folder):
            verify_bundle(folder, manifest, options.progress)
        return LoadedModel(
            network=self._network(folder, manifest, device, options.mask_id),
            tokenizer=load_tokenizer(folder, FamilyDefaults()),
            provenance=_provenance(reference, folder, manifest, options.mask_id),
        )

    def _network(
        self, folder: Path, manifest: Manifest, device: torch.device, mask_id: int | None
    ) -> OnnxNetwork:
        import torch

        from dlmkit_export.runtime.graph_runner import GraphRunner
        from dlmkit_export.runtime.network import OnnxNetwork

        threads = self.threads or torch.get_num_threads()
        info = manifest.info(self.name, device, mask_id)
        return OnnxNetwork(
            attrs.evolve(info, own_threads=device.type == "cpu"),
            manifest,
            lambda name: GraphRunner(folder / name, device, threads),
        )


def _bundle_folder(reference: str, options: LoadOptions, wanted: frozenset[str]) -> Path:
    from dlmkit_export.bundle.manifest import MANIFEST
    from dlmkit_export.runtime.builtin_bundles import PREFIX, builtin_bundle

    if reference.startswith(PREFIX):
        return builtin_bundle(reference, options.dtype, wanted)
    folder = Path(reference).expanduser()
    if (folder / MANIFEST).is_file():
        return folder
    what = (
        f"{reference} is not a bundle" if folder.is_dir() else f"there is no bundle {reference!r}"
    )
    raise EngineError(
        f"{what}, and ONNX Runtime runs nothing else",
        hint=f"make one: dlmkit export --model {reference} -o FOLDER, then use --model FOLDER",
    )


@contextmanager
def _naming_remedy(reference: str, folder: Path) -> Iterator[None]:
    """A spoiled bundle of a built-in model need not be copied: it is made again."""
    from dlmkit_export.runtime.builtin_bundles import PREFIX

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
        "other rotary frequencies": options.rope is not None,
    }
    changed = [name for name, wanted in asked.items() if wanted]
    if changed:
        raise EngineError(
            f"{reference} is compiled ({dtype}, family {manifest.source.family}); "
            f"{' and '.join(changed)} cannot be chosen any more",
            hint="leave that out, or export the model again with it",
        )


def _provenance(
    reference: str, folder: Path, manifest: Manifest, mask_id: int | None
) -> Provenance:
    source, ids = manifest.source, manifest.source.special_ids
    if mask_id is not None:
        places = {**ids.provenance, "mask_id": "given by the user"}
        ids = attrs.evolve(ids, mask_id=mask_id, provenance=places)
    return Provenance(
        reference=reference,
        path=folder,
        revision=source.revision,
        family=source.family,
        architecture=source.architecture,
        special_ids=ids,
        dtype_reason="as compiled",
    )
