"""Random numbers that belong to an image: they depend on (seed, draw, image) and nothing else."""

from __future__ import annotations

import hashlib

import torch


def mixed(*numbers: int) -> int:
    """A 64-bit seed in which every bit of all numbers counts.

    Neighbouring seeds, draws and images must not have related noise, and sums such as seed +
    index would make (0, 1) and (1, 0) the same. torch's CPU generator uses the lower 32 bits, so
    among a million images drawn about a hundred pairs, far apart, share their noise.
    """
    digest = hashlib.blake2b(",".join(map(str, numbers)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def seeded(*numbers: int) -> torch.Generator:
    """A generator on the CPU, whatever the images are on, so that every device sees the same."""
    return torch.Generator().manual_seed(mixed(*numbers))
