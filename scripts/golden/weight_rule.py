"""Weights that follow from their names: each tensor is noise, seeded by its name.

So golden networks need no file of weights.
"""

import hashlib
import math
from collections.abc import Mapping

import numpy as np


def noise(name: str, shape: tuple[int, ...], salt: str) -> np.ndarray:
    """Uniform noise of mean 0 and variance 1, float64.

    It is made of PCG64's raw bits, which numpy keeps the same between versions.
    """
    seed = int.from_bytes(hashlib.sha256(f"{salt}|{name}".encode()).digest()[:8], "little")
    words = np.random.PCG64(seed).random_raw(math.prod(shape)).reshape(shape)
    return ((words >> np.uint64(11)) * 2.0**-53 - 0.5) * math.sqrt(12)


def weight(name: str, shape: tuple[int, ...], rule: Mapping) -> np.ndarray:
    """One tensor of a golden network.

    Args:
        name: the official one; it tells the kind of tensor and seeds the noise.
        shape: of the tensor.
        rule: salt, gain (pairs of a part of a name and a factor) and gain_default.
    """
    if name.endswith("num_batches_tracked"):
        return np.zeros((), np.int64)
    z = noise(name, shape, rule["salt"])
    if len(shape) == 4:
        gain = next((gain for part, gain in rule["gain"] if part in name), rule["gain_default"])
        value = z * math.sqrt(2 / math.prod(shape[1:])) * gain
    elif name.endswith("running_var"):
        value = 1 + 0.1 * abs(z)
    elif name.endswith("weight"):
        value = 1 + 0.1 * z
    else:  # biases and running means
        value = 0.1 * z
    return value.astype(np.float32)


def digest(weights: Mapping[str, np.ndarray]) -> str:
    """A fingerprint of names and values, to tell wrongly rebuilt weights from a wrong network."""
    fingerprint = hashlib.sha256()
    for name, value in weights.items():
        fingerprint.update(name.encode() + b"\0" + value.tobytes())
    return fingerprint.hexdigest()
