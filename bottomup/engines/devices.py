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


def reason(error: Exception) -> str:
    """Why an image failed, in one line for its owner."""
    signs = "allocate memory|Insufficient memory|Failed to allocate"
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError) or re.search(signs, str(error)):
        return "out of memory: choose a smaller size, fewer scales or another device"
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
