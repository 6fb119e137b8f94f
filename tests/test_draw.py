import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from skorch import NeuralNet, NeuralNetBinaryClassifier, NeuralNetClassifier
from skorch.dataset import Dataset
from torch import nn
from toy import digits, fast_classifier, fitted_classifier, fitted_net, skorch_net

from modal_balance import DropoutHypotheses, UnseenDropoutWarning, draw_hypotheses
from modal_balance.hypotheses.validation import validation_error, validation_error_on

S = 6


def samples(estimator, X, n_samples=S, random_state=0):
    return draw_hypotheses(estimator, n_samples, random_state=random_state).predict_proba_samples(X)


# --- skorch nets ----------------------------------------------------------------------------------


def test_samples_equal_passes_with_the_masks_applied_by_hand():
    X, _ = digits()
    net = fitted_net()
    proba = DropoutHypotheses(net, S, seed=3).predict_proba_samples(X)
    assert proba.shape == (S, len(X), 4)
    assert proba.dtype == torch.float32
    linear, relu, _, out = net.module_
    for draw in range(S):
        uniform = np.random.default_rng([3, 0, 0, draw]).random(32, dtype=np.float32)
        mask = torch.from_numpy(uniform >= 0.5).float() / 0.5
        with torch.no_grad():
            expected = torch.softmax(out(relu(linear(torch.from_numpy(X))) * mask), -1)
        assert torch.allclose(proba[draw], expected, atol=1e-6)


def test_the_mean_approaches_that_of_ordinary_dropout():
    X, _ = digits()
    net = fitted_net()
    mean = samples(net, X[:20], n_samples=2000).mean(0)
    with torch.no_grad():
        net.module_.train()
        passes = [torch.softmax(net.module_(torch.from_numpy(X[:20])), -1) for _ in range(2000)]
    assert torch.allclose(mean, torch.stack(passes).mean(0), atol=0.02)


def test_a_row_is_predicted_alike_alone_shuffled_and_split():
    X, _ = digits()
    hypotheses = draw_hypotheses(fitted_net(), S, random_state=0)
    whole = hypotheses.predict_proba_samples(X)
    order = np.random.default_rng(0).permutation(len(X))
    assert torch.allclose(hypotheses.predict_proba_samples(X[order]), whole[:, order], atol=1e-6)
    for part in (slice(5, 6), slice(100, 350)):
        assert torch.allclose(hypotheses.predict_proba_samples(X[part]), whole[:, part], atol=1e-6)


def test_the_seed_decides_the_draw():
    X, _ = digits()
    net = fitted_net()
    assert torch.equal(samples(net, X[:5]), samples(net, X[:5]))
    assert not torch.equal(samples(net, X[:5], random_state=1), samples(net, X[:5]))
    state = np.random.RandomState(0)
    assert not torch.equal(
        samples(net, X[:5], random_state=state), samples(net, X[:5], random_state=state)
    )


def test_float64_evaluates_a_copy_with_the_same_masks():
    X, _ = digits()
    net = fitted_net()
    single = DropoutHypotheses(net, S, seed=0).predict_proba_samples(X)
    double = DropoutHypotheses(net, S, seed=0, dtype=torch.float64).predict_proba_samples(X)
    assert double.dtype == torch.float64
    assert torch.allclose(single.double(), double, atol=1e-6)
    assert next(net.module_.parameters()).dtype == torch.float32


def test_pickled_hypotheses_are_the_same():
    X, _ = digits()
    hypotheses = draw_hypotheses(fitted_net(), S, random_state=0)
    copy = pickle.loads(pickle.dumps(hypotheses))
    assert torch.equal(copy.predict_proba_samples(X), hypotheses.predict_proba_samples(X))


class Named(nn.Module):
    """A module with named inputs, as for dicts and DataFrames."""

    def __init__(self):
        super().__init__()
        self.hidden, self.drop, self.out = nn.Linear(64, 16), nn.Dropout(0.5), nn.Linear(16, 4)

    def forward(self, left, right):
        return self.out(self.drop(torch.relu(self.hidden(torch.cat([left, right], 1)))))


class Columns(nn.Module):
    """One argument for each column of a DataFrame."""

    def __init__(self):
        super().__init__()
        self.drop, self.out = nn.Dropout(0.5), nn.Linear(2, 4)

    def forward(self, a, b):
        return self.out(self.drop(torch.cat([a, b], 1)))


def test_every_kind_of_skorch_input_gives_the_same_samples():
    X, y = digits()
    net = fitted_net()
    expected = samples(net, X)
    for same in (torch.from_numpy(X), X.astype(np.float64), sparse.csr_matrix(X), Dataset(X)):
        assert torch.allclose(samples(net, same), expected, atol=1e-6)


def test_dicts_of_arrays_reach_the_module_by_name():
    X, y = digits()
    torch.manual_seed(0)
    parts = {"left": X[:, :30], "right": torch.from_numpy(X[:, 30:])}
    net = skorch_net(Named()).fit({"left": X[:40, :30], "right": X[:40, 30:]}, y[:40])
    proba = samples(net, parts)
    assert proba.shape == (S, len(X), 4)
    one = {"left": X[7:8, :30], "right": X[7:8, 30:]}
    assert torch.allclose(samples(net, one), proba[:, 7:8], atol=1e-6)


def test_data_frames_reach_the_module_by_column():
    X, y = digits()
    frame = pd.DataFrame(X[:, 18:20], columns=["a", "b"], index=np.arange(len(X)) * 3 + 7)
    net = skorch_net(Columns()).fit(frame[:40], y[:40])
    proba = samples(net, frame)
    as_dict = {"a": X[:, 18:19], "b": X[:, 19:20]}
    assert torch.allclose(proba, samples(net, as_dict), atol=1e-6)


def test_images_pass_through_a_convolutional_net():
    X, y = digits()
    images = X.reshape(-1, 1, 8, 8)
    module = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Dropout2d(0.5), nn.Flatten(), nn.Dropout(0.2),
        nn.Linear(216, 4),
    )  # fmt: skip
    net = skorch_net(module).fit(images[:40], y[:40])
    proba = samples(net, images)
    assert proba.shape == (S, len(X), 4)
    assert torch.allclose(samples(net, images[300:310]), proba[:, 300:310], atol=1e-6)


def test_a_custom_dataset_is_read_through_the_nets_iterator():
    class Halved(Dataset):
        def transform(self, X, y):
            return super().transform(X / 2, y)

    X, _ = digits()
    net = fitted_net()
    assert torch.allclose(samples(net, Halved(X)), samples(net, X / 2), atol=1e-6)


def test_binary_nets_have_two_columns():
    X, y = digits()
    module = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 1))
    net = NeuralNetBinaryClassifier(module, train_split=None, max_epochs=1, verbose=0)
    net.fit(X[:60], (y[:60] > 1).astype(np.float32))
    proba = samples(net, X)
    assert proba.shape == (S, len(X), 2)
    assert torch.allclose(proba.sum(-1), torch.ones(S, len(X)))


def test_modules_that_return_probabilities_or_tuples_are_understood():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop, self.out = nn.Dropout(0.5), nn.Linear(64, 4)

        def forward(self, x):
            return torch.softmax(self.out(self.drop(x)), -1), x

    X, _ = digits()
    net = NeuralNetClassifier(Pair(), verbose=0).initialize()  # NLLLoss: no nonlinearity
    proba = samples(net, X)
    assert torch.allclose(proba.sum(-1), torch.ones(S, len(X)))


def test_a_custom_nonlinearity_is_used():
    X, _ = digits()
    net = fitted_net(predict_nonlinearity=lambda z: torch.softmax(z / 10, -1))
    logits = samples(fitted_net(), X[:9]).log()
    assert torch.allclose(samples(net, X[:9]), torch.softmax(logits / 10, -1), atol=1e-6)


class ReturnsDict(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Dropout(), nn.Linear(64, 10))

    def forward(self, X):
        return {"logits": self.layers(X)}


def test_a_module_may_return_a_dict_if_the_nonlinearity_takes_it():
    X, _ = digits()
    net = NeuralNetClassifier(
        ReturnsDict(), predict_nonlinearity=lambda out: out["logits"].softmax(-1)
    )
    hypotheses = draw_hypotheses(net.initialize(), 2000, random_state=0)
    mean = hypotheses.predict_proba_samples(X[:5]).mean(0)
    assert torch.allclose(mean, torch.from_numpy(net.predict_proba(X[:5])), atol=0.05)


def test_logits_without_a_nonlinearity_are_refused_with_the_cause():
    X, _ = digits()
    net = fitted_net(predict_nonlinearity=None)
    with pytest.raises(ValueError, match="prediction has a row that sums to .*CrossEntropyLoss"):
        samples(net, X)


def test_a_regression_net_is_no_distribution():
    X, _ = digits()
    net = NeuralNet(nn.Sequential(nn.Dropout(), nn.Linear(64, 1)), criterion=nn.MSELoss)
    with pytest.raises(ValueError, match="1 class"):
        samples(net.initialize(), X)


def test_half_precision_sums_to_one():
    """The softmax is taken in float32."""
    X, _ = digits()
    net = fitted_net()
    exact = samples(net, X)
    net.module_.to(torch.bfloat16)
    proba = samples(net, X)
    torch.testing.assert_close(proba.sum(-1), torch.ones(6, len(X)), rtol=0, atol=1e-6)
    torch.testing.assert_close(proba, exact, rtol=0, atol=0.03)


def test_numbers_outside_of_an_embedding_are_refused():
    module = nn.Sequential(nn.Embedding(5, 4), nn.Dropout(), nn.Flatten(), nn.Linear(8, 2))
    net = NeuralNetClassifier(module, criterion=nn.CrossEntropyLoss).initialize()
    with pytest.raises(ValueError, match="of torch.int64: index out of range"):
        samples(net, np.array([[5, 1]]))


def test_normalisation_by_the_batch_is_an_error_that_names_it():
    norm = nn.BatchNorm1d(8, track_running_stats=False)
    module = nn.Sequential(nn.Linear(64, 8), norm, nn.Dropout(), nn.Linear(8, 4))
    net = NeuralNetClassifier(module, criterion=nn.CrossEntropyLoss).initialize()
    with pytest.raises(ValueError, match="single row: .*not normalise by the statistics of the"):
        samples(net, digits()[0])


def test_rows_that_do_not_fit_are_refused():
    X, _ = digits()
    net = fitted_net()
    with pytest.raises(ValueError, match=r"cannot be run on a row of X, shape \(1, 5\)"):
        samples(net, X[:, :5])
    with pytest.raises(ValueError, match=r"shape \(1, 1\) .* and 61 more: .*pass X.to_numpy"):
        samples(net, pd.DataFrame(X))
    with pytest.raises(ValueError, match=r"'pixel': shape .* unexpected keyword .*by name"):
        samples(net, {"input": X, "pixel": X})
    with pytest.raises(ValueError, match="no rows"):
        samples(net, X[:0])
    spoilt = X.copy()
    spoilt[600, 3] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity"):
        samples(net, spoilt)


def test_dropout_that_cannot_be_sampled_is_announced():
    class OwnAttention(nn.Module):
        def __init__(self):
            super().__init__()
            self.dropout, self.drop, self.out = 0.1, nn.Dropout(0.5), nn.Linear(64, 4)

        def forward(self, x):
            h = x.view(-1, 1, 8, 8)
            p = self.dropout if self.training else 0.0
            h = nn.functional.scaled_dot_product_attention(h, h, h, dropout_p=p)
            return self.out(self.drop(h.flatten(1)))

    X, _ = digits()
    hypotheses = draw_hypotheses(skorch_net(OwnAttention()).initialize(), S, random_state=0)
    with pytest.warns(
        UnseenDropoutWarning, match=r"module \(OwnAttention\) cannot be sampled"
    ) as w:
        hypotheses.predict_proba_samples(X[:5])
        hypotheses.predict_proba_samples(X[:5])
    assert len(w) == 1


def test_a_compiled_net_is_sampled_uncompiled():
    X, _ = digits()
    plain, compiled = fitted_net(), fitted_net(compile=True, compile__backend="eager")
    assert torch.allclose(samples(compiled, X[:9]), samples(plain, X[:9]), atol=1e-5)


@pytest.mark.skipif(not hasattr(torch.compiler, "set_stance"), reason="torch is too old")
def test_a_module_compiled_in_place_is_sampled_uncompiled():
    X, _ = digits()
    net = fitted_net()
    expected = samples(net, X[:9])
    net.module_.compile(backend="eager")
    net.predict_proba(X[:9])
    assert torch.equal(samples(net, X[:9]), expected)


def test_nothing_is_disturbed():
    X, _ = digits()
    net = fitted_net(
        nn.Sequential(nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 4))
    )
    net.module_.train()
    state = {name: value.clone() for name, value in net.module_.state_dict().items()}
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    samples(net, X)

    class Mine(Dataset):
        """Read through a data loader, which draws a seed from torch's global state."""

    samples(net, Mine(X))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()
    assert all(module.training for module in net.module_.modules())
    assert all(torch.equal(state[k], v) for k, v in net.module_.state_dict().items())


def test_progress_is_shown_only_when_asked_for(capsys):
    X, _ = digits()
    draw_hypotheses(fitted_net(), S, random_state=0).predict_proba_samples(X)
    assert capsys.readouterr() == ("", "")
    draw_hypotheses(fitted_net(), S, random_state=0, verbose=1).predict_proba_samples(X)
    assert "720/720" in capsys.readouterr().err


# --- pipelines, classifiers and other estimators --------------------------------------------------


def test_a_pipeline_transforms_first():
    X, y = digits()
    net = skorch_net()
    pipeline = make_pipeline(StandardScaler(), FunctionTransformer(np.float32), net).fit(
        X[:40].astype(np.float64), y[:40]
    )
    transformed = pipeline[:-1].transform(X.astype(np.float64)).astype(np.float32)
    assert torch.allclose(
        samples(pipeline, X.astype(np.float64)), samples(pipeline[-1], transformed), atol=1e-6
    )
    alone = Pipeline([("net", net)])
    assert torch.equal(samples(alone, X), samples(net, X))


def test_a_classifier_draws_its_own():
    X, _ = digits()
    classifier = fitted_classifier()
    proba = samples(classifier, X.astype(np.float64))
    assert proba.shape == (S, len(X), 4)
    assert draw_hypotheses(classifier, S).classes_.tolist() == [0, 1, 2, 3]


def test_an_estimator_without_a_posterior_is_refused():
    X, y = digits()
    with pytest.raises(TypeError, match="LogisticRegression"):
        draw_hypotheses(LogisticRegression().fit(X, y), S)


def test_at_least_one_hypothesis():
    with pytest.raises(ValueError, match="n_samples must be at least 1, got 0"):
        draw_hypotheses(fitted_net(), 0)


# --- validation error -----------------------------------------------------------------------------


def test_validation_error_is_the_estimators_own():
    X, y = digits()
    classifier = fast_classifier().fit(X[:80], y[:80])
    assert validation_error(classifier) == classifier.validation_error_
    assert validation_error(make_pipeline(StandardScaler(), classifier)) == (
        classifier.validation_error_
    )
    assert validation_error(fitted_net()) is None
    assert validation_error(LogisticRegression().fit(X, y)) is None


def test_validation_error_of_a_net_is_that_of_its_best_epoch():
    from skorch.dataset import ValidSplit

    X, y = digits()
    net = skorch_net(max_epochs=6, train_split=ValidSplit(3)).fit(X[:90], y[:90])
    best = max(net.history[:, "valid_acc"])
    assert 0 < best < 1
    assert validation_error(net) == pytest.approx(1 - best)


def test_validation_error_on_data_is_that_of_the_mean_prediction():
    X, y = digits()
    words = np.array(["zero", "one", "two", "three"])
    classifier = fast_classifier().fit(X[:40], words[y[:40]])
    hypotheses = draw_hypotheses(classifier, 30, random_state=0)
    mean = hypotheses.predict_proba_samples(X).mean(0).numpy()
    expected = np.mean(np.array(sorted(words))[mean.argmax(1)] != words[y])
    assert validation_error_on(hypotheses, X, words[y]) == pytest.approx(expected)
    assert 0 < expected < 0.5
    net_hypotheses = draw_hypotheses(fitted_net(), 30, random_state=0)
    mean = net_hypotheses.predict_proba_samples(X).mean(0).numpy()
    assert validation_error_on(net_hypotheses, X, y) == pytest.approx(np.mean(mean.argmax(1) != y))


def test_validation_labels_that_do_not_fit_are_refused():
    X, y = digits()
    hypotheses = draw_hypotheses(fitted_net(), 5, random_state=0)
    with pytest.raises(ValueError, match="X_val has 10 rows but y_val has 9"):
        validation_error_on(hypotheses, X[:10], y[:9])
    with pytest.raises(ValueError, match="No label of y_val is a class"):
        validation_error_on(hypotheses, X[:10], y[:10] + 100)


def test_validation_error_of_a_net_trained_further_is_that_of_its_last_training():
    from skorch.dataset import ValidSplit

    X, y = digits()
    net = skorch_net(max_epochs=8, lr=0.5, train_split=ValidSplit(3)).fit(X[:120], y[:120])
    first = validation_error(net)
    shuffled = np.random.default_rng(0).permutation(y[:120])
    net.partial_fit(X[:120], shuffled)
    assert len(net.history) == 16
    assert validation_error(net) == pytest.approx(1 - max(net.history[-8:, "valid_acc"]))
    assert validation_error(net) > first + 0.3


# --- difficult modules and data -------------------------------------------------------------------


class Shifting(nn.Module):
    """A module that modifies its input."""

    def __init__(self):
        super().__init__()
        self.drop, self.out = nn.Dropout(0.5), nn.Linear(64, 4)

    def forward(self, x):
        x -= 0.5
        return self.out(self.drop(x))


@pytest.mark.parametrize("form", [np.copy, torch.tensor], ids=["array", "tensor"])
def test_a_module_that_writes_into_its_input_neither_changes_data_nor_predictions(form):
    X, y = digits()
    torch.manual_seed(0)
    net = skorch_net(Shifting()).initialize()
    rows = form(X[:50])
    hypotheses = DropoutHypotheses(net, S, seed=0)
    proba = hypotheses.predict_proba_samples(rows)
    assert np.array_equal(np.asarray(rows), X[:50])
    mask = np.random.default_rng([0, 0, 0, 2]).random(64, dtype=np.float32) >= 0.5
    with torch.no_grad():
        expected = net.module_.out(torch.from_numpy((X[:50] - 0.5) * mask / 0.5))
    assert torch.allclose(proba[2], torch.softmax(expected, -1), atol=1e-6)


def test_arrays_that_torch_cannot_read_in_place_are_read():
    X, _ = digits()
    net = fitted_net()
    expected = samples(net, X)
    assert torch.allclose(samples(net, X[::-1]), expected.flip(1), atol=1e-6)
    frozen = X.copy()
    frozen.flags.writeable = False
    assert torch.allclose(samples(net, frozen), expected, atol=1e-6)


def test_a_custom_collate_function_is_used():
    X, y = digits()

    def halve(rows):
        features, labels = zip(*rows, strict=True)
        return torch.as_tensor(np.stack(features)) / 2, torch.as_tensor(labels)

    net = fitted_net(iterator_valid__collate_fn=halve)
    assert torch.allclose(samples(net, X), samples(fitted_net(), X / 2), atol=1e-6)


def test_wide_layers_behind_dropout_bound_the_rows_taken_at_once():
    class Wide(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop, self.wide, self.out = (
                nn.Dropout(0.5),
                nn.Linear(64, 5000),
                nn.Linear(5000, 4),
            )
            self.rows = []

        def forward(self, x):
            self.rows.append(len(x))
            return self.out(torch.relu(self.wide(self.drop(x))))

    X, _ = digits()
    net = skorch_net(Wide()).initialize()
    samples(net, X, n_samples=100)
    assert max(net.module_.rows) * 5000 * 100 <= 2**22
    assert max(net.module_.rows) > 1


def test_threads_do_not_disturb_each_other():
    from concurrent.futures import ThreadPoolExecutor

    X, _ = digits()
    net = fitted_net()
    net.module_.train()
    expected = samples(net, X)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: samples(net, X), range(12)))
    assert all(torch.equal(result, expected) for result in results)
    assert all(module.training for module in net.module_.modules())


def test_a_pipeline_with_a_stateless_step_counts_as_fitted():
    class Double(TransformerMixin, BaseEstimator):
        def fit(self, X, y=None):
            return self

        def transform(self, X):
            return X * 2

    X, y = digits()
    pipeline = make_pipeline(Double(), "passthrough", skorch_net()).fit(X[:40], y[:40])
    assert torch.allclose(samples(pipeline, X), samples(pipeline[-1], X * 2), atol=1e-6)
