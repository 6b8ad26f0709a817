"""Alignment: the affine under which a query and a stored image agree best, found by gradient.

In: equalised images and first guesses.  Out: refined affines and their correlations.  Never here: where guesses come
from, or what a correlation means (`verdict`).
"""

from __future__ import annotations

import functools

import numpy as np

from cbir_daemon.matching.geometry import Floats, compose, inside, inverse, pixel_grid, sample

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
    squares = np.subtract.outer(np.arange(side), np.arange(side)).astype(np.float32) ** 2
    # Below a tenth of a pixel a Gaussian is the identity; dividing by less would overflow.
    weights = np.exp(squares / (-2 * np.maximum(sigmas_px, np.float32(0.1)) ** 2)[:, None, None])
    # They add nothing, and products with numbers too small for float32's own form take a hundred times as long.
    weights[weights < _LEAST_WEIGHT] = 0
    return np.asarray(weights / weights.sum(axis=2, keepdims=True), dtype=np.float32)


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
        self.values = image.ravel()
        gradient_y, gradient_x = np.gradient(image, 2 / self.side)
        grid = pixel_grid(self.side)
        steepest = np.concatenate([gradient_x.ravel() * grid, gradient_y.ravel() * grid])
        self.steepest = np.ascontiguousarray(steepest.T, dtype=np.float32)
        # One product with the overlap gives the hessian, the slope at the query itself and the query's energy there.
        squares = self.steepest[:, _ROW] * self.steepest[:, _COLUMN]
        own = self.steepest * self.values[:, None]
        self.products = np.concatenate([squares, own, self.values[:, None] ** 2], axis=1)


def refine(template: Template, stored: Floats, affines: Floats, steps: int) -> tuple[Floats, Floats]:
    """Return affines refined by Gauss-Newton on the enhanced correlation, all candidates at once.

    Parameters
    ----------
    template : Template
        Of the query.
    stored : (n, s, s) ndarray of float32
        Equalised; negatives with their sign turned.
    affines : (n, 2, 3) ndarray of float32
        First guesses, from points of the query to points of the stored image.
    steps : int
        Near the solution each halves the error or better.

    Returns
    -------
    affines : (n, 2, 3) ndarray of float32
    correlations : (n,) ndarray of float32
        Over the overlap, before the last step.

    Notes
    -----
    The inverse compositional form: a step samples each stored image once and solves a 6x6 system; about 40 ns for each
    pixel, candidate and step.

    References
    ----------
    Baker, Matthews: Lucas-Kanade 20 years on, IJCV 2004, section 3.2.  Evangelidis, Psarakis: Parametric image
    alignment using enhanced correlation coefficient maximization, PAMI 2008 (the gain is taken out).
    """
    correlations = np.zeros(len(affines), dtype=np.float32)
    curvature = np.zeros((len(affines), 6, 6), dtype=np.float32)
    for _ in range(steps):
        overlap = inside(affines, template.side, EDGE_PX)
        seen = sample(stored, affines, template.side).reshape(len(affines), -1) * overlap
        products = overlap @ template.products
        energy = np.maximum(np.einsum("np,np->n", seen, seen), 1e-6)
        own_energy = np.maximum(products[:, -1], 1e-6)
        correlations = (seen @ template.values) / np.sqrt(energy * own_energy)
        slope = np.sqrt(own_energy / energy)[:, None] * (seen @ template.steepest) - products[:, -7:-1]
        curvature[:, _ROW, _COLUMN] = curvature[:, _COLUMN, _ROW] = products[:, :-7]
        affines = newton_step(affines, curvature, slope)
    return affines, correlations


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
