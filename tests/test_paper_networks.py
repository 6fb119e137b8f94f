from functools import partial

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from toy import DIGITS

from modal_balance import MCDropoutClassifier, draw_hypotheses
from modal_balance.simulation.networks import VGG11, ThreeBlockCNN, TwoBlockCNN

X = np.kron(DIGITS[0].reshape(-1, 1, 8, 8), np.ones((1, 1, 4, 4)))[:, :, 2:-2, 2:-2]  # 28 x 28
X, y = X.astype(np.float32), DIGITS[1]
SMALL_VGG = partial(VGG11, widths=(8, 8, 16, 16, 16, 16, 16, 16))


@pytest.mark.parametrize(("module", "size"), [(TwoBlockCNN, 28), (ThreeBlockCNN, 28), (VGG11, 32)])
@pytest.mark.parametrize("n_channels", [1, 3])
def test_shapes_and_gradients(module, size, n_channels):
    network = module(n_channels, 7)
    logits = network(torch.randn(3, n_channels, size, size))
    assert logits.shape == (3, 7)
    logits.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_sizes_of_the_published_networks():
    def n_parameters(network):
        return sum(p.numel() for p in network.parameters())

    # Layer by layer: weights and biases of the convolutions, then of the linear layers.
    two = (32 * 25 + 32) + (64 * 32 * 25 + 64) + (1024 * 128 + 128) + (128 * 10 + 10)
    assert n_parameters(TwoBlockCNN(1, 10)) == two
    three = (32 * 9 + 32) + (64 * 32 * 9 + 64) + (128 * 64 * 9 + 128)
    three += (1152 * 512 + 512) + (512 * 47 + 47)
    assert n_parameters(ThreeBlockCNN(1, 47)) == three
    assert sum(isinstance(m, torch.nn.Conv2d) for m in VGG11(3, 10).modules()) == 8


@pytest.mark.parametrize("module", [TwoBlockCNN, ThreeBlockCNN, SMALL_VGG])
def test_they_learn_and_their_hypotheses_differ_and_repeat(module):
    images = X if module is not SMALL_VGG else np.pad(X, ((0, 0), (0, 0), (2, 2), (2, 2)))
    classifier = MCDropoutClassifier(
        module=partial(module, dropout=0.2), n_steps=40, batch_size=32, learning_rate=0.003,
        validation=None, n_samples=10, random_state=0,
    ).fit(images[:150], y[:150])  # fmt: skip
    assert classifier.score(images[150:250], y[150:250]) > 0.6
    proba = draw_hypotheses(classifier, 4, random_state=0).predict_proba_samples(images[:20])
    again = draw_hypotheses(classifier, 4, random_state=0).predict_proba_samples(images[:20])
    assert torch.equal(proba, again)
    assert (proba.std(0) > 1e-3).any()


# Multiplications and additions of the convolutions behind the first dropout layer, for one image.
BEHIND = {
    TwoBlockCNN: 2 * 64 * 32 * 25 * 8 * 8,
    ThreeBlockCNN: 2 * (64 * 32 * 9 * 14 * 14 + 128 * 64 * 9 * 7 * 7),
    SMALL_VGG: 0,
}


@pytest.mark.parametrize("module", BEHIND)
def test_what_stands_before_the_first_dropout_layer_is_computed_once(module):
    classifier = MCDropoutClassifier(module=module, n_steps=1, validation=None, random_state=0)
    images = X if module is not SMALL_VGG else np.pad(X, ((0, 0), (0, 0), (2, 2), (2, 2)))
    classifier.fit(images[:30], y[:30])
    flops = {}
    for n_samples in (3, 5):
        hypotheses = draw_hypotheses(classifier, n_samples, random_state=0)
        with FlopCounterMode(display=False) as counter:
            hypotheses.predict_proba_samples(images[:4])
        flops[n_samples] = counter.get_flop_counts()["Global"][torch.ops.aten.convolution]
    assert flops[5] - flops[3] == (5 - 3) * 4 * BEHIND[module]
