"""MobileNetV2 (width 1.0, 224 x 224): inverted residuals with depthwise convolutions and linear bottlenecks.

Each block widens by `t` (1 x 1), filters each channel alone (3 x 3 depthwise), and projects down without activation;
blocks of stride 1 and equal width add their input. The table of (t, c, n, s) is that of the paper (Sandler et al.,
2018, Table 2). 300 774 272 multiply-accumulates and 3 504 872 parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

from onnx import ModelProto

from .builder import GraphBuilder

__all__ = ["MOBILENETV2", "MobileNetConfig", "Stage", "build", "build_tiny"]


@dataclass(frozen=True, slots=True)
class Stage:
    """`repeats` blocks to `channels` channels; the first has the stride."""

    expansion: int
    channels: int
    repeats: int
    stride: int


@dataclass(frozen=True, slots=True)
class MobileNetConfig:
    """Widths of stem and last convolution, the stages between, image edge, classes."""

    stem: int
    stages: tuple[Stage, ...]
    last: int
    image: int
    classes: int


MOBILENETV2 = MobileNetConfig(
    32,
    (
        Stage(1, 16, 1, 1),
        Stage(6, 24, 2, 2),
        Stage(6, 32, 3, 2),
        Stage(6, 64, 4, 2),
        Stage(6, 96, 3, 1),
        Stage(6, 160, 3, 2),
        Stage(6, 320, 1, 1),
    ),
    1280,
    224,
    1000,
)
TINY = MobileNetConfig(8, (Stage(1, 4, 1, 1), Stage(6, 8, 2, 2)), 32, 32, 10)


def build(batch: int = 1, config: MobileNetConfig = MOBILENETV2) -> ModelProto:
    """Class scores of `batch` images."""
    b = GraphBuilder("mobilenetv2")
    x = b.input("image", (batch, 3, config.image, config.image))
    x = _conv_norm_relu6(b, x, 3, config.stem, 3, name="stem", stride=2)
    channels = config.stem
    blocks = [(stage, i) for stage in config.stages for i in range(stage.repeats)]
    for index, (stage, repeat) in enumerate(blocks):
        with b.scope(f"block.{index}"):
            x = _inverted_residual(b, x, channels, stage, stride=1 if repeat else stage.stride)
        channels = stage.channels
    x = _conv_norm_relu6(b, x, channels, config.last, 1, name="last")
    x = b.op("Flatten", b.op("GlobalAveragePool", x), axis=1)
    weight = b.weight("classifier.weight", (config.classes, config.last), 1 / config.last)
    scores = b.op("Gemm", x, weight, b.weight("classifier.bias", (config.classes,)), name="classifier", transB=1)
    b.output(scores, "scores", (batch, config.classes))
    return b.model(f"MobileNetV2 at {config.image} x {config.image}")


def build_tiny() -> ModelProto:
    """Three narrow blocks at 32 x 32, for tests."""
    return build(1, TINY)


def _inverted_residual(b: GraphBuilder, x: str, channels: int, stage: Stage, *, stride: int) -> str:
    wide = channels * stage.expansion
    y = x
    if stage.expansion != 1:
        y = _conv_norm_relu6(b, y, channels, wide, 1, name="expand")
    y = _conv_norm_relu6(b, y, wide, wide, 3, name="depthwise", stride=stride, groups=wide)
    y = b.conv(y, wide, stage.channels, (1, 1), name="project", bias=False)
    y = b.batch_norm(y, stage.channels, name="project_norm")
    if stride == 1 and channels == stage.channels:
        y = b.op("Add", x, y, name="residual")
    return y


def _conv_norm_relu6(
    b: GraphBuilder, x: str, fan_in: int, fan_out: int, edge: int, *, name: str, stride: int = 1, groups: int = 1
) -> str:
    pads = (edge // 2,) * 4
    y = b.conv(x, fan_in, fan_out, (edge, edge), name=name, stride=stride, pads=pads, groups=groups, bias=False)
    y = b.batch_norm(y, fan_out, name=f"{name}_norm")
    return b.op("Clip", y, b.scalar(0.0), b.scalar(6.0), name=f"{name}_relu6")
