import copy
import pickle
import random
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from skorch import NeuralNetClassifier
from skorch.dataset import Dataset
from torch import nn

from modal_balance._utils.torch_state import seeded
from modal_balance.estimators.early_stopping import DrawnBatches, WeightedCrossEntropy, train
from modal_balance.estimators.networks import MLP

# --- batches --------------------------------------------------------------------------------------


def drawn(seed=0, n=50, batch_size=32, samples_per_epoch=1000):
    X = torch.arange(float(n))[:, None]
    return DrawnBatches(Dataset(X, torch.arange(n)), batch_size, samples_per_epoch, seed)


def test_an_epoch_has_the_number_of_samples_asked_for_in_batches():
    sizes = [len(y) for _, y in drawn()]
    assert sizes == [32] * 31 + [8]


def test_rows_keep_their_labels():
    for X, y in drawn():
        assert torch.equal(X[:, 0].long(), y)


def test_draws_are_uniform_and_with_replacement():
    y = torch.cat([y for _, y in drawn(samples_per_epoch=50_000)])
    counts = torch.bincount(y, minlength=50).double()
    # 49 degrees of freedom: a value of 100 has a probability of about 2e-5.
    assert ((counts - 1000) ** 2 / 1000).sum() < 100
    few = torch.cat([y for _, y in drawn(samples_per_epoch=50)])
    assert len(few.unique()) < 50  # a permutation would have all


def test_epochs_differ_and_a_seed_repeats_them():
    first, second = drawn(seed=3), drawn(seed=3)
    epochs = [[torch.cat([y for _, y in batches]) for _ in range(2)] for batches in (first, second)]
    assert not torch.equal(epochs[0][0], epochs[0][1])
    assert torch.equal(torch.stack(epochs[0]), torch.stack(epochs[1]))
    assert not torch.equal(epochs[0][0], torch.cat([y for _, y in drawn(seed=4)]))


def test_drawing_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    list(drawn())
    assert torch.equal(torch.get_rng_state(), before)


# --- random state ---------------------------------------------------------------------------------


def test_seeded_repeats_inside_and_restores_outside():
    before = torch.get_rng_state()
    values = []
    for _ in range(2):
        with seeded(5, "cpu"):
            values.append(torch.rand(4))
    assert torch.equal(values[0], values[1])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_seeded_restores_after_an_exception(error):
    before = torch.get_rng_state()
    with pytest.raises(error), seeded(5, "cpu"):
        torch.rand(4)
        raise error
    assert torch.equal(torch.get_rng_state(), before)


# --- loss -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [None, [1.0, 5.0, 0.5]])
def test_without_smoothing_the_loss_is_torchs(weight):
    logits, y = torch.randn(20, 3, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 3
    weight = None if weight is None else torch.tensor(weight)
    expected = nn.CrossEntropyLoss(weight=weight)(logits, y)
    torch.testing.assert_close(WeightedCrossEntropy(weight=weight)(logits, y), expected)


def test_smoothing_spreads_labels_evenly_whatever_the_weights():
    logits, y = torch.randn(20, 3, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 3
    weight = torch.tensor([1.0, 5.0, 0.5])
    targets = 0.9 * torch.eye(3)[y] + 0.1 / 3
    rows = -(targets * torch.log_softmax(logits, 1)).sum(1)
    expected = (rows * weight[y]).sum() / weight[y].sum()
    loss = WeightedCrossEntropy(weight=weight, label_smoothing=0.1)(logits, y)
    torch.testing.assert_close(loss, expected)


# --- training -------------------------------------------------------------------------------------

LR, BATCH, SAMPLES, SEED = 1e-2, 16, 64, 11


def iris():
    X, y = load_iris(return_X_y=True)
    X = torch.tensor(StandardScaler().fit_transform(X), dtype=torch.float32)
    order = torch.randperm(len(X), generator=torch.Generator().manual_seed(0))
    X, y = X[order], torch.tensor(y)[order]
    return (X[:30], y[:30]), (X[30:80], y[30:80])


def new_net(**params):
    build = partial(MLP, 4, 3, hidden_layer_sizes=(8,), dropout=0.3)
    return NeuralNetClassifier(
        params.pop("module", build),
        criterion=params.pop("criterion", nn.CrossEntropyLoss),
        optimizer=torch.optim.Adam,
        lr=params.pop("lr", LR),
        batch_size=BATCH,
        iterator_train=params.pop("iterator_train", DrawnBatches),
        iterator_train__samples_per_epoch=SAMPLES,
        iterator_train__seed=SEED,
        train_split=None,
        callbacks="disable",
        verbose=0,
        **params,
    ).initialize()


HALVES = (slice(0, 16), slice(10, 22))


class GivenBatches:
    """An iterator_train without randomness: every epoch has the same two batches."""

    def __init__(self, dataset, **settings):
        self.X, self.y = dataset.X, dataset.y

    def __iter__(self):
        for half in HALVES:
            yield self.X[half], self.y[half]


@pytest.mark.parametrize("criterion", [nn.CrossEntropyLoss, WeightedCrossEntropy])
@pytest.mark.parametrize("weight", [[1.0, 1.0, 1.0], [0.5, 1.0, 4.0]])
def test_a_step_is_one_of_adam_on_the_weighted_loss(criterion, weight):
    (X, y), validation = iris()
    weight = torch.tensor(weight)
    net = new_net(module=partial(MLP, 4, 3, dropout=0.0), criterion=criterion,
                  criterion__weight=weight, iterator_train=GivenBatches)  # fmt: skip
    module = copy.deepcopy(net.module_)
    optimizer = torch.optim.Adam(module.parameters(), lr=LR)
    losses = []
    for half in HALVES:
        log_p = torch.log_softmax(module(X[half]), 1)[torch.arange(len(y[half])), y[half]]
        loss = -(weight[y[half]] * log_p).sum() / weight[y[half]].sum()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    train(net, (X, y), validation, max_epochs=1, patience=1)
    assert net.history[0, "train_loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert net.history[0, "batches", :, "train_batch_size"] == [16, 12]
    for name, value in module.state_dict().items():
        torch.testing.assert_close(net.module_.state_dict()[name], value)


@pytest.mark.parametrize("patience", [1, 3])
def test_training_stops_after_epochs_without_improvement(patience):
    training, validation = iris()
    with seeded(0, "cpu"):
        net = new_net(lr=0.1)
        n_epochs = train(net, training, validation, max_epochs=200, patience=patience)
    accuracies = net.history[:, "valid_acc"]
    assert n_epochs == len(accuracies) < 200
    waited = [epoch - int(np.argmax(accuracies[: epoch + 1])) for epoch in range(n_epochs)]
    assert waited[-1] == patience
    assert max(waited[:-1]) < patience


class Modes(nn.Module):
    """A linear network that records the number of rows in training and in eval mode."""

    def __init__(self):
        super().__init__()
        self.out = nn.Linear(4, 3)
        self.n_rows = {True: 0, False: 0}

    def forward(self, X):
        self.n_rows[self.training] += len(X)
        return self.out(X)


def test_dropout_is_on_in_training_and_off_in_validation():
    training, validation = iris()
    net = new_net(module=Modes())
    n_epochs = train(net, training, validation, max_epochs=5, patience=5)
    assert net.module_.n_rows == {True: n_epochs * SAMPLES, False: n_epochs * 50}


def test_the_best_epoch_is_restored_the_first_of_equals():
    training, (X_val, y_val) = iris()
    with seeded(2, "cpu"):
        net = new_net(lr=0.1)
        train(net, training, (X_val, y_val), max_epochs=50, patience=3)
    accuracies = net.history[:, "valid_acc"]
    best = int(np.argmax(accuracies))
    assert len(accuracies) == best + 1 + 3
    # Otherwise the test would be trivial: the best epoch is neither the last one nor the last tie.
    assert accuracies[-1] < accuracies[best] == max(accuracies[best + 1 :])
    with torch.no_grad():
        predicted = net.module_.eval()(X_val).argmax(1)
    assert (predicted == y_val).double().mean().item() == pytest.approx(accuracies[best])
    with seeded(2, "cpu"):
        shorter = new_net(lr=0.1)
        train(shorter, training, (X_val, y_val), max_epochs=best + 1, patience=3)
    for name, value in shorter.module_.state_dict().items():
        assert torch.equal(net.module_.state_dict()[name], value)


def test_recorded_loss_is_the_mean_over_the_batches():
    training, validation = iris()
    constant = nn.Linear(4, 3)
    nn.init.zeros_(constant.weight)
    nn.init.zeros_(constant.bias)
    net = new_net(module=constant, lr=1e-12)
    train(net, training, validation, max_epochs=2, patience=5)
    assert net.history[:, "train_loss"] == pytest.approx([np.log(3)] * 2, rel=1e-5)


def test_a_loss_that_is_not_finite_is_an_error():
    training, validation = iris()
    with pytest.raises(ValueError, match=r"loss became nan in epoch 1\..*lower learning_rate"):
        train(new_net(lr=1e30), training, validation, max_epochs=3, patience=3)


@pytest.mark.parametrize("verbose", [0, 1])
def test_progress_shows_only_when_asked_for(verbose, capsys):
    training, validation = iris()
    train(new_net(), training, validation, max_epochs=2, patience=3, verbose=verbose)
    out, err = capsys.readouterr()
    assert out == ""
    assert ("epochs" in err) == bool(verbose)
    assert bool(err) == bool(verbose)


def test_training_leaves_numpy_and_python_generators_alone():
    training, validation = iris()
    numpy_global = check_random_state(None)
    before = random.getstate(), pickle.dumps(numpy_global.get_state())
    train(new_net(), training, validation, max_epochs=2, patience=3)
    assert (random.getstate(), pickle.dumps(numpy_global.get_state())) == before
