import copy
import math
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn
from toy import digits, fast_classifier

from modal_balance import MCDropoutClassifier, draw_hypotheses
from modal_balance.estimators.networks import MLP
from modal_balance.estimators.sgmcmc import CyclicalSGLD
from modal_balance.hypotheses.snapshots import SnapshotHypotheses

SHORT = CyclicalSGLD(n_cycles=5, steps_per_cycle=40, samples_per_cycle=2)


@parametrize_with_checks([
    MCDropoutClassifier(
        samples_per_epoch=512, max_epochs=20, n_samples=10, n_steps=30, learning_rate=0.03,
        posterior=CyclicalSGLD(n_cycles=2, steps_per_cycle=4, samples_per_cycle=1, step_size=0.02),
    )
])  # fmt: skip
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


# --- the right posterior --------------------------------------------------------------------------

N_CHAINS = 2000
RNG = np.random.default_rng(0)
X_TOY = RNG.normal(size=24)
Y_TOY = (RNG.random(24) < 1 / (1 + np.exp(-1.5 * X_TOY - 0.5))).astype(int)


class Logistic(nn.Module):
    """Many independent copies of a logistic regression with a slope and an intercept."""

    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.full((N_CHAINS,), 3.0))
        self.intercept = nn.Parameter(torch.full((N_CHAINS,), -3.0))

    def forward(self, X):
        log_odds = X[:, None] * self.slope + self.intercept  # (n, chains)
        return torch.stack([torch.zeros_like(log_odds), log_odds], dim=1)  # (n, 2, chains)


def moments_by_integration(prior_std, temperature, class_weight):
    """Return the means, the standard deviations and the correlation on a fine grid."""
    slope, intercept = np.meshgrid(*[np.linspace(-9, 9, 601)] * 2, indexing="ij")
    log_odds = slope[..., None] * X_TOY + intercept[..., None]
    log_likelihood = -np.logaddexp(0, np.where(Y_TOY == 1, -log_odds, log_odds))
    log_prior = -(slope**2 + intercept**2) / (2 * prior_std**2)
    log_density = (log_likelihood @ np.array(class_weight)[Y_TOY] + log_prior) / temperature
    density = np.exp(log_density - log_density.max())
    density /= density.sum()
    mean = [(density * theta).sum() for theta in (slope, intercept)]
    deviations = [slope - mean[0], intercept - mean[1]]
    std = [math.sqrt((density * d**2).sum()) for d in deviations]
    correlation = (density * deviations[0] * deviations[1]).sum() / (std[0] * std[1])
    return mean, std, correlation


@pytest.mark.parametrize(
    ("settings", "class_weight", "batch_size"),
    [
        ({}, [1.0, 1.0], 24),
        ({"prior_std": 0.5, "temperature": 0.3, "steps_per_cycle": 500}, [0.5, 2.0], 24),
        ({"step_size": 0.2, "steps_per_cycle": 3000}, [1.0, 1.0], 8),
    ],
    ids=["plain", "narrow prior, cold, weighted classes", "batches"],
)
def test_the_chain_samples_the_posterior(settings, class_weight, batch_size):
    settings = {"prior_std": 2.0, "temperature": 1.0, "step_size": 0.5} | settings
    sampler = CyclicalSGLD(**({"n_cycles": 1, "steps_per_cycle": 1000} | settings))
    samples = sampler.sample(
        Logistic(),
        torch.tensor(X_TOY).float(),
        torch.tensor(Y_TOY)[:, None].expand(-1, N_CHAINS),
        class_weight=torch.tensor(class_weight),
        batch_size=batch_size,
    )
    last = np.stack([samples["slope"][-1].numpy(), samples["intercept"][-1].numpy()])
    mean, std, correlation = moments_by_integration(
        sampler.prior_std, sampler.temperature, class_weight
    )
    # The standard error of a mean over the chains is 0.022 standard deviations.
    np.testing.assert_allclose((last.mean(1) - mean) / np.array(std), 0, atol=0.08)
    np.testing.assert_allclose(last.std(1) / std, 1, atol=0.06)
    assert np.corrcoef(last)[0, 1] == pytest.approx(correlation, abs=0.06)


def test_without_information_the_prior_comes_back():
    module = nn.Linear(3000, 2, bias=False)
    X, y = torch.zeros(5, 3000), torch.tensor([0, 1, 0, 1, 1])
    sampler = CyclicalSGLD(n_cycles=1, steps_per_cycle=600, prior_std=0.3, step_size=0.1)
    weights = sampler.sample(module, X, y)["weight"][-1]
    assert weights.std().item() == pytest.approx(0.3, rel=0.05)
    assert weights.mean().item() == pytest.approx(0, abs=0.02)


def test_without_noise_the_steps_are_those_of_the_paper():
    """At temperature 0, two cycles of gradient descent, written out in float64."""
    n_cycles, n_steps, alpha_0, prior_std = 2, 14, 0.02, 0.7
    module = nn.Linear(2, 2, bias=False).double()
    theta = module.weight.detach().numpy().copy()
    X, y = RNG.normal(size=(9, 2)), np.arange(9) % 2
    sampler = CyclicalSGLD(
        n_cycles, n_steps // n_cycles, 2, step_size=9 * alpha_0, prior_std=prior_std,
        temperature=1e-300,
    )  # fmt: skip
    samples = sampler.sample(module, torch.tensor(X), torch.tensor(y))["weight"]

    length = math.ceil(n_steps / n_cycles)
    path = []
    for k in range(1, n_steps + 1):
        alpha = alpha_0 / 2 * (math.cos(math.pi * ((k - 1) % length) / length) + 1)
        odds = np.exp(X @ theta.T)
        residual = odds / odds.sum(1, keepdims=True) - np.eye(2)[y]
        theta = theta - alpha * (residual.T @ X + theta / prior_std**2)
        path.append(theta)
    # 7 steps a cycle, 3 without noise, 4 with: a snapshot after its second half and at its end.
    expected = [path[i] for i in (4, 6, 11, 13)]
    np.testing.assert_allclose(np.sort(samples, 0), np.sort(expected, 0), rtol=1e-12)
    np.testing.assert_allclose(samples, expected, rtol=1e-12)


# --- the sampler ----------------------------------------------------------------------------------


def toy_problem():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(64, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Linear(16, 4))
    module[0].bias.requires_grad = False
    X, y = digits()
    return module, torch.tensor(X[:200]), torch.tensor(y[:200])


def test_the_module_and_the_random_state_are_left_alone():
    module, X, y = toy_problem()
    before, rng = copy.deepcopy(module.state_dict()), torch.get_rng_state()
    snapshots = SHORT.sample(module.train(), X, y)
    assert torch.equal(torch.get_rng_state(), rng)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(part.training for part in module.modules())
    assert set(snapshots) == {name for name, _ in module.named_parameters()} - {"0.bias"}
    assert all(len(values) == 10 for values in snapshots.values())


def test_the_seed_decides():
    module, X, y = toy_problem()
    first, again, other = (SHORT.sample(module, X, y, seed=seed) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)


def test_a_chain_that_diverges_is_an_error():
    module, X, y = toy_problem()
    with pytest.raises(ValueError, match=r"no longer finite after step .* StandardScaler.* 1e\+20"):
        CyclicalSGLD(step_size=1e20).sample(module, X, y)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("n_cycles", 0, "an integer of at least 1"),
        ("steps_per_cycle", 2.5, "an integer of at least 1"),
        ("samples_per_cycle", 0, "an integer of at least 1"),
        ("step_size", 0, "a number above 0"),
        ("exploration", 1.0, "a number in [0, 1)"),
        ("prior_std", -1.0, "a number above 0"),
        ("temperature", 0.0, "a number above 0"),
    ],
)
def test_a_bad_setting_is_named(name, value, expected):
    X, y = digits()
    classifier = fast_classifier(posterior=clone(SHORT).set_params(**{name: value}), max_epochs=1)
    with pytest.raises(ValueError) as error:
        classifier.fit(X[:40], y[:40])
    assert str(error.value) == f"{name}={value!r}. Expected {expected}."


def test_more_snapshots_than_steps_are_refused():
    module, X, y = toy_problem()
    with pytest.raises(ValueError, match="samples_per_cycle=6, but only 5 of the 10 steps"):
        CyclicalSGLD(steps_per_cycle=10, samples_per_cycle=6).sample(module, X, y)
    snapshots = CyclicalSGLD(1, steps_per_cycle=10, samples_per_cycle=5).sample(module, X, y)
    assert len(snapshots["0.weight"]) == 5


# --- snapshots as hypotheses ----------------------------------------------------------------------


class Branching(nn.Module):
    """A module with data-dependent control flow, which vmap cannot run."""

    def __init__(self):
        super().__init__()
        self.out = nn.Linear(64, 4)

    def forward(self, X):
        logits = self.out(X)
        return logits if logits.sum() > -1e9 else -logits


@pytest.mark.parametrize("build", [lambda: MLP(64, 4), Branching])
@pytest.mark.parametrize("chunk_values", [2**22, 500])
def test_each_hypothesis_is_the_module_with_those_weights(build, chunk_values, monkeypatch):
    monkeypatch.setattr("modal_balance.hypotheses.chunks.CHUNK_VALUES", chunk_values)
    X = torch.tensor(digits()[0][:30])
    modules = [build().eval() for _ in range(3)]
    states = [module.state_dict() for module in modules]
    snapshots = {name: torch.stack([state[name] for state in states]) for name in states[0]}
    with torch.no_grad():
        expected = torch.stack([module(X).softmax(1) for module in modules])
    own = build()
    proba = SnapshotHypotheses(own.train(), snapshots).predict_proba_samples(X)
    torch.testing.assert_close(proba, expected)
    assert own.training
    precise = SnapshotHypotheses(own, snapshots, dtype=torch.float64).predict_proba_samples(X)
    assert precise.dtype == torch.float64
    torch.testing.assert_close(precise.float(), expected)


def test_no_rows():
    hypotheses = SnapshotHypotheses(nn.Linear(4, 3), {"bias": torch.zeros(2, 3)})
    with pytest.raises(ValueError, match="X has no rows"):
        hypotheses.predict_proba_samples(torch.zeros(0, 4))


# --- the classifier -------------------------------------------------------------------------------


def test_digits_are_known_about_as_well_as_with_dropout_and_hypotheses_differ():
    X, y = load_digits(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    order = np.random.default_rng(0).permutation(len(X))
    train, test = order[:300], order[300:]
    settings = {"max_epochs": 20, "learning_rate": 0.003, "random_state": 0}
    dropout = MCDropoutClassifier(**settings).fit(X[train], y[train])
    snapshots = MCDropoutClassifier(posterior="sgmcmc", **settings).fit(X[train], y[train])
    # The sampler starts from the network that dropout uses.
    for ours, theirs in zip(
        snapshots.net_.module_.parameters(), dropout.net_.module_.parameters(), strict=True
    ):
        assert torch.equal(ours, theirs)
    accuracies = [c.score(X[test], y[test]) for c in (dropout, snapshots)]
    assert accuracies[1] > max(0.85, accuracies[0] - 0.06)
    assert snapshots.validation_error_ < 0.25
    votes = snapshots.draw_hypotheses(40, random_state=0).predict_proba_samples(X[test]).argmax(-1)
    distances = (votes[:, None] != votes[None]).double().mean(-1)[~torch.eye(40, dtype=torch.bool)]
    assert 0.02 < distances.min() and 0.1 < distances.mean() < 0.5


def fitted():
    X, y = digits()
    classifier = fast_classifier(posterior=clone(SHORT))
    return classifier.fit(X[:60], np.array(list("abcd"))[y[:60]]), X


def test_probabilities_are_the_mean_of_all_snapshots():
    classifier, X = fitted()
    assert all(len(values) == 10 for values in classifier.snapshots_.values())
    hypotheses = draw_hypotheses(classifier, 10, random_state=0)
    proba = hypotheses.predict_proba_samples(X[:50])
    assert proba.shape == (10, 50, 4)
    np.testing.assert_allclose(proba.mean(0), classifier.predict_proba(X[:50]), atol=1e-6)
    assert classifier.draw_hypotheses(3).classes_.tolist() == list("abcd")
    alone = np.concatenate([classifier.predict_proba(X[i : i + 1]) for i in range(50)])
    np.testing.assert_allclose(alone, classifier.predict_proba(X[:50]), atol=1e-12)


def test_draws_are_snapshots_without_repetition():
    classifier, X = fitted()
    everything = classifier.draw_hypotheses(1000, random_state=0)
    few, again, other = (classifier.draw_hypotheses(4, random_state=seed) for seed in (3, 3, 4))
    assert everything.fixed and few.fixed
    all_proba = everything.predict_proba_samples(X[:20])
    assert len(all_proba) == 10
    proba = few.predict_proba_samples(X[:20])
    found = [(all_proba - one).abs().amax((1, 2)).argmin().item() for one in proba]
    assert len(set(found)) == 4
    torch.testing.assert_close(proba, all_proba[found])
    assert torch.equal(proba, again.predict_proba_samples(X[:20]))
    assert not torch.equal(proba, other.predict_proba_samples(X[:20]))


def test_same_seed_same_classifier_and_no_global_random_state():
    torch.manual_seed(5)
    rng = torch.get_rng_state()
    first, X = fitted()
    assert torch.equal(torch.get_rng_state(), rng)
    second, _ = fitted()
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))
    assert first.validation_error_ == second.validation_error_
    loaded = pickle.loads(pickle.dumps(first))
    np.testing.assert_array_equal(loaded.predict_proba(X), first.predict_proba(X))
    copied = clone(first).set_params(posterior__n_cycles=1)
    assert first.posterior.n_cycles == 5 and copied.posterior.n_cycles == 1


def test_fitting_again_replaces_the_posterior():
    classifier, X = fitted()
    hypotheses = classifier.draw_hypotheses(5, random_state=0)
    before = hypotheses.predict_proba_samples(X[:20])
    y = digits()[1]
    classifier.set_params(posterior="dropout").fit(X[:60], y[:60])
    assert not hasattr(classifier, "snapshots_")
    assert torch.equal(hypotheses.predict_proba_samples(X[:20]), before)
    assert len(classifier.draw_hypotheses(30).predict_proba_samples(X[:2])) == 30


def test_a_network_without_dropout_can_be_sampled():
    X, y = digits()
    classifier = fast_classifier(dropout=0.0, posterior=SHORT).fit(X[:60], y[:60])
    proba = classifier.draw_hypotheses(6, random_state=0).predict_proba_samples(X)
    assert (proba.std(0) > 1e-2).any()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda():
    X, y = digits()
    before = torch.get_rng_state(), torch.cuda.get_rng_state()
    classifier = fast_classifier(posterior=SHORT, device="cuda").fit(X[:60], y[:60])
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.equal(torch.cuda.get_rng_state(), before[1])
    proba = classifier.draw_hypotheses(6, random_state=0).predict_proba_samples(X)
    assert proba.is_cuda
    assert classifier.predict_proba(X).shape == (720, 4)
