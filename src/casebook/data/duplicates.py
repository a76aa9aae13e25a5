"""A scan -> copies: equal files, and pictures that were compressed, resized, brightened or cropped a little.

Near copies are found in two steps. Candidates are pairs whose 64-bit hashes differ in at most MAX_DISTANCE bits, with
or without the border of one of the two. Each candidate is then checked on the two 32 x 32 thumbnails: one is shifted
and stretched onto the other, and their fine detail must agree, which it does not in different pictures of similar
things.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .pictures import Source
from .scan import THUMBNAIL, Scan, perceptual_hashes

MAX_DISTANCE = 11  # bits of 64; the bands below find every pair up to this distance
BANDS = 4  # of 16 bits: of 11 differing bits, some band has at most 2
MOST_IN_BUCKET = 512  # with MOST_CANDIDATES, keeps thousands of almost equal pictures from taking hours
MOST_CANDIDATES = 20  # of each picture, only the closest are compared
ROUND = 2048  # pairs to compare at a time
BORDER = 1.5  # thumbnail pixels, about 5 %, cut from each side before the second search
MIN_LIKENESS = 0.95  # in CIFAR-10, all pairs inspected just above this are copies
MIN_SIDE = 32  # many smaller pictures, such as digits, look alike: only equal ones count as copies
MIN_DEVIATION = 4.0  # grey levels; flatter pictures have no detail to compare: only equal ones count
MAX_ASPECT = 1.15  # ratio of the two aspect ratios
BITS = np.array([value.bit_count() for value in range(1 << 16)], np.uint8)  # NumPy 1.26 has no bitwise_count


class Pair(NamedTuple):
    """Two pictures that are copies of each other; `first` < `second` index the source."""

    first: int
    second: int
    distance: int  # bits between the hashes
    likeness: float  # MIN_LIKENESS to 1
    exact: bool  # the files, or the pixels in memory, are equal


class Duplicates(NamedTuple):
    """Sets of copies of one picture, and the pairs that connect each set."""

    groups: tuple[tuple[int, ...], ...]  # each sorted and of at least two pictures
    pairs: tuple[Pair, ...]  # sorted; in large sets not every pair


def duplicates(scan: Scan, source: Source, *, near: bool = True) -> Duplicates:
    """The copies among the readable pictures of a source; only equal files with `near=False`."""
    first_of: dict[str, int] = {}
    pairs: list[Pair] = []
    for index, facts in enumerate(scan.facts):
        if facts.error is None and (first := first_of.setdefault(facts.sha256, index)) != index:
            pairs.append(Pair(first, index, 0, 1.0, True))
    if near:
        pairs += _near_pairs(scan, np.array(list(first_of.values()), np.int64))
    pairs.sort()
    return Duplicates(joined(len(source), ((pair.first, pair.second) for pair in pairs)), tuple(pairs))


class _Sets:
    """Disjoint sets that can be merged (union-find); the root of a set is its smallest member."""

    def __init__(self, count: int):
        self.parent = list(range(count))

    def root(self, member: int) -> int:
        parent = self.parent
        while parent[member] != member:
            parent[member] = parent[parent[member]]
            member = parent[member]
        return member

    def join(self, first: int, second: int) -> None:
        low, high = sorted((self.root(first), self.root(second)))
        self.parent[high] = low


def joined(count: int, links: Iterable[tuple[int, int]]) -> tuple[tuple[int, ...], ...]:
    """The connected sets of two or more of `count` members, each sorted, in order of their first member."""
    sets = _Sets(count)
    for first, second in links:
        sets.join(first, second)
    members: dict[int, list[int]] = {}
    for member in range(count):
        members.setdefault(sets.root(member), []).append(member)
    return tuple(tuple(found) for found in members.values() if len(found) > 1)


def _near_pairs(scan: Scan, members: NDArray[np.int64]) -> Iterator[Pair]:
    """Pairs of different files among `members` (ascending) that look alike; enough pairs to connect each set."""
    facts = [scan.facts[member] for member in members]
    sides = np.array([min(fact.width, fact.height) for fact in facts])
    deviations = scan.thumbnails[members].std(axis=(1, 2))
    kept = np.flatnonzero((sides >= MIN_SIDE) & (deviations >= MIN_DEVIATION))
    members, thumbnails = members[kept], scan.thumbnails[members[kept]]
    aspects = np.array([facts[place].width / facts[place].height for place in kept])
    hashes = np.array([facts[place].phash for place in kept], np.uint64)
    first, second = _candidates(hashes, perceptual_hashes(_without_border(thumbnails)), aspects)
    sets = _Sets(len(kept))
    while len(first):  # the closest first: pairs within a set need no comparison later
        now, later = slice(0, ROUND), slice(ROUND, None)
        values = likeness(thumbnails[first[now]], thumbnails[second[now]])
        for a, b, value in zip(first[now].tolist(), second[now].tolist(), values.tolist(), strict=True):
            if value >= MIN_LIKENESS:
                sets.join(a, b)
                distance = int(hashes[a] ^ hashes[b]).bit_count()
                yield Pair(int(members[a]), int(members[b]), distance, round(value, 4), False)
        apart = np.array([sets.root(a) != sets.root(b) for a, b in zip(first[later], second[later], strict=True)], bool)
        first, second = first[later][apart], second[later][apart]


def _candidates(
    hashes: NDArray[np.uint64], inner: NDArray[np.uint64], aspects: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices first < second of the pairs worth comparing, each once, the closest first."""
    count = len(hashes)
    found = [np.zeros(0, np.int64)]
    for queries in (hashes, inner):
        for query, target in close_hashes(queries, hashes):
            ratio = aspects[query] / aspects[target]
            kept = (query != target) & (np.maximum(ratio, 1 / ratio) <= MAX_ASPECT)
            low, high = np.minimum(query, target)[kept], np.maximum(query, target)[kept]
            found.append(low * count + high)
    codes = np.unique(np.concatenate(found))
    first, second = codes // count, codes % count
    differing = np.stack([hashes[first], inner[first], hashes[first]]) ^ np.stack(
        [hashes[second], hashes[second], inner[second]]
    )
    distances = _bit_counts(differing).min(axis=0)
    near = (_ranks(first, distances) < MOST_CANDIDATES) | (_ranks(second, distances) < MOST_CANDIDATES)
    order = np.argsort(distances[near], kind="stable")
    return first[near][order], second[near][order]


def _ranks(owners: NDArray[np.int64], values: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rank of each value among those of its owner, from the smallest."""
    order = np.lexsort((values, owners))
    places = np.arange(len(owners))
    starts = np.concatenate([[True], np.diff(owners[order]) > 0])[: len(owners)]
    ranks = np.empty(len(owners), np.int64)
    ranks[order] = places - np.maximum.accumulate(np.where(starts, places, 0))
    return ranks


def close_hashes(
    queries: NDArray[np.uint64], targets: NDArray[np.uint64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Indices of all queries and targets that differ in at most MAX_DISTANCE bits, in blocks; some come twice.

    Multi-index hashing (Norouzi et al., CVPR 2012): if 11 bits differ over four bands, one band differs in at most
    two. So each band is looked up with zero, one and two bits flipped. 50,000 hashes take two seconds.
    """
    flips = [0, *(1 << i for i in range(16)), *(1 << i | 1 << j for i in range(16) for j in range(i))]
    for band in range(BANDS):
        keys, wanted_keys = (
            ((hashes >> np.uint64(16 * band)) & np.uint64(0xFFFF)).astype(np.int64) for hashes in (targets, queries)
        )
        order = np.argsort(keys, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=1 << 16))])
        for flip in flips:
            wanted = wanted_keys ^ flip
            lengths = np.minimum(starts[wanted + 1] - starts[wanted], MOST_IN_BUCKET)
            query = np.repeat(np.arange(len(queries)), lengths)
            within = np.arange(len(query)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
            target = order[np.repeat(starts[wanted], lengths) + within]
            close = _bit_counts(queries[query] ^ targets[target]) <= MAX_DISTANCE
            yield query[close], target[close]


def _bit_counts(values: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The number of set bits of each value."""
    words = np.ascontiguousarray(values)[..., None].view(np.uint16)
    return BITS[words].sum(axis=-1, dtype=np.int64)


def likeness(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(N, 32, 32) twice -> (N,) -1 to 1: the correlation of their fine detail after alignment.

    Fine detail is the difference from the mean of the 7 x 7 pixels around. Without this step, different photographs of
    similar shapes on similar backgrounds correlate by 0.95 and more; with it, hardly any do.
    """
    result = np.empty(len(first))
    for start in range(0, len(first), 256):
        a, b = (_smooth(thumbnails[start : start + 256].astype(np.float32)) for thumbnails in (first, second))
        result[start : start + 256] = np.maximum(_overlaid(a, b), _overlaid(b, a))
    return result


def _overlaid(moving: NDArray[np.float32], fixed: NDArray[np.float32], steps: int = 4) -> NDArray[np.float64]:
    """The correlation after shifting and stretching `moving` along each axis (Gauss-Newton).

    Each step fits `fixed` by the moved picture, a constant, and the first-order changes of the four movements. The
    first weight of the fit is the change of contrast; the other weights are relative to it.
    """
    count, side = len(moving), THUMBNAIL
    place = np.linspace(-1, 1, side, dtype=np.float32)
    motion = np.zeros((count, 4), np.float32)  # shift down and right in pixels, stretch in pixels at the edges
    target = fixed.reshape(count, -1, 1) - fixed.mean(axis=(1, 2))[:, None, None]
    moved = moving
    for _ in range(steps):
        down, right = np.gradient(moved, axis=(1, 2))
        changes = np.stack((moved, down, right, down * place[:, None], right * place), axis=1).reshape(count, 5, -1)
        changes -= changes.mean(axis=2, keepdims=True)
        squares = (changes @ changes.transpose(0, 2, 1)).astype(np.float64)
        ridge = 1e-6 * np.trace(squares, axis1=1, axis2=2) + 1e-6  # flat pictures have no gradient
        weights = np.linalg.solve(squares + ridge[:, None, None] * np.eye(5), changes @ target)[..., 0]
        contrast = np.where(weights[:, :1] > 0.2, weights[:, :1], np.inf)  # an inverted picture is not a copy
        motion = np.clip(motion + weights[:, 1:] / contrast, -0.1 * side, 0.1 * side).astype(np.float32)
        moved = _moved(moving, motion)
    a, b = _detail(moved), _detail(fixed)
    power = (a * a).sum(axis=(1, 2), dtype=np.float64) * (b * b).sum(axis=(1, 2), dtype=np.float64)
    return (a * b).sum(axis=(1, 2)) / np.sqrt(np.maximum(power, 1e-9))


def _moved(pictures: NDArray[np.float32], motion: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, S, S) pictures, each shifted and stretched with bilinear interpolation; edges are repeated."""
    places = np.arange(pictures.shape[1], dtype=np.float32)
    unit = np.linspace(-1, 1, len(places), dtype=np.float32)
    read = np.clip(places + motion[:, :2, None] + motion[:, 2:, None] * unit, 0, places[-1])  # (N, 2, S)
    weights = np.maximum(0, 1 - np.abs(read[..., None] - places))  # (N, 2, S, S)
    return weights[:, 0] @ pictures @ weights[:, 1].transpose(0, 2, 1)


def _without_border(thumbnails: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The inner part of each thumbnail, stretched to full size."""
    result = np.empty_like(thumbnails)
    for start in range(0, len(thumbnails), 4096):
        block = thumbnails[start : start + 4096].astype(np.float32)
        motion = np.tile(np.array([0, 0, -BORDER, -BORDER], np.float32), (len(block), 1))
        result[start : start + 4096] = np.rint(_moved(block, motion))
    return result


def _smooth(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, S, S) blurred by 1 2 1 along both axes, so that interpolation loses little."""
    return _filtered(pictures, (0.25, 0.5, 0.25))


def _detail(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, S, S) minus the mean of the 7 x 7 pixels around each."""
    return pictures - _filtered(pictures, (1 / 7,) * 7)


def _filtered(pictures: NDArray[np.float32], weights: tuple[float, ...]) -> NDArray[np.float32]:
    """(N, S, S) filtered along both axes; edges are repeated."""
    side = pictures.shape[1]
    taps = np.arange(side)[:, None] + np.arange(len(weights)) - len(weights) // 2
    matrix = np.zeros((side, side), np.float32)
    np.add.at(matrix, (np.arange(side)[:, None], np.clip(taps, 0, side - 1)), np.array(weights, np.float32))
    return np.asarray(matrix @ pictures @ matrix.T, np.float32)
