"""What would give wrong numbers without a word: everything goes by id, or is refused."""

import numpy as np
import pytest

from blobs import make_run
from dualcontrast import Codes, DualContrast, RunFolder
from dualcontrast.data.arrays import ArraySource
from dualcontrast.data.labels import Factor, LabelTable
from dualcontrast.errors import DataError
from dualcontrast.evaluation.evaluate import evaluate_run
from dualcontrast.pipeline import encode, train
from dualcontrast.prepare import choose_preparation
from dualcontrast.run_folder import CODES
from star_project import write_mrc
from toy_images import bars

FAST = {"epochs": 1, "batch_size": 16, "content_dim": 2, "transformation_dim": 2}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on 80 images in [0, 1], which are in `images.npy` beside it."""
    folder = tmp_path_factory.mktemp("silent")
    np.save(folder / "images.npy", bars(80, (16, 16))[0])
    train(
        folder / "images.npy",
        folder / "run",
        changes=FAST,
        device="cpu",
        evaluate=False,
        progress=False,
        normalisation="unit",
    )
    return folder


def test_codes_in_another_order_have_the_same_scores(tmp_path):
    run = make_run(tmp_path / "run", count=150)
    before = evaluate_run(run)
    codes = run.codes
    order = np.random.default_rng(1).permutation(len(codes))
    shuffled = Codes(**{name: values[order] for name, values in codes.arrays().items()})
    assert not np.array_equal(shuffled.ids, codes.ids)
    shuffled.save(run.path / CODES)
    assert evaluate_run(run, overwrite=True) == before


def test_labels_in_another_order_have_the_same_scores(tmp_path):
    run = make_run(tmp_path / "run", count=150)
    before = evaluate_run(run)
    labels = run.source.labels
    order = np.random.default_rng(1).permutation(len(labels.ids))
    factors = tuple(Factor(factor.name, factor.role, factor.values[order]) for factor in labels.factors)
    shuffled = LabelTable(labels.ids[order], factors)
    assert evaluate_run(run, shuffled, overwrite=True) == before


def test_labels_that_were_shuffled_against_their_ids_are_seen_in_the_scores(tmp_path):
    # The two tests above would pass as well if labels counted for nothing.
    run = make_run(tmp_path / "run", count=150)
    before = evaluate_run(run)["d_score"]["content"]["from_content"]
    labels = run.source.labels
    order = np.random.default_rng(1).permutation(len(labels.ids))
    factors = tuple(Factor(factor.name, factor.role, factor.values[order]) for factor in labels.factors)
    wrong = evaluate_run(run, LabelTable(labels.ids, factors), overwrite=True)
    assert wrong["d_score"]["content"]["from_content"] < 0.6 < 0.95 < before


@pytest.mark.parametrize("suffix", [".npz", ".parquet", ".zarr"])
def test_codes_with_an_id_twice_are_refused(tmp_path, suffix):
    values = np.zeros((3, 2), np.float32)
    Codes(np.array(["a", "b", "a"]), values, values).save(tmp_path / f"codes{suffix}")
    with pytest.raises(DataError, match=f"codes{suffix}: codes: particle id 'a' is repeated"):
        Codes.load(tmp_path / f"codes{suffix}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda images: images[::-1], "the pixels have changed, the ids are the same"),
        (lambda images: 1 - images, "the pixels have changed, the ids are the same"),
        (lambda images: images[:-1], "79 images, formerly 80"),
        (lambda images: images[..., :15], "formerly"),
    ],
)
def test_a_run_is_not_judged_by_other_images_of_the_same_names(trained, change, message):
    images = np.load(trained / "images.npy")
    np.save(trained / "images.npy", change(images))
    try:
        with pytest.raises(DataError, match=message):
            RunFolder.open(trained / "run").open_source()
    finally:
        np.save(trained / "images.npy", images)
    assert len(RunFolder.open(trained / "run").open_source()) == 80


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda images: images[..., :15, :15], "images of shape"),
        (lambda images: np.pad(images, ((0, 0), (0, 0), (8, 8), (8, 8))), "images of shape"),
        (lambda images: np.repeat(images, 3, axis=1), "images of shape"),
        (lambda images: np.repeat(images[:, :, None], 16, axis=2), "images of shape"),
        (lambda images: images * 255, "scale them as the training images were"),
        (lambda images: images / 255, "scale them as the training images were"),
        (lambda images: (images * 4095).astype(np.uint16), "scale them as the training images were"),
        (lambda images: (images - images.mean()) / images.std() * 10, "scale them"),
    ],
    ids=["cropped", "padded", "colour", "volumes", "times 255", "by 255", "12 bits in 16", "standardised"],
)
def test_images_of_another_preparation_are_not_encoded(trained, tmp_path, change, message):
    np.save(tmp_path / "other.npy", change(np.load(trained / "images.npy")))
    with pytest.raises(DataError, match=message):
        encode(trained / "run", tmp_path / "other.npy", tmp_path / "codes.npz", device="cpu", progress=False)
    assert not (tmp_path / "codes.npz").exists()


def test_eight_bits_are_the_same_images(trained, tmp_path):
    images = np.load(trained / "images.npy")
    np.save(tmp_path / "bytes.npy", np.round(images * 255).astype(np.uint8))
    model = RunFolder.open(trained / "run").load_model("cpu", progress=False)
    encode(trained / "run", tmp_path / "bytes.npy", tmp_path / "codes.npz", device="cpu", progress=False)
    found, expected = Codes.load(tmp_path / "codes.npz").content, model.encode(images).content
    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())


def spheres(sign, count=24, seed=0):
    """Noisy volumes with a ball of another brightness in the middle."""
    rng = np.random.default_rng(seed)
    axis = np.arange(16) - 7.5
    radius = np.sqrt(sum(np.square(part) for part in np.meshgrid(axis, axis, axis)))
    return (sign * 2.0 * (radius < 5) + rng.normal(size=(count, 16, 16, 16))).astype(np.float32)


@pytest.mark.parametrize("sign", [1, -1])
def test_volumes_of_the_other_contrast_are_not_encoded(sign):
    preparation = choose_preparation(ArraySource(spheres(sign)))
    preparation.check_source(ArraySource(spheres(sign, seed=1)))
    with pytest.raises(DataError, match="invert the volumes"):
        preparation.check_source(ArraySource(spheres(-sign, seed=1)))
    # A contrast that was given and not measured is the user's word.
    given = choose_preparation(ArraySource(spheres(sign)), contrast="light")
    given.check_source(ArraySource(spheres(-sign, seed=1)))


def test_a_voxel_size_that_is_not_said_is_said_to_be_taken(tmp_path, caplog):
    source = ArraySource(spheres(1))
    source.voxel_size = 10.0
    preparation = choose_preparation(source)
    other = ArraySource(spheres(1, seed=1))
    with caplog.at_level("WARNING", logger="dualcontrast"):
        preparation.check_source(other)
    assert "taken for the 10 Å" in caplog.text
    other.voxel_size = 10.2
    with pytest.raises(DataError, match=r"voxels of 10.2 Å, but the model was trained on 10 Å"):
        preparation.check_source(other)


def test_a_stack_and_a_folder_of_the_same_volumes_have_the_same_codes(tmp_path):
    volumes = spheres(1)
    (tmp_path / "folder").mkdir()
    for number, volume in enumerate(volumes):
        write_mrc(tmp_path / "folder" / f"{number:02d}.mrc", volume, 10.0)
    np.save(tmp_path / "volumes.npy", volumes)
    model = DualContrast(**FAST, device="cpu", progress=False).fit(volumes)
    expected = model.encode(volumes)
    from dualcontrast.data.open import open_source

    found = model.encode(open_source(tmp_path / "folder"))
    np.testing.assert_array_equal(found.content, expected.content)
