"""Paths between latent vectors, traversals of one dimension, and analogies."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from textvae.support.errors import UserError

Vectors = NDArray[np.floating]


def linear(a: ArrayLike, b: ArrayLike, steps: int) -> Vectors:
    """Points on the straight line from a to b, (steps, Z), evenly spaced; the first is a and the last is b.

        z(t) = (1 - t) a + t b

    In many dimensions its middle is shorter than almost any draw from N(0, I); see `spherical`.

    Args:
        a: (Z,).
        b: (Z,).
        steps: number of points, the ends counted.

    Raises:
        UserError: if there are fewer than two steps, or the vectors differ in size.

    Example:
        >>> linear([0.0, 2.0], [1.0, 0.0], 3).tolist()
        [[0.0, 2.0], [0.5, 1.0], [1.0, 0.0]]
    """
    a, b = _ends(a, b, steps)
    return np.linspace(a, b, steps, axis=0)


def spherical(a: ArrayLike, b: ArrayLike, steps: int) -> Vectors:
    """Points from a to b, (steps, Z), that turn by equal angles while their length changes linearly.

        z(t) = [(1 - t) |a| + t |b|] (cos(t ω) u + sin(t ω) v),    ω the angle from a to b

    Here u is the direction of a, and v is orthogonal to u in the plane of a and b. If a and b have the same direction,
    or one of them is zero, the path is the straight line. If they are opposite, v depends on a alone.

    Args:
        a: (Z,).
        b: (Z,).
        steps: number of points, the ends counted.

    Raises:
        UserError: if there are fewer than two steps, or the vectors differ in size.

    References:
        Sampling Generative Networks (White 2016), https://arxiv.org/abs/1609.04468

    Example:
        >>> spherical([1.0, 0.0], [0.0, 3.0], 3).round(3).tolist()
        [[1.0, 0.0], [1.414, 1.414], [0.0, 3.0]]
    """
    a, b = _ends(a, b, steps)
    length_a, length_b = np.linalg.norm(a), np.linalg.norm(b)
    if not length_a or not length_b:
        return linear(a, b, steps)
    u, other = a / length_a, b / length_b
    v, cosine = other - (u @ other) * u, u @ other
    sine = np.linalg.norm(v)
    if sine < PARALLEL:
        if cosine > 0 or a.size == 1:
            return linear(a, b, steps)
        v = _orthogonal(u)
    angle = np.linspace(0, np.arctan2(sine, cosine), steps)[:, None]
    length = np.linspace(length_a, length_b, steps)[:, None]
    path = length * (np.cos(angle) * u + np.sin(angle) * v / np.linalg.norm(v))
    path[0], path[-1] = a, b
    return path


def analogy(a: ArrayLike, b: ArrayLike, c: ArrayLike) -> Vectors:
    """The vector that is to c as a is to b, (Z,).

        z = a - b + c

    Args:
        a: (Z,).
        b: (Z,).
        c: (Z,).

    Raises:
        UserError: if the vectors differ in size.

    References:
        Linguistic Regularities in Continuous Space Word Representations (Mikolov et al. 2013),
        https://aclanthology.org/N13-1090

    Example:
        >>> analogy([1.0, 1.0], [1.0, 0.0], [5.0, 0.0]).tolist()
        [5.0, 1.0]
    """
    first, second, third = _vectors(a, b, c)
    return first - second + third


def traversal(z: ArrayLike, dimension: int, values: ArrayLike) -> Vectors:
    """Copies of z, (steps, Z), with other values in one dimension.

    Args:
        z: (Z,).
        dimension: index of the dimension, from 0.
        values: new values of the dimension, (steps,); for the prior N(0, I) in standard deviations.

    Raises:
        UserError: if z has no such dimension.

    Example:
        >>> traversal([1.0, 2.0], 1, [-3.0, 0.0, 3.0]).tolist()
        [[1.0, -3.0], [1.0, 0.0], [1.0, 3.0]]
    """
    z, values = _vectors(z)[0], np.asarray(values, dtype=np.float64)
    if not 0 <= dimension < z.size:
        raise UserError(
            f"expected a dimension from 0 to {z.size - 1}, got {dimension}: dimensions count from 0"
        )
    path = np.tile(z, (len(values), 1))
    path[:, dimension] = values
    return path


PATHS: dict[str, Callable[[ArrayLike, ArrayLike, int], Vectors]] = {"linear": linear, "spherical": spherical}
"""The paths by name."""

PARALLEL = 1e-7
"""Two directions define no plane if the sine of their angle is smaller than this."""


def _ends(a: ArrayLike, b: ArrayLike, steps: int) -> tuple[Vectors, Vectors]:
    """The two vectors in double precision, which keeps every bit of single precision."""
    if steps < 2:
        raise UserError(f"expected 2 steps or more, got {steps}: both ends count as steps")
    first, last = _vectors(a, b)
    return first, last


def _vectors(*vectors: ArrayLike) -> list[NDArray[np.float64]]:
    """The vectors in double precision, checked to have the same size."""
    found = [np.asarray(vector, dtype=np.float64) for vector in vectors]
    if any(vector.ndim != 1 or vector.shape != found[0].shape for vector in found):
        raise UserError(
            f"expected vectors of the same size, got shapes {' and '.join(str(vector.shape) for vector in found)}: "
            "encode all sentences with one model"
        )
    return found


def _orthogonal(u: Vectors) -> Vectors:
    """A vector orthogonal to the unit vector u, (Z,): the axis farthest from u, minus its component along u."""
    axis = np.zeros_like(u)
    axis[np.abs(u).argmin()] = 1
    return axis - (axis @ u) * u
