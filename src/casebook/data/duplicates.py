"""A scan -> copies: equal files, and pictures that were compressed, resized, brightened or cropped a little.

Near copies are found in two steps. Candidates are pairs whose 64-bit hashes differ in at most MAX_DISTANCE bits, with
or without the border of one of the two. Each candidate is then checked on the two 32 x 32 thumbnails: one is shifted
and stretched onto the other, and their fine detail must agree, which it does not in different pictures of similar
things.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .pictures import Source
from .scan import THUMBNAIL, Scan, perceptual_hashes, release

MAX_DISTANCE = 11  # bits of 64; the bands below find every pair up to this distance
BANDS = 4  # of 16 bits: of 11 differing bits, some band has at most 2
EXHAUSTIVE = 200_000  # hashes; a search among more is faster, and misses a few of the farther pairs
TABLES = 16
MOST_AT_ONCE = 1 << 20  # pairs of hashes in memory
MOST_CODES = 1 << 22  # pairs found before double ones are dropped
BLOCK = 4096  # thumbnails at a time
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
    deviations = np.concatenate([np.zeros(0), *(pixels.std(axis=(1, 2)) for pixels in _blocks(scan, members))])
    kept = np.flatnonzero((sides >= MIN_SIDE) & (deviations >= MIN_DEVIATION))
    members = members[kept]
    aspects = np.array([facts[place].width / facts[place].height for place in kept])
    hashes = np.array([facts[place].phash for place in kept], np.uint64)
    del facts
    inner = [perceptual_hashes(_without_border(pixels)) for pixels in _blocks(scan, members)]
    first, second = _candidates(hashes, np.concatenate([np.zeros(0, np.uint64), *inner]), aspects)
    sets = _Sets(len(kept))
    pairs = zip(first.tolist(), second.tolist(), strict=True)
    # The closest first: pairs within a set need no comparison later.
    while batch := list(itertools.islice(((a, b) for a, b in pairs if sets.root(a) != sets.root(b)), ROUND)):
        a_side, b_side = (scan.thumbnails[members[list(side)]] for side in zip(*batch, strict=True))
        release(scan.thumbnails)
        for (a, b), value in zip(batch, likeness(a_side, b_side).tolist(), strict=True):
            if value >= MIN_LIKENESS:
                sets.join(a, b)
                distance = int(hashes[a] ^ hashes[b]).bit_count()
                yield Pair(int(members[a]), int(members[b]), distance, round(value, 4), False)


def _blocks(scan: Scan, members: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
    """The thumbnails of `members`, some at a time."""
    for start in range(0, len(members), BLOCK):
        yield scan.thumbnails[members[start : start + BLOCK]]
        if start % (16 * BLOCK) == 0:
            release(scan.thumbnails)


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
            if sum(map(len, found)) > 2 * len(found[0]) + MOST_CODES:
                found = [np.unique(np.concatenate(found))]
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

    Up to EXHAUSTIVE hashes, none is missed. Multi-index hashing (Norouzi et al., CVPR 2012): if 11 bits differ over
    four bands, one band differs in at most two. So each band is looked up with zero, one and two bits flipped. 50,000
    hashes take two seconds; the number of comparisons grows with the square.

    With more hashes, each of TABLES hash tables looks at some bits that a fixed seed chooses, about as many as it takes
    to number the hashes, with zero and one bit flipped (locality-sensitive hashing by bit sampling, Indyk and Motwani,
    STOC 1998). The number of comparisons grows as N log N. A pair that differs in 4 of the 64 bits is always found, one
    in 7 in 99.9 of 100 cases, one in 11 in 86 of 100.
    """
    if len(targets) <= EXHAUSTIVE:
        flips = [0, *(1 << i for i in range(16)), *(1 << i | 1 << j for i in range(16) for j in range(i))]
        tables = [(list(range(16 * band, 16 * band + 16)), flips) for band in range(BANDS)]
    else:
        width = max(16, int(np.ceil(np.log2(len(targets)))))
        generator = np.random.Generator(np.random.Philox(key=[0, width]))
        flips = [0, *(1 << bit for bit in range(width))]
        tables = [(sorted(generator.permutation(64)[:width].tolist()), flips) for _ in range(TABLES)]
    for bits, flips in tables:
        keys, wanted_keys = _picked(targets, bits), _picked(queries, bits)
        order = np.argsort(keys, kind="stable").astype(np.int32)
        starts = np.zeros((1 << len(bits)) + 1, np.int32)
        np.cumsum(np.bincount(keys, minlength=1 << len(bits)), out=starts[1:])
        for flip in flips:
            wanted = wanted_keys ^ np.int32(flip)
            lengths = np.minimum(starts[wanted + 1] - starts[wanted], MOST_IN_BUCKET)
            ends = np.cumsum(lengths, dtype=np.int64)
            cuts = np.searchsorted(ends, np.arange(MOST_AT_ONCE, int(ends[-1]) if len(ends) else 0, MOST_AT_ONCE))
            for start, stop in itertools.pairwise(sorted({0, *cuts.tolist(), len(queries)})):
                some = lengths[start:stop]
                query = np.repeat(np.arange(start, stop), some)
                within = np.arange(len(query)) - np.repeat(np.cumsum(some) - some, some)
                target = order[np.repeat(starts[wanted[start:stop]], some) + within].astype(np.int64)
                close = _bit_counts(queries[query] ^ targets[target]) <= MAX_DISTANCE
                yield query[close], target[close]


def _picked(hashes: NDArray[np.uint64], bits: list[int]) -> NDArray[np.int32]:
    """The chosen bits of each hash, the first of them the lowest."""
    result = np.zeros(len(hashes), np.int32)
    for place, bit in enumerate(bits):
        result |= ((hashes >> np.uint64(bit)) & np.uint64(1)).astype(np.int32) << place
    return result


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
