"""What machine this is and which versions run on it, as plain data for reports."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

__all__ = ["describe_hardware", "describe_versions", "memory_mb", "peak_memory_mb"]

_DISTRIBUTIONS = ("dlmkit", "torch", "transformers", "onnxruntime", "onnxruntime-gpu", "tensorrt")


def describe_hardware() -> dict[str, Any]:
    """Return the processor, the threads PyTorch uses, and the CUDA devices."""
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "bfloat16_on_cpu": _has_cpu_flag("avx512_bf16", "amx_bf16", "bf16"),
        "memory_mb": memory_mb(),
        "gpus": [_gpu(index) for index in range(torch.cuda.device_count())],
    }


def describe_versions() -> dict[str, str]:
    """Return the versions of Python and of the installed packages that do the work."""
    found = {"python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def memory_mb() -> int:
    """Return the machine's memory in MiB."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20


def peak_memory_mb(device: torch.device) -> float:
    """Return the most memory used so far: allocated on a CUDA device, else by this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    import resource
    import sys

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def _gpu(index: int) -> dict[str, Any]:
    facts = torch.cuda.get_device_properties(index)
    return {
        "name": facts.name,
        "memory_mb": facts.total_memory // 2**20,
        "compute_capability": f"{facts.major}.{facts.minor}",
    }


def _cpu_name() -> str:
    for line in _cpu_info():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _has_cpu_flag(*flags: str) -> bool:
    return any(
        not {*line.partition(":")[2].split()}.isdisjoint(flags)
        for line in _cpu_info()
        if line.startswith(("flags", "Features"))
    )


def _cpu_info() -> list[str]:
    """Lines of Linux's description of the processor; elsewhere none."""
    file = Path("/proc/cpuinfo")
    return file.read_text("utf-8").splitlines() if file.is_file() else []
