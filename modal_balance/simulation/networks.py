"""Networks of the BALanCe paper's experiments, for ``MCDropoutClassifier(module=...)``.

Each takes the number of channels (for the MLP, of columns) and of classes, and returns logits.
Dropout is placed as in the paper, in layers whose masks
:class:`~modal_balance.DropoutHypotheses` can freeze.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from ..estimators.networks import MLP

__all__ = ["MLP", "VGG11", "ThreeBlockCNN", "TwoBlockCNN"]


class _Convolutional(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        # A CPU trains these networks a third faster in this format.
        self.layers = nn.Sequential(*layers)
        convert_conv2d_weight_memory_format(self.layers, torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, (n, n_classes), of images (n, n_channels, height, width)."""
        logits: Tensor = self.layers(images)
        return logits


class TwoBlockCNN(_Convolutional):
    """Two blocks of convolution, dropout, pooling and ReLU, and a hidden layer: for MNIST.

    Parameters
    ----------
    n_channels : int
        Channels of the images.
    n_classes : int
        Classes.
    dropout : float, default=0.5
        Probability of every dropout layer.
    n_hidden : int, default=128
        Units of the hidden layer.

    References
    ----------
    Kirsch, van Amersfoort, Gal, *BatchBALD*, NeurIPS 2019, section 4.2: the network that BALanCe
    (Zhang et al., ICLR 2023) uses for MNIST.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.simulation.networks import TwoBlockCNN
    >>> TwoBlockCNN(1, 10)(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self, n_channels: int, n_classes: int, dropout: float = 0.5, n_hidden: int = 128
    ) -> None:
        super().__init__(
            nn.Conv2d(n_channels, 32, 5),
            nn.Dropout2d(dropout),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(32, 64, 5),
            nn.Dropout2d(dropout),
            nn.MaxPool2d(2),
            nn.ReLU(),
            # No effect on images of 28 x 28, which are 4 x 4 here.
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(64 * 16, n_hidden),
            nn.Dropout(dropout),
            nn.ReLU(),
            nn.Linear(n_hidden, n_classes),
        )


class ThreeBlockCNN(_Convolutional):
    """Three blocks of convolution, dropout, pooling and ReLU, and a hidden layer: for EMNIST.

    Parameters
    ----------
    n_channels : int
        Channels of the images.
    n_classes : int
        Classes.
    dropout : float, default=0.5
        Probability of every dropout layer.
    n_hidden : int, default=512
        Units of the hidden layer.

    References
    ----------
    Kirsch, van Amersfoort, Gal, *BatchBALD*, NeurIPS 2019, section 4.4: blocks of 32, 64 and 128
    channels of size 3 and 512 hidden units. The padding is our interpretation.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.simulation.networks import ThreeBlockCNN
    >>> ThreeBlockCNN(1, 47)(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 47])
    """

    def __init__(
        self, n_channels: int, n_classes: int, dropout: float = 0.5, n_hidden: int = 512
    ) -> None:
        blocks: list[nn.Module] = []
        for n_in, n_out in ((n_channels, 32), (32, 64), (64, 128)):
            blocks += [
                nn.Conv2d(n_in, n_out, 3, padding=1),
                nn.Dropout2d(dropout),
                nn.MaxPool2d(2),
                nn.ReLU(),
            ]
        super().__init__(
            *blocks,
            nn.AdaptiveAvgPool2d(3),
            nn.Flatten(),
            nn.Linear(128 * 9, n_hidden),
            nn.Dropout(dropout),
            nn.ReLU(),
            nn.Linear(n_hidden, n_classes),
        )


class VGG11(_Convolutional):
    """VGG with eight convolutions and dropout between the last layers: for small colour images.

    Parameters
    ----------
    n_channels : int
        Channels of the images.
    n_classes : int
        Classes.
    dropout : float, default=0.5
        Probability of the two dropout layers, before and after the hidden layer.
    widths : sequence of 8 int, default=(64, 128, 256, 256, 512, 512, 512, 512)
        Channels of the convolutions. Pooling follows the first, second, fourth, sixth and eighth.

    References
    ----------
    Simonyan, Zisserman, *Very Deep Convolutional Networks*, ICLR 2015, configuration A. BALanCe
    uses it for CINIC-10. Batch normalisation and one hidden layer of 512 units are our choice.

    Examples
    --------
    >>> import torch
    >>> from modal_balance.simulation.networks import VGG11
    >>> VGG11(3, 10, widths=(4,) * 8)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        n_channels: int,
        n_classes: int,
        dropout: float = 0.5,
        widths: Sequence[int] = (64, 128, 256, 256, 512, 512, 512, 512),
    ) -> None:
        layers: list[nn.Module] = []
        n_in = n_channels
        for i, width in enumerate(widths):
            layers += [
                nn.Conv2d(n_in, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
            if i in (0, 1, 3, 5, 7):
                layers.append(nn.MaxPool2d(2))
            n_in = width
        super().__init__(
            *layers,
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(n_in, 512),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(512, n_classes),
        )
