"""What is tried, how it is scored, what is chosen."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cbir_daemon.model import tuning
from cbir_daemon.model.neighbors import nearest, nearest_others
from cbir_daemon.model.tuning import Judge, candidate_neighbors, choose, neighbor_recall, scoring_k, split
from cbir_daemon.records import Candidate


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
    """scikit-learn refuses k of half of the images and more; the map must have k others to choose from."""
    k = scoring_k(images)
    assert 1 <= k < images / 2
    assert k <= tuning.SCORING_K


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


def candidate(n_neighbors: int, trustworthiness: float, recall: float, n_components: int = 16) -> Candidate:
    """Return a line of a curve."""
    return Candidate(n_neighbors, n_components, trustworthiness, recall)


def test_the_more_trustworthy_map_wins() -> None:
    """Outside the margin recall does not count."""
    best = candidate(30, 0.95, 0.30)
    assert choose([candidate(5, 0.947, 0.9), best, candidate(50, 0.90, 0.5)]) is best


def test_within_the_margin_recall_decides() -> None:
    """A thousandth of trustworthiness is what another seed would change."""
    best = candidate(10, 0.949, 0.36)
    assert choose([candidate(5, 0.94, 0.9), best, candidate(50, 0.95, 0.35)]) is best


def test_of_equals_the_cheaper_wins() -> None:
    """Fewer neighbours, then fewer dimensions; the order of trying does not matter."""
    cheap, dear = candidate(10, 0.9, 0.3, 8), candidate(10, 0.9, 0.3, 32)
    assert choose([dear, candidate(15, 0.9, 0.3, 8), cheap]) is cheap


def judge_of(points: NDArray[np.float32], held_out: NDArray[np.float32], size: int = 1000) -> Judge:
    """Return a judge over exact neighbours."""
    return Judge.prepare(points, nearest_others(points, 12), nearest(points, held_out, 12), size=size, seed=0)


def test_a_perfect_map_scores_one_and_a_random_one_by_chance() -> None:
    """The codes themselves as positions keep every neighbour; shuffled positions keep as many as chance."""
    points, held_out = points_on_a_sphere(200), points_on_a_sphere(20, seed=1)
    judge = judge_of(points, held_out)
    assert judge.score(points, held_out, 15) == Candidate(15, 8, 1.0, 1.0)
    shuffled = np.random.default_rng(0).permutation(points)
    score = judge.score(shuffled, held_out, 15)
    assert score.trustworthiness == pytest.approx(0.5, abs=0.05)
    assert score.neighbor_recall < 0.15


def test_held_out_images_count_for_half() -> None:
    """A map that is perfect for fitted images and useless for projected ones keeps about half."""
    points, held_out = points_on_a_sphere(200), points_on_a_sphere(40, seed=1)
    score = judge_of(points, held_out).score(points, -held_out, 15)
    assert score.trustworthiness == 1.0
    assert score.neighbor_recall == pytest.approx(0.5, abs=0.02)


def test_a_sample_judges_much_like_the_whole() -> None:
    """Scores on 150 of 600 images are near those on all of them."""
    points, held_out = points_on_a_sphere(600), points_on_a_sphere(50, seed=1)
    flattened, flattened_held_out = points[:, :3], held_out[:, :3]
    whole = judge_of(points, held_out).score(flattened, flattened_held_out, 15)
    sampled = judge_of(points, held_out, size=150).score(flattened, flattened_held_out, 15)
    assert sampled.neighbor_recall == pytest.approx(whole.neighbor_recall, abs=0.05)
    assert sampled.trustworthiness == pytest.approx(whole.trustworthiness, abs=0.06)


def test_recall_counts_what_a_plain_search_counts() -> None:
    """Three true neighbours of which the map has two nearest."""
    positions = np.array([[0.0], [1.0], [2.0], [3.0], [10.0]], np.float32)
    query = np.array([[0.1]], np.float32)
    assert neighbor_recall(positions, query, np.array([[0, 1, 4]], np.int32)) == pytest.approx(2 / 3)
    own = np.array([0])
    assert neighbor_recall(positions, positions[:1], np.array([[1, 2]], np.int32), own=own) == 1.0
