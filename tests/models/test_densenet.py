"""torchxrayvision's network for colour: same features for grey images, logits out."""

from __future__ import annotations

import torch
from torch import nn
from torchxrayvision.models import DenseNet as XrayDenseNet

from bcadv.models.densenet import DenseNet121
from bcadv.models.preprocess import XrayRange

SMALL = {"growth_rate": 4, "block_config": (2, 2)}


def one_channel() -> XrayDenseNet:
    torch.manual_seed(1)
    net = XrayDenseNet(num_init_features=8, num_classes=18, in_channels=1, **SMALL)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.get_buffer("running_mean"), -1, 1)
            nn.init.uniform_(module.get_buffer("running_var"), 0.5, 2)
    return net.eval()


def test_a_grey_image_gives_the_features_it_gave_before() -> None:
    source = one_channel()
    net = DenseNet121(2, growth_rate=4, block_config=(2, 2), init_features=8).eval()
    net.load_features(source.state_dict())
    grey = torch.rand(3, 1, 48, 48)
    with torch.no_grad():
        expected = source.features2(grey * 2048 - 1024)
        found = net.net.features2(net.scale(grey.expand(-1, 3, -1, -1)))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


def test_the_head_stays_new_and_gives_logits() -> None:
    net = DenseNet121(5, growth_rate=4, block_config=(2, 2), init_features=8)
    head = net.net.classifier.weight.clone()
    net.load_features(one_channel().state_dict())
    assert torch.equal(net.net.classifier.weight, head)
    assert net.net.op_threshs is None
    image = torch.rand(2, 3, 32, 32)
    net.eval()
    features = net.net.features2(net.scale(image))
    torch.testing.assert_close(net(image), net.net.classifier(features))
    assert net(image).shape == (2, 5)


def test_scaling_maps_the_unit_interval_to_the_xray_range() -> None:
    ends = torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1, 1).expand(3, 3, 2, 2)
    assert XrayRange()(ends)[:, 0, 0, 0].tolist() == [-1024.0, 0.0, 1024.0]


def test_the_default_is_densenet121() -> None:
    parameters = sum(p.numel() for p in DenseNet121(1000).parameters())
    assert parameters == 7_978_856  # torchvision's densenet121 has as many
