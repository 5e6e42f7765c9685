"""The convolutional networks of published reports, layer for layer, as plain values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Block:
    """One convolution of a CNN, and what stands beside it in its block."""

    channels: int
    kernel: int = 3  # pixels a side
    stride: int = 1
    padding: int = 1  # pixels on every side
    pool: tuple[int, int] | None = (2, 2)  # kernel and stride of the max-pool
    norm: bool = True  # whether it may have a batch norm
    drop: bool = True  # whether it may have dropout


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The blocks of a CNN, and the units of the hidden linear layers behind them."""

    blocks: tuple[Block, ...]
    hidden: tuple[int, ...] = ()


def pyramid(width: int, depth: int) -> Shape:
    """Return blocks that double the channels and halve height and width."""
    blocks = [Block(channels=width * 2**index) for index in range(depth)]
    return Shape(blocks=tuple(blocks))


_TINY_STEM = Block(
    channels=32, pool=None, norm=False, drop=False
)  # given by the course; its inside is not shown

PRESETS: dict[str, Shape] = {
    # CIFAR-10: 32, 30, 14, 12, 5 pixels, so 64 * 5 * 5 values reach the logits.
    "cifar10": Shape(
        blocks=(
            Block(channels=128, padding=0, pool=(3, 2)),
            Block(channels=64, padding=0, pool=(3, 2)),
        )
    ),
    # MNIST: 512 * 7 * 7 values, three linear layers.
    "mnist_wide": Shape(
        blocks=(Block(channels=32), Block(channels=128), Block(channels=512, pool=None)),
        hidden=(1024, 256),
    ),
    # Tiny-ImageNet, the report's final one: 64, 65, 32, 33, 16, 17, 8, 8, 3 pixels.
    "tinyimagenet": Shape(
        blocks=(
            _TINY_STEM,
            Block(channels=64, kernel=2, pool=(3, 2)),
            Block(channels=192, kernel=2, pool=(3, 2)),
            Block(channels=256, kernel=2, pool=(3, 2)),
            Block(channels=256, pool=(3, 2)),
        )
    ),
    # The same report's earlier ones, which failed there: dropout before every norm, ...
    "tinyimagenet_dropout": Shape(
        blocks=(
            Block(channels=32, norm=False, drop=False),
            Block(channels=64, kernel=5, padding=0),
            Block(channels=512),
            Block(channels=512, kernel=2, padding=0),
        ),
        hidden=(3 * 3 * 512,),
    ),
    # ... and five strided 5x5 convolutions with two linear layers; their widths are not shown.
    "tinyimagenet_alexnet": Shape(
        blocks=tuple(
            Block(
                channels=channels, kernel=5, stride=2, padding=2, pool=None, norm=False, drop=False
            )
            for channels in (32, 64, 128, 256, 256)
        ),
        hidden=(1024,),
    ),
}
