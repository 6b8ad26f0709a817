"""What is tried, how it is scored, what is chosen."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from cbir_daemon.map import tuning
from cbir_daemon.map.neighbors import NEAREST, nearest
from cbir_daemon.map.points import to_points
from cbir_daemon.map.quality import nearest_on_map, recall
from cbir_daemon.map.tuning import (
    MOST_RIVALS,
    RECALL_MARGIN,
    REPETITIONS,
    TIE_MARGIN,
    Scorer,
    Search,
    TrialKey,
    candidate_neighbors,
    cannot_win,
    choose,
    rivals,
    scoring_k,
    split,
)
from cbir_daemon.records import Trial
from cbir_daemon.search.neighborhood import neighborhood_width
from tests.neighbors import nearest_others


def points_on_a_sphere(rows: int, seed: int = 0, features: int = 8) -> NDArray[np.float32]:
    """Return random unit rows."""
    numbers = np.random.default_rng(seed).normal(size=(rows, features))
    unit = numbers / np.linalg.norm(numbers, axis=1, keepdims=True)
    return np.asarray(unit, dtype=np.float32)


@pytest.mark.parametrize(
    ("images", "expected"),
    [(5, (2,)), (14, (4,)), (15, (5,)), (20, (5,)), (100, (5, 10, 15, 30)), (300, tuning.N_NEIGHBORS)],
)
def test_candidates_are_bounded_by_the_collection(images: int, expected: tuple[int, ...]) -> None:
    """Never more than a third of the images, never nothing."""
    assert candidate_neighbors(images) == expected


@pytest.mark.parametrize("images", range(3, 60))
def test_both_scores_are_defined_for_every_small_collection(images: int) -> None:
    """Trustworthiness is defined for less than half of the images; the map must have k others to choose from."""
    k = scoring_k(images)
    assert 1 <= k < images / 2
    assert k <= NEAREST


def test_split_holds_out_a_tenth_and_samples_large_collections() -> None:
    """Rows ascend, none is on both sides, and the same seed draws the same."""
    fitted, held_out = split(1000, 500, seed=3)
    assert (len(fitted), len(held_out)) == (450, 50)
    assert len(np.union1d(fitted, held_out)) == 500
    assert (np.diff(fitted) > 0).all()
    assert (np.diff(held_out) > 0).all()
    again = split(1000, 500, seed=3)
    assert (again[0] == fitted).all()
    assert (split(1000, 500, seed=4)[0] != fitted).any()


def test_split_of_few_and_of_many() -> None:
    """Somebody is always held out, and never more than are needed for a score."""
    assert [len(part) for part in split(5, 100, seed=0)] == [4, 1]
    assert len(split(50_000, 50_000, seed=0)[1]) == tuning.MOST_HELD_OUT


def candidate(n_neighbors: int, trustworthiness: float, recall: float, n_components: int = 16) -> Trial:
    """Return a line of a curve."""
    return Trial(n_neighbors, n_components, trustworthiness, recall)


def test_the_more_trustworthy_map_wins() -> None:
    """Outside the margin recall does not count."""
    best = candidate(30, 0.95, 0.30)
    assert choose([candidate(5, 0.945, 0.9), best, candidate(50, 0.90, 0.5)]) is best


def test_within_the_margin_recall_decides() -> None:
    """A thousandth of trustworthiness is what another seed would change."""
    best = candidate(10, 0.949, 0.36)
    assert choose([candidate(5, 0.94, 0.9), best, candidate(50, 0.95, 0.35)]) is best


def test_of_equals_the_cheaper_wins() -> None:
    """Fewer neighbours, then fewer dimensions; the order of trying does not matter."""
    cheap, dear = candidate(10, 0.9, 0.3, 8), candidate(10, 0.9, 0.3, 32)
    assert choose([dear, candidate(15, 0.9, 0.3, 8), cheap]) is cheap


def test_what_another_seed_would_change_is_not_worth_more_dimensions() -> None:
    """Three thousandths of recall are none; a hundredth is."""
    cheap, dear = candidate(15, 0.95, 0.542, 8), candidate(15, 0.95, 0.545, 32)
    assert choose([dear, cheap]) is cheap
    better = candidate(15, 0.95, 0.552, 32)
    assert choose([better, cheap]) is better


def test_two_worse_in_a_row_end_the_search() -> None:
    """Worse in both scores; one of them better, or one candidate only, and it goes on."""
    best = candidate(10, 0.9, 0.4)
    worse = [candidate(15, 0.899, 0.39), candidate(30, 0.898, 0.38)]
    assert cannot_win([candidate(5, 0.85, 0.3), best, *worse])
    assert not cannot_win([best, worse[0]])
    assert not cannot_win([best, worse[0], candidate(30, 0.88, 0.41)])
    assert not cannot_win([best, candidate(15, 0.91, 0.39), worse[1]])


def test_one_much_worse_ends_the_search() -> None:
    """Worse in both scores by more than another seed could make it; by less in either, and it goes on."""
    best = candidate(10, 0.9, 0.4)
    assert cannot_win([best, candidate(15, 0.9 - 1.1 * TIE_MARGIN, 0.4 - 1.1 * RECALL_MARGIN)])
    assert not cannot_win([best, candidate(15, 0.9 - 0.9 * TIE_MARGIN, 0.3)])
    assert not cannot_win([best, candidate(15, 0.8, 0.4 - 0.9 * RECALL_MARGIN)])


def test_rivals_are_those_that_a_seed_might_put_first() -> None:
    """Near in both scores; the best is one of them, and there are never too many."""
    best = candidate(15, 0.95, 0.40)
    near = candidate(10, 0.949, 0.40 - RECALL_MARGIN / 2)
    far = [candidate(5, 0.94, 0.40), candidate(30, 0.95, 0.35)]
    assert rivals([near, best, *far]) == (best, near)
    assert rivals([best, *far]) == (best,)
    crowd = [candidate(n, 0.95, 0.4 - n / 1e5) for n in (5, 10, 15, 30, 50)]
    assert rivals(crowd) == tuple(crowd[:MOST_RIVALS])


Scores = dict[tuple[int, int], tuple[float, float]]


class Bench:
    """Trials with known scores, by `n_neighbors` and `n_components`; each repetition moves recall by `moves`."""

    def __init__(
        self, scores: dict[tuple[int, int], tuple[float, float]], moves: tuple[float, ...] = (0, 0, 0)
    ) -> None:
        self.scores, self.moves = scores, moves
        self.tried: list[TrialKey] = []
        self.shares_done: list[float] = []

    def trials(self, keys: Sequence[TrialKey]) -> Iterator[Trial]:
        for key in keys:
            self.tried.append(key)
            trust, recall = self.scores[key[:2]]
            moved = self.moves[key.repetition] * (key.n_neighbors == 10)
            yield Trial(key.n_neighbors, key.n_components, trust, recall + moved)

    def tell(self, done: int, total: int, _message: str) -> None:
        self.shares_done.append(done / total)

    def search(self, dimensions: tuple[int, ...] = (16,)) -> tuple[Trial, ...]:
        return Search((5, 10, 15, 30, 50, 100), dimensions, self.trials, self.tell).run()


PEAK = {
    (n, 16): (trust, recall)
    for n, trust, recall in [
        (5, 0.90, 0.30),
        (10, 0.93, 0.38),
        (15, 0.96, 0.45),
        (30, 0.959, 0.43),
        (50, 0.958, 0.42),
        (100, 0.957, 0.41),
    ]
}


def test_the_search_stops_behind_the_peak() -> None:
    """What cannot win is not fitted, and each candidate that stands out is fitted once."""
    bench = Bench(PEAK)
    curve = bench.search()
    assert bench.tried == [(n, 16, 0) for n in (5, 10, 15, 30, 50)]
    assert choose(curve).n_neighbors == 15


def test_other_dimensions_are_tried_with_the_winner() -> None:
    """And may win."""
    bench = Bench(PEAK | {(15, 8): (0.94, 0.3), (15, 32): (0.96, 0.5)})
    assert choose(bench.search((16, 8, 32))) == candidate(15, 0.96, 0.5, 32)
    assert bench.tried[5:] == [(15, 8, 0), (15, 32, 0)]


def test_what_one_seed_cannot_decide_more_seeds_do() -> None:
    """Two that lie closer than the spread are tried with three seeds, and the means decide."""
    close = PEAK | {(10, 16): (0.96, 0.452)}
    bench = Bench(close, moves=(0, -0.02, -0.02))
    curve = bench.search()
    assert choose(curve).n_neighbors == 15
    repeated = [(n, repetition) for n, _, repetition in bench.tried if repetition]
    assert repeated == [(n, repetition) for repetition in range(1, REPETITIONS) for n in (10, 15)]
    assert next(found for found in curve if found.n_neighbors == 10).neighbor_recall == pytest.approx(0.452 - 0.04 / 3)


def test_progress_of_the_search_never_falls() -> None:
    """Although nobody knows beforehand how many trials there will be."""
    bench = Bench(PEAK | {(10, 16): (0.96, 0.452), (10, 8): (0.94, 0.3), (10, 32): (0.96, 0.445)})
    bench.search((16, 8, 32))
    assert bench.shares_done == sorted(bench.shares_done)
    assert bench.shares_done[0] == 0
    assert bench.shares_done[-1] < 1


def test_what_is_known_is_not_tried_again() -> None:
    """The curve of a search that was broken off is the same."""
    whole, rest = Bench(PEAK), Bench(PEAK)
    curve = whole.search()
    ready = {TrialKey(n, 16, 0): candidate(n, *PEAK[n, 16]) for n in (5, 10)}
    assert Search((5, 10, 15, 30, 50, 100), (16,), rest.trials, rest.tell, ready).run() == curve
    assert rest.tried == whole.tried[2:]


def scorer_of(codes: NDArray[np.float32], held_out: NDArray[np.float32], size: int = 1000) -> Scorer:
    """Return a scorer over exact neighbours."""
    points = to_points(codes)
    near, held_out_near = nearest_others(points, 12), nearest(points, to_points(held_out), 12)
    return Scorer.prepare(codes, near, held_out_near, size=size, seed=0)


def test_a_perfect_map_scores_one_and_a_random_one_by_chance() -> None:
    """The codes themselves as positions keep every neighbour; shuffled positions keep as many as chance."""
    points, held_out = points_on_a_sphere(200), points_on_a_sphere(20, seed=1)
    scorer = scorer_of(points, held_out)
    assert scorer.score(points, held_out, 15) == Trial(15, 8, 1.0, 1.0)
    shuffled = np.random.default_rng(0).permutation(points)
    score = scorer.score(shuffled, held_out, 15)
    assert score.trustworthiness == pytest.approx(0.5, abs=0.05)
    assert score.neighbor_recall < 0.15


@pytest.mark.parametrize("k", [1, 5, 49])
def test_trustworthiness_is_that_of_scikit_learn(k: int) -> None:
    """On maps from perfect to useless."""
    # Imported here: every process of tests imports every file, and this library takes a second.
    manifold = importlib.import_module("sklearn.manifold")
    points = points_on_a_sphere(100)
    ranks = tuning.ranks_of(points)
    for dimensions in (8, 3, 1):
        positions = points[:, :dimensions]
        expected = manifold.trustworthiness(points, positions, n_neighbors=k)
        assert tuning.trustworthiness(ranks, positions, k) == pytest.approx(expected, abs=1e-12)


def test_ranks_count_the_nearest_and_equals_come_in_order_of_row() -> None:
    """Two pairs of duplicates: each has its twin first, then the other two in order; itself it has last."""
    points = np.repeat(np.eye(2, 8, dtype=np.float32), 2, axis=0)
    assert tuning.ranks_of(points).tolist() == [[4, 1, 2, 3], [1, 4, 2, 3], [2, 3, 4, 1], [2, 3, 1, 4]]


def test_of_equals_the_first_on_the_map_count() -> None:
    """Whichever way a library sorts: three lie at the same place, and there is room for two of them."""
    axes = np.array([[3, 1, 3, 3, 0, 9]], np.float32)
    assert nearest_on_map(axes, np.zeros(1, np.float32), 4).tolist() == [0, 1, 2, 4]
    assert nearest_on_map(axes, np.zeros(1, np.float32), 4, own=4).tolist() == [0, 1, 2, 3]


def test_held_out_images_count_for_half() -> None:
    """A map that is perfect for fitted images and useless for projected ones keeps about half."""
    points, held_out = points_on_a_sphere(200), points_on_a_sphere(40, seed=1)
    score = scorer_of(points, held_out).score(points, -held_out, 15)
    assert score.trustworthiness == 1.0
    assert score.neighbor_recall == pytest.approx(0.5, abs=0.02)


def test_a_sample_scores_much_like_the_whole() -> None:
    """Scores on 150 of 600 images are near those on all of them."""
    points, held_out = points_on_a_sphere(600), points_on_a_sphere(50, seed=1)
    flattened, flattened_held_out = points[:, :3], held_out[:, :3]
    whole = scorer_of(points, held_out).score(flattened, flattened_held_out, 15)
    sampled = scorer_of(points, held_out, size=150).score(flattened, flattened_held_out, 15)
    assert sampled.neighbor_recall == pytest.approx(whole.neighbor_recall, abs=0.05)
    assert sampled.trustworthiness == pytest.approx(whole.trustworthiness, abs=0.06)


def test_recall_counts_what_a_plain_search_counts() -> None:
    """Three true neighbours of which the map has two nearest."""
    positions = np.array([[0.0], [1.0], [2.0], [3.0], [10.0]], np.float32)
    query = np.array([[0.1]], np.float32)
    assert recall(positions, query, np.array([[0, 1, 4]], np.int32), width=3) == pytest.approx(2 / 3)
    own = np.array([0])
    assert recall(positions, positions[:1], np.array([[1, 2]], np.int32), own=own, width=2) == 1.0


def test_every_measure_looks_at_the_same_neighbourhood() -> None:
    """Of 1 249 images 13 are looked at: by a trial's scores, for a projected image, and when two maps are compared."""
    images = 1_249
    positions = np.arange(images, dtype=np.float32)[:, None]
    # The tenth is the 13th nearest to the first image: in the neighbourhood, unless its width is rounded down.
    true_ids = np.array([[*range(1, 10), 13]], np.int32)
    assert neighborhood_width(images, NEAREST) == 13
    assert recall(positions, positions[:1], true_ids, own=np.array([0])) == 1.0
    assert recall(positions, positions[:1] - 1, true_ids - 1) == 1.0
    points = points_on_a_sphere(images)
    assert scorer_of(points, points[:20], size=100).width == 13
