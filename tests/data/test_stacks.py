"""Stacks of images in Zarr stores and HDF5 files."""

import h5py
import numpy as np
import pytest
import zarr

from dualcontrast.data.open import open_source
from dualcontrast.errors import DataError

RNG = np.random.default_rng(0)
VOLUMES = RNG.normal(size=(6, 16, 17, 18)).astype(np.float32)
SHAPES = {
    "volumes": (VOLUMES, VOLUMES[:, None]),
    "volumes with channels": (VOLUMES[:, None], VOLUMES[:, None]),
    "images": (VOLUMES[:, 0], VOLUMES[:, 0][:, None]),
    "colours": (np.moveaxis(VOLUMES[:, :3], 1, -1), VOLUMES[:, :3]),
}


def write_zarr(path, data, version=3, chunk=2, **attributes):
    array = zarr.create_array(
        path, shape=data.shape, chunks=(chunk, *data.shape[1:]), dtype=data.dtype, zarr_format=version
    )
    array[...] = data
    array.attrs.update(attributes)
    return path


def write_hdf5(path, data, name="images", **attributes):
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset(name, data=data, chunks=(2, *data.shape[1:]), compression="gzip")
        dataset.attrs.update(attributes)
    return path


WRITERS = {"a.zarr": write_zarr, "a.h5": write_hdf5, "a.hdf5": write_hdf5, "a.hdf": write_hdf5}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("kind", SHAPES)
def test_arrays_come_back_in_any_order(tmp_path, name, kind):
    data, expected = SHAPES[kind]
    path = WRITERS[name](tmp_path / name, data, voxel_size=6.5)
    source = open_source(path)
    assert (source.location, source.voxel_size) == (str(path), 6.5)
    assert source.ids.tolist() == list("012345")
    assert source.image_shape == expected.shape[1:]
    np.testing.assert_array_equal(source.read([5, 0, 3, 0]), expected[[5, 0, 3, 0]])
    assert source.read([]).shape == (0, *expected.shape[1:])


@pytest.mark.parametrize("name", ["a.zarr", "a.h5"])
def test_integers_are_scaled_as_everywhere(tmp_path, name):
    data = RNG.integers(0, 256, (3, 16, 16), dtype=np.uint8)
    source = open_source(WRITERS[name](tmp_path / name, data))
    assert source.stored_range == (0, 1)
    assert source.voxel_size is None
    np.testing.assert_allclose(source.read([2, 1])[:, 0], data[[2, 1]] / 255, rtol=1e-6)


def test_zarr_of_format_2(tmp_path):
    source = open_source(write_zarr(tmp_path / "a.zarr", VOLUMES, version=2))
    np.testing.assert_array_equal(source.read([4])[0, 0], VOLUMES[4])


def test_zarr_groups(tmp_path):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    group.create_array("volumes", data=VOLUMES)
    group.create_array("poses", data=np.zeros((6, 3)))
    group.attrs["voxel_size"] = [3.0, 3.0, 3.0]
    source = open_source(tmp_path / "a.zarr")
    assert source.voxel_size == 3
    np.testing.assert_array_equal(source.read([1])[0, 0], VOLUMES[1])
    zarr.open_group(tmp_path / "b.zarr", mode="w").create_array("x", data=VOLUMES)
    assert len(open_source(tmp_path / "b.zarr")) == 6
    zarr.open_group(tmp_path / "b.zarr").create_array("y", data=VOLUMES)
    with pytest.raises(DataError, match=r"b\.zarr: has no array `images` or `volumes` \(arrays: x, y\)"):
        open_source(tmp_path / "b.zarr")


def test_only_what_is_asked_for_is_read_from_zarr(tmp_path):
    path = write_zarr(tmp_path / "a.zarr", VOLUMES)
    chunk = next((path / "c" / "2").rglob("0"))
    while chunk.is_dir():
        chunk = chunk / "0"
    chunk.write_bytes(b"damaged")
    source = open_source(path)
    np.testing.assert_array_equal(source.read([0, 3])[:, 0], VOLUMES[[0, 3]])
    with pytest.raises(DataError, match=r"a\.zarr: a chunk cannot be read"):
        source.read([4])
    good = open_source(path, skip_bad=True)
    assert good.ids.tolist() == list("0123")
    assert list(good.skipped) == ["4", "5"]


def test_zarr_codecs_that_run_code_are_refused(tmp_path):
    store = tmp_path / "a.zarr"
    store.mkdir()
    (store / ".zarray").write_text(
        '{"zarr_format": 2, "shape": [2, 16, 16], "chunks": [2, 16, 16], "dtype": "<f4", "order": "C", '
        '"fill_value": 0, "compressor": null, "filters": [{"id": "pickle", "protocol": 5}]}'
    )
    with pytest.raises(DataError, match=r"a\.zarr: .*pickle"):
        open_source(store).read([0])


@pytest.mark.parametrize("text", ["", "{", '{"zarr_format": 3, "node_type": "array"}'])
def test_damaged_zarr(tmp_path, text):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "zarr.json").write_text(text)
    with pytest.raises(DataError, match=r"a\.zarr: not a Zarr store that can be read") as caught:
        open_source(tmp_path / "a.zarr")
    assert "\n" not in str(caught.value)


def write_eman(path, volumes=VOLUMES, apix=4.2, order=None):
    with h5py.File(path, "w") as file:
        for row in order or range(len(volumes)):
            group = file.create_group(f"MDF/images/{row}")
            group.create_dataset("image", data=volumes[row])
            group.attrs["EMAN.apix_x"] = np.float32(apix)
    return path


@pytest.mark.parametrize("kind", ["volumes", "images"])
def test_eman_stacks(tmp_path, kind):
    # More than ten, so that the order of numbers is not that of their digits.
    stack = RNG.normal(size=(12, 16, 16, 16) if kind == "volumes" else (12, 16, 16)).astype(np.float32)
    source = open_source(write_eman(tmp_path / "a.hdf", stack))
    assert source.ids.tolist() == [str(row) for row in range(12)]
    assert source.voxel_size == pytest.approx(4.2)
    assert source.image_shape == (1, *stack.shape[1:])
    np.testing.assert_array_equal(source.read([11, 2])[:, 0], stack[[11, 2]])


def test_eman_values_of_fewer_bits_get_their_range_back(tmp_path):
    path = write_eman(tmp_path / "a.hdf", RNG.integers(0, 4096, (2, 16, 16, 16), dtype=np.uint16))
    with h5py.File(path, "r+") as file:
        stored = file["MDF/images/1/image"][()]
        file["MDF/images/1"].attrs.update(
            {"EMAN.stored_renderbits": 12, "EMAN.stored_rendermin": -2.5, "EMAN.stored_rendermax": 7.5}
        )
    # 0 stands for the lowest value, 2^12 - 1 for the highest.
    expected = -2.5 + stored / 4095 * 10
    np.testing.assert_allclose(open_source(path).read([1])[0, 0], expected, rtol=1e-5, atol=1e-5)


def test_eman_boxes_that_differ(tmp_path):
    path = write_eman(tmp_path / "a.hdf")
    with h5py.File(path, "r+") as file:
        del file["MDF/images/3/image"]
        file.create_dataset("MDF/images/3/image", data=np.ones((9, 9, 9), np.float32))
    with pytest.raises(DataError, match=r"a\.hdf: image 3 is 9×9×9, but the first is 16×17×18"):
        open_source(path).read([2, 3])
    assert open_source(path, skip_bad=True).ids.tolist() == list("01245")


def test_links_into_other_files_are_refused(tmp_path):
    write_hdf5(tmp_path / "b.h5", VOLUMES)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = h5py.ExternalLink("b.h5", "images")
    with pytest.raises(DataError, match=r"a\.h5: 'images' is a link to another file; copy its data"):
        open_source(tmp_path / "a.h5")
    with h5py.File(tmp_path / "v.h5", "w") as file:
        layout = h5py.VirtualLayout(VOLUMES.shape, VOLUMES.dtype)
        layout[...] = h5py.VirtualSource(tmp_path / "b.h5", "images", VOLUMES.shape)
        file.create_virtual_dataset("images", layout)
    with pytest.raises(DataError, match=r"v\.h5: 'images' keeps its data in other files"):
        open_source(tmp_path / "v.h5")
    (tmp_path / "raw").write_bytes(VOLUMES.tobytes())
    with h5py.File(tmp_path / "e.h5", "w") as file:
        external = [(str(tmp_path / "raw"), 0, VOLUMES.nbytes)]
        file.create_dataset("images", VOLUMES.shape, VOLUMES.dtype, external=external)
    with pytest.raises(DataError, match=r"e\.h5: 'images' keeps its data in other files"):
        open_source(tmp_path / "e.h5")


def test_bad_hdf5(tmp_path):
    path = tmp_path / "a.h5"
    path.write_bytes(b"no HDF5")
    with pytest.raises(DataError, match=r"a\.h5: not a whole HDF5 file"):
        open_source(path)
    path.write_bytes(write_hdf5(tmp_path / "b.h5", VOLUMES).read_bytes()[:3000])
    with pytest.raises(DataError, match=r"a\.h5: not a whole HDF5 file"):
        open_source(path)
    with h5py.File(path, "w") as file:
        file["x"], file["y"] = VOLUMES, VOLUMES
    with pytest.raises(DataError, match=r"has no dataset `images` or `volumes` \(datasets: x, y\)"):
        open_source(path)


@pytest.mark.parametrize("name", ["a.zarr", "a.h5"])
@pytest.mark.parametrize(
    ("data", "attributes", "message"),
    [
        (VOLUMES, {"voxel_size": [1.0, 1.0, 2.0]}, r"voxels of \[1.0, 1.0, 2.0\] Å are no cubes"),
        (VOLUMES, {"voxel_size": "ten"}, "is no length in Å"),
        (VOLUMES, {"voxel_size": -1.0}, "is no length in Å"),
        (np.zeros((4, 5)), {}, "is not images"),
        (np.zeros((4, 16, 16), np.complex64), {}, "pixels of type complex64"),
    ],
)
def test_bad_contents(tmp_path, name, data, attributes, message):
    path = WRITERS[name](tmp_path / name, data, **attributes)
    with pytest.raises(DataError, match=message) as caught:
        open_source(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["a.zarr", "a.h5"])
def test_no_voxel_size_and_nan(tmp_path, name):
    data = VOLUMES.copy()
    data[2, 0, 0, 0] = np.nan
    source = open_source(WRITERS[name](tmp_path / name, data, voxel_size=0.0))
    assert source.voxel_size is None
    with pytest.raises(DataError, match="NaN or infinite pixels in image '2'"):
        source.read([1, 2])
