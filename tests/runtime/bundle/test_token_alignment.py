"""The alignment of semantic tokens with phones, and its file."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from soundstorm_runtime.bundle.reader import read_bundle
from soundstorm_runtime.bundle.token_alignment import TokenAlignment, read_alignment, write_alignment
from soundstorm_runtime.errors import BundleError


def likely(*pairs, symbols=3, vocabulary=6):
    table = np.full((symbols, vocabulary), -9.0)
    for symbol, token in pairs:
        table[symbol, token] = -0.1
    return TokenAlignment(table)


def test_tokens_are_counted_for_the_phone_that_they_speak():
    alignment = likely((0, 1), (1, 2), (1, 3), (2, 5))
    phones, tokens = np.array([0, 1, 2, 0]), np.array([1, 1, 2, 3, 2, 5, 1, 1, 1])
    assert alignment.counts(phones, tokens).tolist() == [2, 3, 1, 3]


def test_a_phone_without_a_fitting_token_has_one_of_its_neighbours():
    alignment = likely((0, 1), (2, 5))
    assert alignment.counts(np.array([0, 1, 2]), np.array([1, 1, 5, 5])).sum() == 4
    assert alignment.counts(np.array([0, 1, 2]), np.array([1, 1, 5, 5])).min() == 1


def test_more_phones_than_tokens_share_them():
    alignment = likely((0, 1), (1, 2), (2, 5))
    assert alignment.counts(np.array([0, 0, 1, 2, 2]), np.array([1, 2, 5])).tolist() == [0, 1, 1, 0, 1]
    assert alignment.counts(np.array([0, 1]), np.array([4])).tolist() == [0, 1]


def test_it_is_read_as_it_was_written(tmp_path):
    alignment = likely((0, 1))
    for name in ("a.npz", "b.npz"):
        write_alignment(tmp_path / name, alignment)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    read = read_alignment(tmp_path / "a.npz", 3, 6)
    np.testing.assert_allclose(read.log_probabilities, alignment.log_probabilities, rtol=1e-3)


def save(path, array, name="log_probabilities"):
    np.savez(path, **{name: array})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(b"no archive"), "cannot be read as an alignment"),
        (
            lambda path: save(path, np.zeros((3, 5), np.float16)),
            r"\[3, 5\], expected finite float16",
        ),
        (lambda path: save(path, np.zeros((3, 6))), "it has float64"),
        (lambda path: save(path, np.full((3, 6), np.nan, np.float16)), "expected finite float16"),
        (lambda path: save(path, np.zeros((3, 6), np.float16), "other"), "it has the arrays"),
        (lambda path: save(path, np.array([[None] * 6] * 3)), "cannot be read as an alignment"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, damage, message):
    file = tmp_path / "alignment.npz"
    damage(file)
    with pytest.raises(BundleError, match=message):
        read_alignment(file, 3, 6)


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path):
    file = tmp_path / "alignment.npz"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("log_probabilities.npy", bytes(17 << 20))
    with pytest.raises(BundleError, match="it unpacks to"):
        read_alignment(file, 3, 6)


def test_older_bundles_have_none(make_bundle):
    assert read_bundle(make_bundle("autoregressive")).alignment() is None


def test_the_manifest_names_the_file(make_bundle):
    bundle = read_bundle(make_bundle("autoregressive", alignment=True))
    assert bundle.alignment() is not None
    bundle.check()
    (bundle.path / "alignment.npz").unlink()
    with pytest.raises(BundleError, match=r"alignment\.npz is missing"):
        read_bundle(bundle.path)
