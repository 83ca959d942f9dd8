"""U-Net as published (Ronneberger et al., 2015): 572 x 572 in, 388 x 388 out, convolutions without padding.

Four times down (two 3 x 3 convolutions, 2 x 2 max pooling), four times up (2 x 2 transposed convolution that halves
the channels, the encoder's map of the same scale cropped and concatenated, two 3 x 3 convolutions), and a 1 x 1
convolution to two classes. 31 030 658 parameters; 150 428 424 448 multiply-accumulates.
"""

from __future__ import annotations

from dataclasses import dataclass

from onnx import ModelProto

from .builder import GraphBuilder

__all__ = ["UNET", "UNetConfig", "build", "build_tiny"]


@dataclass(frozen=True, slots=True)
class UNetConfig:
    """Channels of the first level (doubling with each of `depth` levels down), image edge and channels, classes."""

    width: int
    depth: int
    image: int
    channels: int
    classes: int


UNET = UNetConfig(64, 4, 572, 1, 2)
TINY = UNetConfig(4, 2, 44, 1, 2)


def build(batch: int = 1, config: UNetConfig = UNET) -> ModelProto:
    """Class scores of every pixel of `batch` images."""
    b = GraphBuilder("unet")
    x = b.input("image", (batch, config.channels, config.image, config.image))
    edge, channels = config.image, config.channels
    skips: list[tuple[str, int]] = []
    for level in range(config.depth):
        width = config.width << level
        with b.scope(f"down.{level}"):
            x, edge, channels = _double_conv(b, x, channels, width), edge - 4, width
            skips.append((x, edge))
            x, edge = b.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), edge // 2
    with b.scope("bottom"):
        x, edge, channels = _double_conv(b, x, channels, 2 * channels), edge - 4, 2 * channels
    for level, (skip, skip_edge) in reversed(list(enumerate(skips))):
        with b.scope(f"up.{level}"):
            x, edge, channels = _up(b, x, skip, skip_edge, 2 * edge, channels), 2 * edge - 4, channels // 2
    scores = b.conv(x, channels, config.classes, (1, 1), name="classify")
    b.output(scores, "scores", (batch, config.classes, edge, edge))
    return b.model(f"U-Net of depth {config.depth}, {config.image} x {config.image} to {edge} x {edge}")


def build_tiny() -> ModelProto:
    """Two narrow levels at 44 x 44, for tests."""
    return build(1, TINY)


def _double_conv(b: GraphBuilder, x: str, fan_in: int, fan_out: int) -> str:
    """Two unpadded 3 x 3 convolutions with ReLU: the map loses two pixels on every side."""
    x = b.op("Relu", b.conv(x, fan_in, fan_out, (3, 3), name="conv1"), name="relu1")
    return b.op("Relu", b.conv(x, fan_out, fan_out, (3, 3), name="conv2"), name="relu2")


def _up(b: GraphBuilder, x: str, skip: str, skip_edge: int, edge: int, channels: int) -> str:
    """Doubles the map to `edge`, joins the centre of `skip`, and convolves down to half the channels."""
    half = channels // 2
    weight = b.weight("upsample.weight", (channels, half, 2, 2), 1 / channels)
    bias = b.weight("upsample.bias", (half,))
    x = b.op("ConvTranspose", x, weight, bias, name="upsample", kernel_shape=[2, 2], strides=[2, 2])
    begin = (skip_edge - edge) // 2
    starts, ends = b.ints(begin, begin), b.ints(begin + edge, begin + edge)
    cropped = b.op("Slice", skip, starts, ends, b.ints(2, 3), name="crop")
    return _double_conv(b, b.op("Concat", cropped, x, axis=1), channels, half)
