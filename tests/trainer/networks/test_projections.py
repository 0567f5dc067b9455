"""How features become a part of the embedding."""

import numpy as np
import pytest

from trainer.networks.projections import (
    class_means,
    discriminant,
    fine_directions,
    joint,
    principal_directions,
    projection,
    whitening,
)


def photos(products=30, each=8, width=6, seed=0):
    """Features whose first axis varies most, but within products only; the others tell products apart."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(products), each)
    features = rng.normal(size=(len(labels), width)) * 0.3
    features[:, 0] += 5.0 * rng.normal(size=len(labels))
    features[:, 1:] += (rng.normal(size=(products, width - 1)) * 0.7 ** np.arange(width - 1))[labels]
    return (features + 2.0).astype(np.float32), labels


def nearest_is_right(vectors, labels):
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    similar = unit @ unit.T
    np.fill_diagonal(similar, -2.0)
    return (labels[similar.argmax(axis=1)] == labels).mean()


def test_half_a_whitening_leaves_the_root_of_each_deviation():
    rng = np.random.default_rng(1)
    features = rng.normal(size=(4000, 3)).astype(np.float32) * np.array([9.0, 4.0, 1.0], np.float32) + 5.0
    mean, matrix = whitening(features, 3)
    deviations = ((features - mean) @ matrix).std(axis=0)
    np.testing.assert_allclose(deviations, [3.0, 2.0, 1.0], rtol=0.05)
    # Directions that hold nothing are left out instead of divided by nothing.
    assert whitening(np.repeat(features[:, :1], 3, axis=1), 3)[1].shape == (3, 1)


def test_the_first_discriminant_is_what_tells_products_apart():
    features, labels = photos()
    _, matrix = discriminant(features, labels, 1)
    assert np.abs(matrix[:, 0]).argmax() == 1
    # Whitening cannot know: what varies most comes first.
    assert np.abs(whitening(features, 1)[1][:, 0]).argmax() == 0


def test_discriminants_have_unit_spread_in_the_mixture_of_within_and_all():
    features, labels = photos()
    mean, matrix = discriminant(features, labels, 6)
    projected = (features - mean) @ matrix
    within = projected - class_means(projected, labels)[labels]
    mixed = 0.85 * within.T @ within / (len(labels) - 30) + 0.15 * np.cov(projected.T)
    np.testing.assert_allclose(mixed, np.eye(6), atol=1e-3)


def test_photos_of_new_products_are_told_apart_by_the_discriminants_of_others():
    features, labels = photos(products=60)
    known = labels < 40
    mean, matrix = discriminant(features[known], labels[known], 6)
    new = features[~known]
    projected = nearest_is_right((new - mean) @ matrix, labels[~known])
    mean, matrix = whitening(features[known], 6)
    assert projected > nearest_is_right((new - mean) @ matrix, labels[~known]) + 0.05


@pytest.mark.parametrize("find", [lambda x, y: discriminant(x, y, 5), lambda x, _: whitening(x, 5)])
def test_fewer_pictures_than_features_give_the_same(find):
    features, labels = photos(products=8, each=3)
    mean, matrix = find(features, labels)
    wide = np.concatenate([features, np.zeros((24, 30), np.float32)], axis=1)
    wide_mean, wide_matrix = find(wide, labels)
    np.testing.assert_allclose((wide - wide_mean) @ wide_matrix, (features - mean) @ matrix, atol=2e-3)


def test_products_of_a_single_picture_leave_whitening():
    features, labels = photos(products=12, each=2)
    single = np.arange(24)
    np.testing.assert_array_equal(projection(features, single, 3)[1], whitening(features, 3)[1])
    np.testing.assert_array_equal(projection(features, labels, 3)[1], discriminant(features, labels, 3)[1])
    assert not np.allclose(np.abs(projection(features, labels, 3)[1]), np.abs(whitening(features, 3)[1]))


def test_joint_features_are_those_of_each_member_at_unit_length():
    rng = np.random.default_rng(2)
    both = joint([rng.normal(size=(4, 3)).astype(np.float32), 9 * rng.normal(size=(4, 2)).astype(np.float32)])
    assert both.shape == (4, 5)
    np.testing.assert_allclose(np.linalg.norm(both[:, :3], axis=1), 1.0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(both[:, 3:], axis=1), 1.0, atol=1e-6)


def test_fine_directions_are_whitened_and_leave_the_largest_out():
    rng = np.random.default_rng(1)
    features = rng.normal(size=(4000, 3)).astype(np.float32) * np.array([9.0, 4.0, 1.0], np.float32) + 5.0
    mean, matrix = fine_directions(features, 2, behind=1)
    seen = (features - mean) @ matrix
    np.testing.assert_allclose(seen.std(axis=0), [1.0, 1.0], rtol=0.05)
    assert np.abs(matrix[0]).max() < 0.02  # the axis that varies most


def test_principal_directions_are_orthonormal_and_zeros_where_there_are_no_more():
    features, _ = photos()
    directions = principal_directions(features, 8)
    assert directions.shape == (6, 8)
    np.testing.assert_allclose(directions.T @ directions, np.diag([1.0] * 6 + [0.0] * 2), atol=1e-5)
