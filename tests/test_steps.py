import copy
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from toy import DIGITS

from modal_balance.estimators.networks import MLP, StackedMLPs
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


# --- stacked networks -----------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(), (5,), (12, 7)])
def test_a_stack_predicts_as_its_networks_do_each_its_own_batch(sizes):
    nets = networks(hidden_layer_sizes=sizes, dropout=0.5, input_dropout=0.2)
    inputs = torch.stack([X[i : i + 20] for i in (0, 20, 40)])
    logits = StackedMLPs(nets).eval()(inputs)
    for m, network in enumerate(nets):
        torch.testing.assert_close(logits[m], network.eval()(inputs[m]), rtol=1e-4, atol=1e-5)


def test_unstacking_gives_the_networks_the_parameters_of_the_stack():
    nets = networks()
    stack = StackedMLPs(nets).eval()
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter += torch.randn_like(parameter)
    stack.unstack()
    logits = stack(X[:20].expand(3, -1, -1))
    for m, network in enumerate(nets):
        torch.testing.assert_close(logits[m], network.eval()(X[:20]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("p", [0.2, 0.5])
def test_dropout_keeps_the_share_it_should_and_the_mean_of_the_inputs(p):
    network = MLP(400, 400, (), input_dropout=p)  # the outputs are the inputs after dropout
    with torch.no_grad():
        network.layers[-1].weight.copy_(torch.eye(400))
        network.layers[-1].bias.zero_()
    stack, inputs = StackedMLPs([network]), torch.ones(1, 500, 400)
    torch.manual_seed(0)
    with torch.no_grad():
        first, second = (stack(inputs)[0] for _ in range(2))
    assert first.unique().tolist() == pytest.approx([0.0, 1 / (1 - p)])
    kept = (first > 0).double()
    # 200,000 draws: a deviation of 0.001.
    assert kept.mean().item() == pytest.approx(1 - p, abs=0.005)
    # Steps, rows and columns are dropped independently of each other.
    for one, other in (
        (kept, (second > 0).double()),
        (kept[:250], kept[250:]),
        (kept[:, :-1], kept[:, 1:]),
    ):
        assert abs(np.corrcoef(one.flatten(), other.flatten())[0, 1]) < 0.02


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
