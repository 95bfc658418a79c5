"""Small models that hide their gradient in all the usual ways, and images to judge them on."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from bcadv.perturb.attacks.pgd import PGD
from bcadv.perturb.threat import ThreatModel

SIDE = 8
EPS = (1.0, 4.0, 6.0)
"""Grey levels that the models are judged at."""

TRAINED_AT = 6 / 255
GAIN = 60


@dataclass(frozen=True)
class Images:
    """Images of two classes that two features tell apart, and whose patients they are of.

    A coarse one of 16 grey levels on average, which points to the other class in one image of
    forty, and a fine one of 1, which is always right: who uses it is right more often, and broken
    by a change of a few grey levels.
    """

    image: Tensor
    target: Tensor
    patients: tuple[int, ...]


@cache
def images(n: int, seed: int) -> Images:
    """Images, three of each patient, as many of one class as of the other."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.arange(n) % 2
    sign = (2.0 * target - 1)[:, None, None, None]
    coarse = torch.linspace(-1, 1, SIDE).sign().expand(1, 3, SIDE, SIDE)
    fine = torch.ones(1, 3, SIDE, SIDE)
    fine[..., ::2, 1::2] = fine[..., 1::2, ::2] = -1
    strength = 16 + 8 * torch.randn(n, 1, 1, 1, generator=generator)
    noise = torch.randn(n, 3, SIDE, SIDE, generator=generator) * 3
    # What varies along the fine feature hides nothing of it.
    noise = noise - (noise * fine).mean((1, 2, 3), keepdim=True) * fine
    image = 128 + sign * (strength * coarse + fine) + noise
    order = torch.randperm(n, generator=generator)
    image, target = (image / 255).clamp(0, 1)[order], target[order]
    return Images(image, target, tuple(k // 3 for k in range(n)))


class Scaled(nn.Module):
    """Pixels in [0, 1] -> numbers around 0, sharpened: so fine features count as much as coarse."""

    def forward(self, image: Tensor) -> Tensor:
        blurred = functional.avg_pool2d(image, 3, stride=1, padding=1, count_include_pad=False)
        return (image - 0.5) * 8 + (image - blurred) * GAIN


def network(seed: int) -> nn.Sequential:
    """A network of one hidden layer."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            Scaled(), nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 24), nn.ReLU(), nn.Linear(24, 2)
        )


@cache
def trained(seed: int, *, robust: bool = False, data: int = 0) -> nn.Sequential:
    """A network trained on images of its own, plainly or on PGD's adversarial images.

    Args:
        seed: of its weights and its order of images.
        robust: whether it is trained on PGD's images (Madry et al. 2018).
        data: seed of the images.
    """
    seen = images(600, 1000 + data)
    net = network(seed)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    attack = PGD(ThreatModel(TRAINED_AT), steps=5, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(12):
        for rows in torch.randperm(len(seen.image), generator=generator).chunk(6):
            image, target = seen.image[rows], seen.target[rows]
            if robust:
                image = attack(net, image, target, draw=epoch)
            optimizer.zero_grad()
            loss = functional.cross_entropy(net(image), target)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return net.eval()


class Changed(nn.Module):
    """A network whose images or logits are changed."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def logits(self, image: Tensor) -> Tensor:
        """Of the network itself."""
        found: Tensor = self.net(image)
        return found


class Quantised(Changed):
    """Its input is rounded to 64 grey levels, and rounding has a gradient of zero."""

    def forward(self, image: Tensor) -> Tensor:
        return self.logits((image * 63).round() / 63)


class Times1000(Changed):
    """Its logits are so large that softmax is saturated."""

    def forward(self, image: Tensor) -> Tensor:
        return self.logits(image) * 1000


class Drawn(Changed):
    """Its image is shifted at random before it is looked at, as in randomised smoothing."""

    def forward(self, image: Tensor) -> Tensor:
        return self.logits(image) + 6 * torch.randn(len(image), 2)


class Detached(Changed):
    """What decides has no gradient; a branch of no weight has one."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__(net)
        self.branch = network(999)

    def forward(self, image: Tensor) -> Tensor:
        followed: Tensor = self.branch(image)
        return self.logits(image.detach()) + 1e-3 * followed


class Jpeg(Changed):
    """Its images are saved as JPEG, which no gradient survives."""

    def forward(self, image: Tensor) -> Tensor:
        return self.logits(torch.stack([self._saved(one) for one in image.numpy()]))

    def _saved(self, one: npt.NDArray[np.float32]) -> Tensor:
        buffer = io.BytesIO()
        grey = (one.transpose(1, 2, 0) * 255).round().astype(np.uint8)
        Image.fromarray(grey).save(buffer, "JPEG", quality=98, subsampling=0)
        back = np.asarray(Image.open(buffer), dtype=np.float32)
        return torch.from_numpy(back.transpose(2, 0, 1) / 255)


class OneClass(Changed):
    """It names the same class always, by far."""

    def forward(self, image: Tensor) -> Tensor:
        return self.logits(image) * 1e-3 + torch.tensor([0.0, 50.0])


class Outputs(Changed):
    """Its outputs are probabilities."""

    def forward(self, image: Tensor) -> Tensor:
        return self.logits(image).softmax(1)
