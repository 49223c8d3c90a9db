"""How much memory a device can still give."""

from __future__ import annotations

import os
from pathlib import Path

import torch

__all__ = ["free_bytes", "is_out_of_memory"]

_MEMINFO = Path("/proc/meminfo")


def free_bytes(device: torch.device) -> int:
    """Return the bytes that can be allocated on `device` without swapping.

    On Linux this includes memory that the system would give back (cached files); elsewhere it
    is the unused part, or the whole where the system does not tell.
    """
    if device.type == "cuda":
        torch.cuda.empty_cache()
        return int(torch.cuda.mem_get_info(device)[0])
    if _MEMINFO.is_file():
        line = next(line for line in _MEMINFO.read_text().splitlines() if "MemAvailable" in line)
        return int(line.split()[1]) * 1024
    pages = "SC_AVPHYS_PAGES" if "SC_AVPHYS_PAGES" in os.sysconf_names else "SC_PHYS_PAGES"
    return os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE")


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether the error means that an allocation failed, on a CUDA device or on the CPU."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)
