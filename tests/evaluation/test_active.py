"""Which pictures would teach the network most."""

import numpy as np
import pytest

from casebook.evaluation.active import doubt, most_informative


def test_doubt_is_the_margin() -> None:
    found = doubt(np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.2, 0.3, 0.5]], np.float32))
    assert found == pytest.approx([1.0, 0.0, 0.8])
    assert doubt(np.ones((2, 1), np.float32)) == pytest.approx([0.0, 0.0])


def gradients(probabilities: np.ndarray, features: np.ndarray) -> np.ndarray:
    """(N, K F): what the last layer would get, written out."""
    errors = probabilities - np.eye(probabilities.shape[1])[probabilities.argmax(1)]
    return (errors[:, :, None] * features[:, None, :]).reshape(len(errors), -1)


def test_the_distances_are_those_of_the_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    probabilities, features = rng.dirichlet(np.ones(4), 30), rng.normal(size=(30, 5))
    drawn: list[np.ndarray] = []

    class Drawn:
        def choice(self, count: int, p: np.ndarray) -> int:
            drawn.append(p)
            return int(p.argmax())

    monkeypatch.setattr("numpy.random.default_rng", lambda seed: Drawn())
    chosen = most_informative(probabilities, features, 3)
    vectors = gradients(probabilities, features)
    assert chosen[0] == (vectors**2).sum(1).argmax()
    for number, shares in enumerate(drawn, 1):
        known = np.concatenate([vectors[chosen[:number]], np.zeros((1, vectors.shape[1]))])
        nearest = ((vectors[:, None] - known[None]) ** 2).sum(2).min(1)
        assert shares == pytest.approx(nearest / nearest.sum())


def test_copies_are_not_drawn_twice_and_sure_pictures_not_at_all() -> None:
    probabilities = np.array([[0.5, 0.5]] * 3 + [[0.6, 0.4]] + [[1.0, 0.0]] * 4)
    features = np.array([[1.0, 0.0]] * 3 + [[0.0, 1.0]] + [[1.0, 1.0]] * 4)
    assert sorted(most_informative(probabilities, features, 8)) == [0, 3]
    assert len(most_informative(probabilities, np.zeros((8, 0)), 8)) == 2
    assert len(most_informative(np.zeros((0, 2)), np.zeros((0, 3)), 5)) == 0


def test_the_same_seed_draws_the_same() -> None:
    rng = np.random.default_rng(1)
    probabilities, features = rng.dirichlet(np.ones(3), 200), rng.normal(size=(200, 8))
    first, again, other = (most_informative(probabilities, features, 20, seed=seed).tolist() for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert len(set(first)) == 20
