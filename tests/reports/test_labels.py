"""Labels beside circles: nearest free place, inside the frame, never on a circle."""

import numpy as np

from casebook.reports.labels import place

FRAME = (0.0, 0.0, 1000.0, 800.0)


def test_a_lone_label_lies_to_the_right_of_its_circle() -> None:
    (box,) = place(np.array([[500.0, 400.0]]), np.array([10.0]), np.array([[60.0, 12.0]]), FRAME)
    assert np.allclose(box, [512, 394, 572, 406])


def test_a_label_at_the_edge_goes_to_the_other_side() -> None:
    (box,) = place(np.array([[990.0, 400.0]]), np.array([5.0]), np.array([[60.0, 12.0]]), FRAME)
    assert box[2] < 990


def test_crowded_labels_find_room() -> None:
    rng = np.random.default_rng(0)
    centres = np.concatenate([rng.uniform(100, 900, (40, 2)) * [1, 0.8], rng.normal([500, 400], 25, (12, 2))])
    radii = rng.uniform(3, 14, len(centres))
    sizes = np.stack([rng.uniform(30, 90, len(centres)), np.full(len(centres), 12.0)], 1)
    boxes = place(centres, radii, sizes, FRAME)
    assert np.allclose(boxes[:, 2:] - boxes[:, :2], sizes)
    for number, box in enumerate(boxes):
        near = np.clip(centres, box[:2], box[2:])
        assert (np.hypot(*(near - centres).T) >= radii).all()
        others = np.delete(boxes, number, axis=0)
        apart = (box[2:] <= others[:, :2]).any(1) | (box[:2] >= others[:, 2:]).any(1)
        assert apart.all()


def test_the_same_places_each_time() -> None:
    centres, radii, sizes = np.zeros((3, 2)) + 400, np.ones(3), np.full((3, 2), 20.0)
    assert np.array_equal(place(centres, radii, sizes, FRAME), place(centres, radii, sizes, FRAME))
