"""The network of method `single-view`: what of space a picture says is inside of the object.

A residual network looks at the picture (He et al. 2016, ResNet-18), a feature pyramid brings what its late
stages understand back to where the early ones saw it (Lin et al. 2017), and a decoder answers for each point
of space from the features where the point is seen (Saito et al. 2019, "PIFu"; Xu et al. 2019, "DISN").

Frame: that of the picture, x right, y up, z towards the viewer; what is shown fills -REACH to REACH in x and
y, and its outline's longest side is 1 (see `framing`).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample, interpolate, leaky_relu, relu

REACH = 0.625
"""Half the side of the cube that is looked into."""
PIXELS = 128
"""Of the sides of a picture that it was trained with."""

_STAGES = (64, 128, 256, 512)  # channels, at full width
_PYRAMID = 256
_DECODER = (1024, 512, 256, 128)
_OCTAVES = 5  # of the frequencies that tell the decoder of places
_SLOPE = 0.02  # of LeakyReLU where its argument is negative


class Design(NamedTuple):
    """width: share of the published channels. pyramid: whether there is one; without, the last stage's
    features are all that there is.
    """

    width: float = 1.0
    pyramid: bool = True


class Network(nn.Module):
    """Pictures (B,4,S,S), linear in sRGB's values from 0 to 1, premultiplied, with their alpha; points
    (B,P,3).
    """

    def __init__(self, design: Design) -> None:
        super().__init__()
        stages = [round(design.width * channels) for channels in _STAGES]
        self.design = design
        self.backbone = _Backbone(stages)
        self.pyramid = _Pyramid(stages, round(design.width * _PYRAMID)) if design.pyramid else None
        seen = len(stages) * round(design.width * _PYRAMID) if design.pyramid else stages[-1]
        self.decoder = _Decoder(
            [seen + 3 + 6 * _OCTAVES, *(round(design.width * each) for each in _DECODER), 1]
        )

    def features(self, pictures: Tensor) -> list[Tensor]:
        """Maps (B,C,h,w) of what is seen where, the finest first."""
        stages: list[Tensor] = self.backbone(pictures)
        return self.pyramid(stages) if self.pyramid is not None else stages[-1:]

    def inside(self, maps: list[Tensor], points: Tensor) -> Tensor:
        """(B,P) logits of being inside."""
        at = torch.stack([points[..., 0], -points[..., 1]], dim=-1)[:, None] / REACH
        found = [
            grid_sample(each, at, mode="bilinear", padding_mode="border", align_corners=False)[:, :, 0]
            for each in maps
        ]
        x = torch.cat([*found, lifted(points).transpose(1, 2)], dim=1)
        logits: Tensor = self.decoder(x)[:, 0]
        return logits

    def shift(self, logits: float) -> None:
        """Add to all logits."""
        bias = self.decoder.layers[-1].bias
        assert isinstance(bias, nn.Parameter)
        bias.data += logits

    def forward(self, pictures: Tensor, points: Tensor) -> Tensor:
        """(B,P) logits of being inside."""
        return self.inside(self.features(pictures), points)


def lifted(points: Tensor) -> Tensor:
    """(B,P,3+6F) points (B,P,3), and sine and cosine of their coordinates in octaves (Tancik et al. 2020):
    three numbers alone are lost among hundreds of features.
    """
    angles = (
        points[..., None] * (torch.pi / (2 * REACH) * 2.0 ** torch.arange(_OCTAVES, device=points.device))
    ).flatten(2)
    return torch.cat([points / REACH, angles.sin(), angles.cos()], dim=2)


class _Block(nn.Module):
    """Two convolutions and what came in."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = _convolution(inputs, outputs, 3, stride)
        self.second = _convolution(outputs, outputs, 3, 1)
        same = inputs == outputs and stride == 1
        self.carried = nn.Identity() if same else _convolution(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return relu(self.second(relu(self.first(x))) + self.carried(x))


class _Backbone(nn.Module):
    """ResNet-18 for pictures of four channels."""

    def __init__(self, stages: list[int]) -> None:
        super().__init__()
        self.stem = _convolution(4, stages[0], 7, 2)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        inputs = [stages[0], *stages[:-1]]
        self.stages = nn.ModuleList(
            nn.Sequential(_Block(before, after, 1 if i == 0 else 2), _Block(after, after, 1))
            for i, (before, after) in enumerate(zip(inputs, stages, strict=True))
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.pool(relu(self.stem(x)))
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


class _Pyramid(nn.Module):
    """From the last stage to the first, each added to the one after it, enlarged."""

    def __init__(self, stages: list[int], channels: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(each, channels, 1) for each in stages)
        self.smooth = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in stages)

    def forward(self, stages: list[Tensor]) -> list[Tensor]:
        maps = [lateral(each) for lateral, each in zip(self.lateral, stages, strict=True)]
        for i in reversed(range(len(maps) - 1)):
            maps[i] = maps[i] + interpolate(maps[i + 1], size=maps[i].shape[2:], mode="nearest")
        return [smooth(each) for smooth, each in zip(self.smooth, maps, strict=True)]


class _Decoder(nn.Module):
    """Five layers over points (B,C,P), with batch norm and LeakyReLU after all but the last."""

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        pairs = list(pairwise(channels))
        self.layers = nn.ModuleList(nn.Conv1d(*pair, 1) for pair in pairs)
        self.norms = nn.ModuleList(nn.BatchNorm1d(after) for _, after in pairs[:-1])

    def forward(self, x: Tensor) -> Tensor:
        for layer, norm in zip(self.layers, self.norms, strict=False):
            x = leaky_relu(norm(layer(x)), _SLOPE)
        return self.layers[-1](x)  # type: ignore[no-any-return]


def _convolution(inputs: int, outputs: int, size: int, stride: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False),
        nn.BatchNorm2d(outputs),
    )


def fed(pictures: Any) -> Tensor:
    """(B,4,S,S) as the network wants them, of pictures (B,S,S,4) uint8, sRGB and alpha, not premultiplied."""
    x = torch.as_tensor(pictures).permute(0, 3, 1, 2).float() / 255
    return torch.cat([x[:, :3] * x[:, 3:], x[:, 3:]], dim=1)
