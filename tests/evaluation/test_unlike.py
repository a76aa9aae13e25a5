"""A picture is refused for being far from all kept ones, and about as many of the network's own as was asked."""

import numpy as np

from casebook.evaluation.unlike import choose_kept, fit_unlike


def test_the_share_of_own_pictures_that_is_refused() -> None:
    rng, refused = np.random.default_rng(0), []
    kept = rng.normal(1, 1, (50, 12))
    for _ in range(200):
        unlike = fit_unlike(kept, rng.normal(1, 1, (100, 12)), refused=0.05)
        refused.append(float((unlike.scores(rng.normal(1, 1, (500, 12))) >= unlike.limit).mean()))
    assert 0.04 < np.mean(refused) < 0.06  # 5 of 101, on average over validation sets


def test_foreign_features_are_refused() -> None:
    rng = np.random.default_rng(0)
    unlike = fit_unlike(rng.normal(1, 0.3, (50, 12)), rng.normal(1, 0.3, (200, 12)))
    foreign = rng.normal(1, 0.3, (100, 12)) * np.where(np.arange(12) < 6, -1, 1)
    assert (unlike.scores(foreign) >= unlike.limit).all()
    broken = np.full((1, 12), np.nan)
    assert np.isinf(unlike.scores(broken)).all()


def test_every_class_is_kept_about_as_often() -> None:
    labels = np.repeat([0, 1, 2], [500, 40, 5])
    kept = choose_kept(labels, 60)
    assert np.bincount(labels[kept]).tolist() == [28, 27, 5] or np.bincount(labels[kept]).tolist() == [27, 28, 5]
    assert kept.tolist() == sorted(set(kept.tolist()))
    assert not np.array_equal(kept, choose_kept(labels, 60, seed=1))
    assert choose_kept(labels[:7], 60).tolist() == list(range(7))
