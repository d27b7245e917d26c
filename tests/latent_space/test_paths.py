import numpy as np
import pytest
import torch

from textvae.latent_space.paths import PATHS, analogy, linear, spherical, traversal
from textvae.support.errors import UserError

A, B = np.array([1.0, 2.0, -0.3], np.float32), np.array([-0.7, 0.1, 4.0], np.float32)


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize(
    "b", [B, A, 2 * A, -A, 0 * A, -3 * A], ids=["other", "same", "along", "against", "zero", "far"]
)
@pytest.mark.parametrize("steps", [2, 5])
def test_ends_are_exact_and_nothing_is_undefined(path, b, steps):
    for first, last in ((A, b), (b, A)):
        found = path(first, last, steps)
        assert found.shape == (steps, 3)
        assert np.array_equal(found[0].astype(np.float32), first)
        assert np.array_equal(found[-1].astype(np.float32), last)
        assert np.isfinite(found).all()


def test_linear_is_evenly_spaced():
    assert np.allclose(np.diff(linear(A, B, 5), axis=0), (B.astype(float) - A) / 4)


def test_spherical_turns_by_equal_angles_and_its_length_changes_evenly():
    found = spherical(A, B, 6)
    lengths = np.linalg.norm(found, axis=1)
    unit = found / lengths[:, None]
    angles = np.arccos((unit[1:] * unit[:-1]).sum(1))
    assert np.allclose(angles, angles[0])
    assert np.allclose(np.diff(lengths), (np.linalg.norm(B) - np.linalg.norm(A)) / 5)
    assert np.linalg.matrix_rank(np.vstack([A, B, found]), tol=1e-5) == 2, "stays in the plane of both"


def test_spherical_between_opposites_keeps_the_length():
    assert np.allclose(np.linalg.norm(spherical(A, -A, 5), axis=1), np.linalg.norm(A))


def test_spherical_in_one_dimension_is_linear():
    assert np.allclose(spherical([1.0], [-1.0], 3), [[1], [0], [-1]])


def test_tensors_are_vectors_too():
    assert np.array_equal(linear(torch.tensor(A), torch.tensor(B), 3), linear(A, B, 3))


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_mistakes_are_named(path):
    with pytest.raises(UserError, match="expected 2 steps or more, got 1"):
        path(A, B, 1)
    with pytest.raises(UserError, match=r"the same size, got shapes \(3,\) and \(2,\)"):
        path(A, B[:2], 3)


def test_an_analogy_completes_a_parallelogram():
    found = analogy(A, B, 2 * A)
    assert np.allclose(found - 2 * A, A.astype(float) - B)
    assert np.allclose(analogy(A, A, B), B)
    with pytest.raises(UserError, match=r"the same size, got shapes \(3,\) and \(3,\) and \(2,\)"):
        analogy(A, B, B[:2])


def test_a_traversal_changes_one_dimension():
    found = traversal(A, 1, [-2.0, 0.0, 5.0])
    assert found[:, 1].tolist() == [-2, 0, 5]
    assert np.array_equal(found[:, [0, 2]].astype(np.float32), np.tile(A[[0, 2]], (3, 1)))
    for dimension in (-1, 3):
        with pytest.raises(UserError, match=f"from 0 to 2, got {dimension}"):
            traversal(A, dimension, [0.0])
