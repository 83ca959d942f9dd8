"""ResNet-50 v1.5: bottleneck residual network for 224 x 224 images, the stride on the 3 x 3 convolution.

Four stages of 3, 4, 6 and 3 bottlenecks (1 x 1 down, 3 x 3, 1 x 1 up by four), each convolution followed by batch
normalisation, a projection on the shortcut where the shape changes. At 224 x 224: 4 089 184 256 multiply-accumulates
and 25 557 032 parameters (scale and shift of the normalisations counted, their running statistics not).
"""

from __future__ import annotations

from dataclasses import dataclass

from onnx import ModelProto

from .builder import GraphBuilder

__all__ = ["RESNET50", "ResNetConfig", "build", "build_tiny"]

EXPANSION = 4


@dataclass(frozen=True, slots=True)
class ResNetConfig:
    """Bottlenecks per stage, width of the first stage, image edge, classes."""

    blocks: tuple[int, ...]
    width: int
    image: int
    classes: int


RESNET50 = ResNetConfig((3, 4, 6, 3), 64, 224, 1000)
TINY = ResNetConfig((1, 2), 8, 32, 10)


def build(batch: int = 1, config: ResNetConfig = RESNET50) -> ModelProto:
    """Class scores of `batch` images."""
    b = GraphBuilder("resnet")
    x = b.input("image", (batch, 3, config.image, config.image))
    with b.scope("stem"):
        x = b.op("Relu", _conv_norm(b, x, 3, config.width, 7, name="conv", stride=2))
        x = b.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = config.width
    for stage, blocks in enumerate(config.blocks):
        inner = config.width << stage
        for block in range(blocks):
            with b.scope(f"stage.{stage + 1}/block.{block}"):
                x = _bottleneck(b, x, channels, inner, stride=2 if stage and not block else 1)
            channels = inner * EXPANSION
    x = b.op("Flatten", b.op("GlobalAveragePool", x), axis=1)
    weight = b.weight("fc.weight", (config.classes, channels), 1 / channels)
    scores = b.op("Gemm", x, weight, b.weight("fc.bias", (config.classes,)), name="fc", transB=1)
    b.output(scores, "scores", (batch, config.classes))
    return b.model(f"ResNet v1.5 with stages of {config.blocks} bottlenecks at {config.image} x {config.image}")


def build_tiny() -> ModelProto:
    """Two narrow stages at 32 x 32, for tests."""
    return build(1, TINY)


def _bottleneck(b: GraphBuilder, x: str, channels: int, inner: int, *, stride: int) -> str:
    """relu(up(relu(conv3x3(relu(down x)))) + shortcut x)."""
    outer = inner * EXPANSION
    y = b.op("Relu", _conv_norm(b, x, channels, inner, 1, name="conv1"))
    y = b.op("Relu", _conv_norm(b, y, inner, inner, 3, name="conv2", stride=stride))
    y = _conv_norm(b, y, inner, outer, 1, name="conv3")
    if stride != 1 or channels != outer:
        x = _conv_norm(b, x, channels, outer, 1, name="shortcut", stride=stride)
    return b.op("Relu", b.op("Add", y, x, name="residual"), name="relu_out")


def _conv_norm(b: GraphBuilder, x: str, fan_in: int, fan_out: int, edge: int, *, name: str, stride: int = 1) -> str:
    pads = (edge // 2,) * 4
    y = b.conv(x, fan_in, fan_out, (edge, edge), name=name, stride=stride, pads=pads, bias=False)
    return b.batch_norm(y, fan_out, name=f"{name}_norm")
