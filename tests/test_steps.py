import copy
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from toy import DIGITS

from modal_balance.estimators.networks import MLP
from modal_balance.estimators.stacked import StackedMLPs
from modal_balance.estimators.steps import train_steps

X = torch.tensor(DIGITS[0]).float()
Y = torch.tensor(DIGITS[1])
SETTINGS = {"n_steps": 30, "learning_rate": 0.01, "batch_size": 256, "label_smoothing": 0.05}


def networks(n=3, **parameters):
    torch.manual_seed(0)
    return [MLP(64, 10, **{"hidden_layer_sizes": (12, 7), **parameters}) for _ in range(n)]


class Wrapped(nn.Module):
    """A perceptron that is not known to be one."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, inputs):
        return self.network(inputs)


# --- gradients ------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(), (5,), (12, 7)])
def test_gradients_and_losses_are_those_of_autograd(sizes):
    nets = networks(hidden_layer_sizes=sizes, dropout=0.0)
    stack = StackedMLPs(nets, n_rows=20)
    inputs = torch.stack([X[i : i + 20] for i in (0, 20, 40)])
    targets = torch.softmax(torch.randn(3, 20, 10), dim=2)
    weights = torch.rand(3, 20)
    losses = stack.backward(inputs, targets, weights)
    for m, network in enumerate(nets):
        log_proba = torch.log_softmax(network(inputs[m]), dim=1)
        loss = -((log_proba * targets[m]).sum(1) * weights[m]).sum()
        torch.testing.assert_close(losses[m], loss.detach())
        loss.backward()
        for layer, weight, bias in zip(
            [part for part in network.layers if isinstance(part, nn.Linear)],
            stack.weights,
            stack.biases,
            strict=True,
        ):
            torch.testing.assert_close(weight.grad[m].T, layer.weight.grad, rtol=1e-4, atol=1e-6)
            torch.testing.assert_close(bias.grad[m, 0], layer.bias.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("p", [0.2, 0.5])
def test_dropout_keeps_the_share_it_should_and_the_mean_of_the_inputs(p):
    network = MLP(1000, 2, (), input_dropout=p)
    with torch.no_grad():
        network.layers[-1].weight.fill_(1.0)
        network.layers[-1].bias.zero_()
    stack = StackedMLPs([network], n_rows=200)
    inputs, targets = torch.ones(1, 200, 1000), torch.eye(2)[torch.zeros(200, dtype=int)][None]
    torch.manual_seed(0)
    stack.backward(inputs, targets, torch.ones(1, 200) / 200)
    kept = stack._inputs[0]
    assert kept.unique().tolist() == [0.0, 1.0]
    share = (kept > 0).double().mean().item()
    assert share == pytest.approx(1 - p, abs=0.005)  # 200,000 draws: a deviation of 0.001
    assert stack._logits(inputs).mean().item() == pytest.approx(1000, rel=0.01)  # the scale
    first = kept.clone()
    stack.backward(inputs, targets, torch.ones(1, 200) / 200)
    assert not torch.equal(first, stack._inputs[0])
    # Rows and columns are dropped independently of each other.
    rows = (first > 0).double()
    halves = rows[0, :100].flatten(), rows[0, 100:].flatten()
    assert abs(np.corrcoef(*halves)[0, 1]) < 0.02
    neighbours = rows[0, :, :-1].flatten(), rows[0, :, 1:].flatten()
    assert abs(np.corrcoef(*neighbours)[0, 1]) < 0.02


# --- training -------------------------------------------------------------------------------------


def test_side_by_side_is_as_one_after_the_other():
    rows = [torch.arange(50), torch.arange(30, 61), torch.arange(7)]
    weights = [torch.ones(10), torch.rand(10) + 0.5, torch.ones(10)]
    together = networks(dropout=0.0)
    alone = [Wrapped(copy.deepcopy(network)) for network in together]
    losses = train_steps(together, X, Y, rows, weights, **SETTINGS)
    expected = train_steps(alone, X, Y, rows, weights, **SETTINGS)
    assert losses.shape == (3, 30)
    torch.testing.assert_close(losses, expected, rtol=1e-3, atol=1e-4)
    for one, other in zip(together, alone, strict=True):
        for p, q in zip(one.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-3, atol=1e-3)


def test_a_step_is_one_of_adam_on_the_weighted_smoothed_loss():
    network = networks(1, dropout=0.0)[0]
    reference = copy.deepcopy(network)
    weight = torch.rand(10) + 0.5
    rows = torch.arange(40)
    train_steps([network], X, Y, [rows], [weight], **(SETTINGS | {"n_steps": 3}))
    optimizer = torch.optim.Adam(reference.parameters(), lr=0.01)
    targets = 0.95 * torch.eye(10)[Y[:40]] + 0.05 / 10
    for _ in range(3):
        rows_loss = -(torch.log_softmax(reference(X[:40]), 1) * targets).sum(1)
        loss = (rows_loss * weight[Y[:40]]).sum() / weight[Y[:40]].sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for p, q in zip(network.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("wrap", [lambda network: network, Wrapped])
def test_only_a_networks_own_rows_teach_it(wrap):
    rows, weights = [torch.arange(20), torch.arange(20, 40)], [torch.ones(10)] * 2
    fits = []
    for start in (0, 40):  # what the second network is given must not change the first
        nets = [wrap(network) for network in networks(2, dropout=0.0)]
        own = [rows[0], rows[1] + start]
        train_steps(nets, X, Y, own, weights, **SETTINGS)
        fits.append([network.state_dict() for network in nets])
    same = [
        all(torch.equal(one[m][name], other[m][name]) for name in one[m])
        for m in range(2)
        for one, other in [fits]
    ]
    assert same == [True, False]


def test_dropout_regularises_side_by_side_as_it_does_alone():
    losses = {}
    for dropout in (0.0, 0.5):
        for kind, wrap in (("stacked", lambda network: network), ("alone", Wrapped)):
            nets = [wrap(n) for n in networks(8, dropout=dropout, input_dropout=dropout)]
            settings = SETTINGS | {"n_steps": 100}
            every = [torch.arange(100)] * 8
            history = train_steps(nets, X, Y, every, [torch.ones(10)] * 8, **settings)
            losses[kind, dropout] = history[:, -20:].mean().item()
    assert losses["stacked", 0.5] > 2 * losses["stacked", 0.0]
    assert losses["stacked", 0.5] == pytest.approx(losses["alone", 0.5], rel=0.1)


@pytest.mark.parametrize("wrap", [lambda network: network, Wrapped])
def test_batches_are_drawn_with_their_weights(wrap):
    network = wrap(networks(1)[0])
    weight = torch.zeros(10)
    weight[3] = 1.0  # one class counts, in whatever batch
    rows = torch.arange(300)
    train_steps([network], X, Y, [rows], [weight + 1e-6], **(SETTINGS | {"batch_size": 64}))
    with torch.no_grad():
        predicted = network.eval()(X).argmax(1)
    assert (predicted == 3).all()


def test_a_convolution_with_batch_norm_trains():
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Flatten(), nn.Linear(144, 10),
    )  # fmt: skip
    train_steps([module], X, Y, [torch.arange(200)], [torch.ones(10)], **SETTINGS)
    with torch.no_grad():
        accuracy = (module.eval()(X[200:]).argmax(1) == Y[200:]).double().mean().item()
    assert accuracy > 0.7


@pytest.mark.parametrize("wrap", [lambda network: network, Wrapped])
def test_a_loss_that_is_not_finite_names_the_step(wrap):
    train = partial(train_steps, [wrap(networks(1)[0])], X, Y, [torch.arange(9)], [torch.ones(10)])
    with pytest.raises(ValueError, match=r"loss became nan in step 2\..*lower learning_rate"):
        train(**(SETTINGS | {"learning_rate": 1e30}))
