"""Alignment: the affine under which a query and a stored image agree best, found by gradient.

In: equalised images and first guesses.  Out: refined affines and their correlations.  Never here: where guesses come
from, or what a correlation means (`verdict`).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.matching.geometry import Floats, compose, inside_at, inverse, landings, pixel_grid, sample_at

# Standard deviations in pixels of the band that counts: finer is noise and JPEG, coarser is shading.
FINE_PX = 0.7
COARSE_PX = 3.0

# Grey levels of local detail below which noise and agreement cannot be told apart.  6 parts true from false pairs
# better than 3: of the true ones 0.3 % more pass at no false one.
NOISE_LEVELS = 6.0

# Weight below which a Gaussian counts as 0.
_LEAST_WEIGHT = 1e-20

# Pixels next to an edge that are left out: both images go on differently behind it.
EDGE_PX = 1.0

# Share of the mean curvature added to all: directions in which the overlap has no structure do not move.
_DAMPING = 0.01

# A step longer than a tenth of the picture is a guess, not a gradient.
_LONGEST_STEP = 0.2

_ROW, _COLUMN = np.triu_indices(6)

# Of each element of a symmetric matrix where it is among those of its upper triangle.
_SYMMETRIC = np.zeros((6, 6), dtype=np.int64)
_SYMMETRIC[_ROW, _COLUMN] = _SYMMETRIC[_COLUMN, _ROW] = np.arange(len(_ROW))


@functools.cache
def blur(side: int, sigma_px: float) -> Floats:
    """Return the Gaussian along one axis as a matrix; its rows sum to 1 at the edges too.

    Parameters
    ----------
    side : int
        Pixels along the axis.
    sigma_px : float
        Standard deviation in pixels; below 0.1 it is taken as 0.1.

    Returns
    -------
    (side, side) ndarray of float32
    """
    return np.asarray(blurs(side, np.array([sigma_px], dtype=np.float32))[0], dtype=np.float32)


def blurs(side: int, sigmas_px: Floats) -> Floats:
    """Return for each standard deviation the Gaussian along one axis as a matrix; its rows sum to 1 at the edges too.

    Parameters
    ----------
    side : int
        Pixels along the axis.
    sigmas_px : (n,) ndarray of float32
        Standard deviations in pixels; below 0.1 they are taken as 0.1.

    Returns
    -------
    (n, side, side) ndarray of float32
    """
    distances_px = np.arange(side, dtype=np.float32)
    # Below a tenth of a pixel a Gaussian is the identity; dividing by less would overflow.
    weights = np.exp(distances_px**2 / (-2 * np.maximum(sigmas_px, np.float32(0.1)) ** 2)[:, None])
    # They add nothing, and products with numbers too small for float32's own form take a hundred times as long.
    weights[weights < _LEAST_WEIGHT] = 0
    spread = weights[:, _distances(side)]
    return np.asarray(spread / spread.sum(axis=2, keepdims=True), dtype=np.float32)


@functools.lru_cache(4)
def _distances(side: int) -> NDArray[np.int64]:
    """Return (side, side): how many pixels lie between each two along an axis."""
    return np.abs(np.subtract.outer(np.arange(side), np.arange(side)))


def detail(images: Floats) -> Floats:
    """Return edges and texture of images without their shading: the difference of two Gaussians.

    Parameters
    ----------
    images : (n, s, s) ndarray of float32
        Grey levels.

    Returns
    -------
    (n, s, s) ndarray of float32
        Grey levels, around 0; deviations of the two are `FINE_PX` and `COARSE_PX`.
    """
    fine, coarse = blur(images.shape[-1], FINE_PX), blur(images.shape[-1], COARSE_PX)
    return np.asarray(fine @ images @ fine.T - coarse @ images @ coarse.T, dtype=np.float32)


def equalize(images: Floats) -> Floats:
    """Return images without local brightness and contrast: every edge and texture counts alike.

    Parameters
    ----------
    images : (n, s, s) ndarray of float32
        Grey levels.

    Returns
    -------
    (n, s, s) ndarray of float32
        Detail over its own local deviation, about -2 to 2.
    """
    details, around = detail(images), blur(images.shape[-1], COARSE_PX)
    variance = around @ (details * details) @ around.T
    return np.asarray(details / np.sqrt(variance + NOISE_LEVELS**2), dtype=np.float32)


class Template:
    """A query made ready for alignment: its gradients and their products belong to all candidates.

    Parameters
    ----------
    image : (s, s) ndarray of float32
        Equalised query.
    """

    def __init__(self, image: Floats) -> None:
        self.side = image.shape[-1]
        gradient_y, gradient_x = np.gradient(image, 2 / self.side)
        grid = pixel_grid(self.side)
        steepest = np.concatenate([gradient_x.ravel() * grid, gradient_y.ravel() * grid])
        # One product with what is seen gives the slope there and the correlation.
        self.lines = np.concatenate([steepest, image.reshape(1, -1)], dtype=np.float32).T
        # One product with the overlap gives the hessian, the slope at the query itself and the query's energy there.
        squares, own = steepest[_ROW] * steepest[_COLUMN], steepest * image.ravel()
        self.products = np.concatenate([squares, own, image.reshape(1, -1) ** 2], dtype=np.float32).T


def refine(
    template: Template,
    images: Floats,
    rows: NDArray[np.int64],
    affines: Floats,
    signs: Floats,
    floors: Sequence[float],
    least_change: float = 0.0,
) -> tuple[Floats, Floats]:
    """Return affines refined by Gauss-Newton on the enhanced correlation, all at once.

    Parameters
    ----------
    template : Template
        Of the query.
    images : (m, s, s) ndarray of float32
        Equalised.
    rows : (n,) ndarray of int64
        The image that each affine leads to.
    affines : (n, 2, 3) ndarray of float32
        First guesses, from points of the query to points of the image.
    signs : (n,) ndarray of float32
        -1 for a negative, else 1.
    floors : sequence of float
        For each step the correlation before it below which an affine is given up: it stays as it is.
    least_change : float
        Change of the correlation below which an affine has arrived: it takes no further step.

    Returns
    -------
    affines : (n, 2, 3) ndarray of float32
    correlations : (n,) ndarray of float32
        Over the overlap, before the last step.

    Notes
    -----
    The inverse compositional form: a step samples each image once and solves a 6x6 system; about 15 ns for each pixel,
    affine and step.

    References
    ----------
    Baker, Matthews: Lucas-Kanade 20 years on, IJCV 2004, section 3.2.  Evangelidis, Psarakis: Parametric image
    alignment using enhanced correlation coefficient maximization, PAMI 2008 (the gain is taken out).
    """
    affines, correlations = affines.copy(), np.full(len(affines), -np.inf, dtype=np.float32)
    active = np.arange(len(affines))
    for floor in floors:
        reached, curvature, slope = _equations(template, images, rows[active], affines[active], signs[active])
        goes_on = (reached >= floor) & (np.abs(reached - correlations[active]) > least_change)
        correlations[active] = reached
        active = active[goes_on]
        if not len(active):
            break
        affines[active] = newton_step(affines[active], curvature[goes_on], slope[goes_on])
    return affines, correlations


def _equations(
    template: Template, images: Floats, rows: NDArray[np.int64], affines: Floats, signs: Floats
) -> tuple[Floats, Floats, Floats]:
    """Return correlations (n,), and curvature (n, 6, 6) and slope (n, 6) of the disagreement, at affines."""
    points = landings(affines, template.side)
    overlap = inside_at(points, template.side, EDGE_PX)
    seen = sample_at(images, points, rows)
    seen *= overlap
    products, along = overlap @ template.products, seen @ template.lines
    along *= signs[:, None]
    energy = np.maximum(np.einsum("np,np->n", seen, seen), 1e-6)
    own_energy = np.maximum(products[:, -1], 1e-6)
    correlations = along[:, -1] / np.sqrt(energy * own_energy)
    slope = np.sqrt(own_energy / energy)[:, None] * along[:, :-1] - products[:, -7:-1]
    return correlations, products[:, _SYMMETRIC], slope


def newton_step(affines: Floats, curvature: Floats, slope: Floats) -> Floats:
    """Return affines after one step: each composed with the inverse of the change that the query would need.

    Parameters
    ----------
    affines : (n, 2, 3) ndarray of float32
        From points of the query to points of the stored image.
    curvature : (n, 6, 6) ndarray of float32
        Of the disagreement, in the six coefficients of an affine; damped here.
    slope : (n, 6) ndarray of float32
        Of the disagreement.

    Returns
    -------
    (n, 2, 3) ndarray of float32
    """
    damping = _DAMPING * np.trace(curvature, axis1=1, axis2=2) / 6 + 1e-3
    hessian = curvature + damping[:, None, None] * np.eye(6)
    change = np.linalg.solve(hessian, slope[:, :, None]).reshape(-1, 2, 3)
    change *= np.minimum(1, _LONGEST_STEP / np.maximum(np.abs(change).max(axis=(1, 2), keepdims=True), 1e-9))
    change[:, :, :2] += np.eye(2)
    return np.asarray(compose(affines, inverse(change.astype(np.float32))), dtype=np.float32)
