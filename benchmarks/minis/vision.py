"""Networks on pictures."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from transformers import ConvNextConfig, ConvNextModel, SwinConfig, SwinModel, ViTConfig, ViTForImageClassification

from .mini import Builder, Mini, Outputs

__all__ = ["MINIS"]


def _picture(size: int) -> dict[str, torch.Tensor]:
    return {"pixel_values": torch.randn(1, 3, size, size)}


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 around a shortcut."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.body = nn.Sequential(
            nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
            nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = nn.functional.relu(self.body(x) + self.shortcut(x))
        return output


def _resnet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
        Bottleneck(8, 4, 1), Bottleneck(16, 8, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip


def resnet() -> Mini:
    return Mini(_resnet(), {"input": torch.randn(1, 3, 32, 32)}, ("logits",))


def resnet_free_batch() -> Mini:
    """The batch stays symbolic, as most published classifiers have it."""
    return Mini(_resnet(), {"input": torch.randn(2, 3, 32, 32)}, ("logits",), {"input": {0: "batch"}})


class Inverted(nn.Module):
    """MobileNetV3's block: expand, depthwise, squeeze and excite, project."""

    def __init__(self, inputs: int, width: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.expand = nn.Sequential(nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width), nn.Hardswish())
        self.depth = nn.Sequential(
            nn.Conv2d(width, width, 5, stride, 2, groups=width, bias=False), nn.BatchNorm2d(width), nn.Hardswish()
        )
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, 8, 1), nn.ReLU(), nn.Conv2d(8, width, 1), nn.Hardsigmoid()
        )
        self.project = nn.Sequential(nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = self.depth(self.expand(x))
        narrow: torch.Tensor = self.project(wide * self.gate(wide))
        return narrow + x if narrow.shape == x.shape else narrow


def mobilenet_v3() -> Mini:
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.Hardswish(), Inverted(8, 16, 8, 1), Inverted(8, 24, 12, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 16), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(16, 10),
    )  # fmt: skip
    return Mini(module, {"input": torch.randn(1, 3, 32, 32)}, ("logits",))


class Shuffle(nn.Module):
    """ShuffleNetV2's unit: split, convolve one half, join, shuffle channels."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        half = width // 2
        self.branch = nn.Sequential(
            nn.Conv2d(half, half, 1), nn.ReLU(), nn.Conv2d(half, half, 3, 1, 1, groups=half), nn.Conv2d(half, half, 1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left, right = x.chunk(2, dim=1)
        joined = torch.cat([left, self.branch(right)], 1)
        batch, channels, height, width = joined.shape
        return joined.view(batch, 2, channels // 2, height, width).transpose(1, 2).flatten(1, 2)


def shufflenet() -> Mini:
    return Mini(nn.Sequential(Shuffle(), Shuffle()), {"input": torch.randn(1, 16, 8, 8)})


class UNet(nn.Module):
    """Two levels; one way up by transposed convolution, one by bilinear interpolation."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.down1, self.down2 = self._block(3, width), self._block(width, 2 * width)
        self.bottom = self._block(2 * width, 4 * width)
        self.up2 = nn.ConvTranspose2d(4 * width, 2 * width, 2, stride=2)
        self.join2 = self._block(4 * width, 2 * width)
        self.up1 = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.join1 = self._block(3 * width, width)
        self.head = nn.Conv2d(width, 2, 1)

    @staticmethod
    def _block(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1), nn.InstanceNorm2d(outputs), nn.LeakyReLU(0.1),
        )  # fmt: skip

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        first = self.down1(pixel_values)
        second = self.down2(nn.functional.max_pool2d(first, 2))
        bottom = self.bottom(nn.functional.max_pool2d(second, 2))
        joined = self.join2(torch.cat([second, self.up2(bottom)], 1))
        output: torch.Tensor = self.head(self.join1(torch.cat([first, self.up1(joined)], 1)))
        return output


def unet() -> Mini:
    return Mini(UNet(), _picture(16), ("mask",))


def vit() -> Mini:
    config = ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=32, patch_size=8
    )
    return Mini(Outputs(ViTForImageClassification(config), ["pixel_values"], ["logits"]), _picture(32), ("logits",))


def swin() -> Mini:
    """Shifted windows: rolls, window partitions and masks."""
    config = SwinConfig(
        image_size=32, patch_size=2, embed_dim=16, depths=[2, 2], num_heads=[2, 4], window_size=4, mlp_ratio=2.0
    )
    return Mini(Outputs(SwinModel(config), ["pixel_values"], ["last_hidden_state"]), _picture(32), ("state",))


def convnext() -> Mini:
    config = ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1])
    return Mini(Outputs(ConvNextModel(config), ["pixel_values"], ["last_hidden_state"]), _picture(64), ("state",))


class Residual(nn.Module):
    """A block of a diffusion U-Net: group normalisation, SiLU, a time embedding, attention over pixels."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.norm, self.conv = nn.GroupNorm(4, width), nn.Conv2d(width, width, 3, padding=1)
        self.time, self.heads = nn.Linear(8, width), nn.MultiheadAttention(width, 2, batch_first=True)
        self.up = nn.Upsample(scale_factor=2.0, mode="nearest")

    def forward(self, latent: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        value = self.conv(nn.functional.silu(self.norm(latent))) + self.time(step)[:, :, None, None]
        flat = value.flatten(2).transpose(1, 2)
        mixed = self.heads(flat, flat, flat, need_weights=False)[0].transpose(1, 2).reshape(value.shape)
        output: torch.Tensor = self.up(latent + mixed)
        return output


def diffusion() -> Mini:
    return Mini(Residual(), {"latent": torch.randn(1, 16, 8, 8), "step": torch.randn(1, 8)})


MINIS: Mapping[str, Builder] = {
    "resnet": resnet, "resnet-free-batch": resnet_free_batch, "mobilenetv3": mobilenet_v3, "shufflenet": shufflenet,
    "unet": unet, "vit": vit, "swin": swin, "convnext": convnext, "diffusion": diffusion,
}  # fmt: skip
