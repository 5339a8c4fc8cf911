"""Devices by name, and why a computation on one failed."""

import re

import torch


def choose_device(device: str | torch.device) -> torch.device:
    """The device of that name; "auto" is CUDA if there is any, else the CPU.

    Raises:
        ValueError: it cannot be used.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=device)
        return torch.device(device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"device {str(device)!r} cannot be used ({reason(error)}); choose auto or cpu"
        ) from error


def has_bfloat16(device: str) -> bool:
    """Whether a kind of device, "cpu" or "cuda", computes in bfloat16 without emulation."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # older torches lack them
    return any(getattr(torch.cpu, name, bool)() for name in names)


def reason(error: Exception) -> str:
    """Why an image failed, in one line for its owner."""
    signs = "allocate memory|Insufficient memory|Failed to allocate"
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError) or re.search(signs, str(error)):
        return "out of memory: choose a smaller size, fewer scales or another device"
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
