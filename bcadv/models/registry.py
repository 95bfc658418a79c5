"""Which pre-trained weights there are. Imports no torch, so that a wrong name is known at once."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from bcadv.errors import BcadvError

_RELEASE = "https://github.com/mlmed/torchxrayvision/releases/download/v1/"
_TRAINING = "densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt"


@dataclass(frozen=True)
class Source:
    """One set of published weights.

    Attributes:
        url: where it is published.
        sha256: its checksum; ``None`` where none is publicly known.
        size: its length in bytes; ``None`` where unknown.
    """

    url: str
    sha256: str | None = None
    size: int | None = None


REGISTRY: Mapping[str, Source] = {
    "densenet121-res224-all": Source(
        f"{_RELEASE}nih-pc-chex-mimic_ch-google-openi-kaggle-{_TRAINING}",
        "56524913dd16a906422e8d8b66a7a5c46be1d82eb7ac012d8103776f1aa68899",
        28_382_008,
    ),
    "densenet121-res224-mimic_ch": Source(
        f"{_RELEASE}mimic_ch-{_TRAINING}",
        "23b13a04459684ffa41247d068207a7657b4e1b4dec2b02431f5026bd75b1189",
        28_382_012,
    ),
    "densenet121-res224-chex": Source(f"{_RELEASE}chex-{_TRAINING}"),
    "densenet121-res224-mimic_nb": Source(f"{_RELEASE}mimic_nb-{_TRAINING}"),
    "densenet121-res224-nih": Source(f"{_RELEASE}nih-{_TRAINING}"),
    "densenet121-res224-pc": Source(f"{_RELEASE}pc-{_TRAINING}"),
    "densenet121-res224-rsna": Source(f"{_RELEASE}kaggle-{_TRAINING}"),
}
"""DenseNet121 of torchxrayvision (Cohen et al., MIDL 2022), by the names it gives them."""


def find_source(
    name: str,
    *,
    sha256: str | None = None,
    url: str | None = None,
    registry: Mapping[str, Source] = REGISTRY,
) -> Source:
    """Where a set of weights is fetched from, and which checksum it must have.

    Args:
        name: a key of the registry; with both `sha256` and `url` any other name as well.
        sha256: checksum to expect instead of the registered one; needed where none is registered.
        url: another address to fetch from.
        registry: the known sets.

    Raises:
        BcadvError: the name is unknown, or no checksum is known.
    """
    source = registry.get(name)
    if source is None and url and sha256:
        if not re.fullmatch(r"[\w.-]+", name):
            raise BcadvError(
                f"model.weights={name} names the file in the cache as well: give letters, digits, "
                ". _ or -."
            )
        return Source(url, sha256.lower())
    if source is None:
        near = difflib.get_close_matches(name, registry, n=3, cutoff=0.5) or sorted(registry)
        raise BcadvError(
            f"model.weights={name} is unknown; did you mean {', '.join(near)}? Weights of your own "
            "need model.weights_url= and model.weights_sha256=."
        )
    address = url or source.url
    expected = (sha256 or source.sha256 or "").lower()
    if not expected:
        raise BcadvError(
            f"No checksum of {name} is known, and a file that nobody vouches for is not loaded: "
            f"fetch {address}, decide whether you trust it, and give model.weights_sha256=<what "
            "`sha256sum` prints for it>."
        )
    size = source.size if expected == source.sha256 else None
    return replace(source, url=address, sha256=expected, size=size)
