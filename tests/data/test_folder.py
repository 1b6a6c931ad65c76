"""Folders of image files."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from dualcontrast.data.folder import FolderSource
from dualcontrast.errors import DataError

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (3, 18, 21), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (3, 18, 21, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (3, 18, 21), dtype=np.uint16)


def save_pillow(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def save_any(path, pixels):
    if path.suffix == ".npy":
        np.save(path, pixels)
    elif path.suffix in (".tif", ".tiff") and pixels.dtype != np.uint8:
        tifffile.imwrite(path, pixels)
    else:
        save_pillow(path, pixels)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".npy", ".PNG"])
@pytest.mark.parametrize(
    ("images", "most"), [(GRAY, 255), (COLOUR, 255), (DEEP, 65535)], ids=["gray", "rgb", "16"]
)
def test_lossless_formats_come_back_by_id(tmp_path, suffix, images, most):
    for name, pixels in zip("cab", images, strict=True):
        save_any(tmp_path / f"{name}{suffix}", pixels)
    source = FolderSource(tmp_path)
    assert source.ids.tolist() == ["a", "b", "c"]
    expected = np.moveaxis(images, -1, 1) if images.ndim == 4 else images[:, None]
    assert source.image_shape == expected.shape[1:]
    assert source.stored_range == (0, 1)
    # Written as c, a, b; read as c, a.
    np.testing.assert_allclose(source.read([2, 0]), expected[[0, 1]] / most, rtol=1e-6)


@pytest.mark.parametrize("suffix", [".tif", ".npy"])
def test_float_images_keep_their_values(tmp_path, suffix):
    images = RNG.normal(size=(2, 18, 21)).astype(np.float32) * 100
    for name, pixels in zip("ab", images, strict=True):
        save_any(tmp_path / f"{name}{suffix}", pixels)
    source = FolderSource(tmp_path)
    np.testing.assert_array_equal(source.read([0, 1])[:, 0], images)
    assert source.stored_range is None


def test_jpeg_is_near(tmp_path):
    smooth = np.add.outer(np.arange(16), np.arange(16)).astype(np.uint8) * 8
    save_pillow(tmp_path / "a.jpg", smooth, quality=95)
    save_pillow(tmp_path / "b.jpeg", smooth[::-1], quality=95)
    source = FolderSource(tmp_path)
    assert source.image_shape == (1, 16, 16)
    np.testing.assert_allclose(source.read([0])[0, 0], smooth / 255, atol=0.03)


def test_volumes_in_tiff_and_npy(tmp_path):
    volume = RNG.random((17, 18, 19)).astype(np.float32)
    tifffile.imwrite(tmp_path / "a.tif", volume)
    np.save(tmp_path / "b.npy", volume * 2)
    source = FolderSource(tmp_path)
    assert source.image_shape == (1, 17, 18, 19)
    np.testing.assert_array_equal(source.read([1, 0])[:, 0], np.stack([volume * 2, volume]))


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_compressed_tiff(tmp_path, compression):
    save_pillow(tmp_path / "a.tif", GRAY[0], compression=compression)
    save_pillow(tmp_path / "b.tif", GRAY[1], compression=compression)
    np.testing.assert_allclose(FolderSource(tmp_path).read([1, 0])[:, 0], GRAY[[1, 0]] / 255, rtol=1e-6)


def test_palette_and_one_bit_images(tmp_path):
    palette = Image.fromarray(COLOUR[0]).quantize(8)
    (tmp_path / "p").mkdir()
    palette.save(tmp_path / "p" / "a.png")
    palette.save(tmp_path / "p" / "b.tif")
    expected = np.moveaxis(np.asarray(palette.convert("RGB")), -1, 0) / 255
    np.testing.assert_allclose(FolderSource(tmp_path / "p").read([0, 1]), np.stack([expected] * 2), rtol=1e-6)
    (tmp_path / "o").mkdir()
    Image.fromarray(GRAY[0] > 127).save(tmp_path / "o" / "a.png")
    np.testing.assert_array_equal(FolderSource(tmp_path / "o").read([0])[0, 0], GRAY[0] > 127)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("images", [GRAY, COLOUR], ids=["gray", "rgb"])
def test_opaque_alpha_is_dropped_and_transparent_refused(tmp_path, suffix, images):
    colours = images[0] if images.ndim == 4 else images[0][..., None]
    opaque = np.concatenate((colours, np.full((18, 21, 1), 255, np.uint8)), axis=-1)
    save_pillow(tmp_path / f"a{suffix}", opaque)
    source = FolderSource(tmp_path)
    np.testing.assert_allclose(source.read([0])[0], np.moveaxis(colours, -1, 0) / 255, rtol=1e-6)
    opaque[3, 4, -1] = 0
    save_pillow(tmp_path / f"a{suffix}", opaque)
    with pytest.raises(DataError, match=f"a{suffix}: has transparent pixels"):
        FolderSource(tmp_path).read([0])


def test_transparent_palette_is_refused(tmp_path):
    Image.fromarray(COLOUR[0]).quantize(8).save(tmp_path / "a.png", transparency=0)
    with pytest.raises(DataError, match="transparent pixels"):
        FolderSource(tmp_path).read([0])


def test_ids_are_paths_without_suffix_unless_ambiguous(tmp_path):
    save_pillow(tmp_path / "x" / "a.png", GRAY[0])
    save_pillow(tmp_path / "y" / "a.png", GRAY[1])
    save_pillow(tmp_path / "b.1.png", GRAY[2])
    save_pillow(tmp_path / "c.png", GRAY[0])
    np.save(tmp_path / "c.npy", GRAY[1])
    source = FolderSource(tmp_path)
    assert sorted(source.ids.tolist()) == ["b.1", "c.npy", "c.png", "x/a", "y/a"]
    row = source.ids.tolist().index("y/a")
    np.testing.assert_allclose(source.read([row])[0, 0], GRAY[1] / 255, rtol=1e-6)


def test_hidden_and_other_files_are_left_alone(tmp_path):
    save_pillow(tmp_path / "a.png", GRAY[0])
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / ".hidden.png").write_text("no image")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "a.png").write_text("no image")
    (tmp_path / "folder.png").mkdir()
    assert FolderSource(tmp_path).ids.tolist() == ["a"]


def test_folders_become_labels_when_asked(tmp_path):
    save_pillow(tmp_path / "cat" / "1.png", GRAY[0])
    save_pillow(tmp_path / "dog" / "deep" / "1.png", GRAY[1])
    assert FolderSource(tmp_path).labels is None
    source = FolderSource(tmp_path, folder_labels=True)
    (factor,) = source.labels.factors
    assert (factor.name, factor.role, factor.is_continuous) == ("class", "content", False)
    assert dict(zip(source.labels.ids, factor.values, strict=True)) == {"cat/1": "cat", "dog/deep/1": "dog"}
    save_pillow(tmp_path / "stray.png", GRAY[0])
    with pytest.raises(DataError, match=r"stray\.png: lies in no sub-folder"):
        FolderSource(tmp_path, folder_labels=True)


def test_empty_folder(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match=r"no images in this folder; put \.png"):
        FolderSource(tmp_path)


@pytest.mark.parametrize(
    ("other", "shown"),
    [
        (np.zeros((18, 20), np.uint8), "18×20 grayscale uint8"),
        (COLOUR[0], "18×21 RGB uint8"),
        (DEEP[0], "18×21 grayscale uint16"),
    ],
    ids=["size", "colour", "type"],
)
def test_mixed_images_name_both_files(tmp_path, other, shown):
    save_pillow(tmp_path / "a.png", GRAY[0])
    save_pillow(tmp_path / "b.png", other)
    with pytest.raises(DataError) as caught:
        FolderSource(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/a.png is 18×21 grayscale uint8, but {tmp_path}/b.png is {shown}; "
        "bring all images to one size, colour mode and type"
    )


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".npy"])
@pytest.mark.parametrize(
    "content", [b"", b"hello, no image\n" * 9, b"\x89PNG\r\n\x1a\n"], ids=["empty", "text", "cut"]
)
def test_files_that_are_no_images_are_named_at_opening(tmp_path, suffix, content):
    (tmp_path / f"a{suffix}").write_bytes(content)
    with pytest.raises(DataError) as caught:
        FolderSource(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}/a{suffix}: ")
    assert "\n" not in str(caught.value)


def truncated(save):
    buffer = io.BytesIO()
    save(buffer)
    return buffer.getvalue()[: len(buffer.getvalue()) * 2 // 3]


@pytest.mark.parametrize("format_name", ["png", "jpeg", "tiff", "tiff-lzw", "npy"])
def test_truncated_images_are_named(tmp_path, format_name):
    noise = RNG.integers(0, 256, (64, 64), dtype=np.uint8)
    savers = {
        "png": lambda file: Image.fromarray(noise).save(file, "png"),
        "jpeg": lambda file: Image.fromarray(noise).save(file, "jpeg"),
        "tiff": lambda file: tifffile.imwrite(file, noise),
        "tiff-lzw": lambda file: Image.fromarray(noise).save(file, "tiff", compression="tiff_lzw"),
        "npy": lambda file: np.save(file, noise),
    }
    path = tmp_path / f"a.{format_name.split('-')[0]}"
    path.write_bytes(truncated(savers[format_name]))
    with pytest.raises(DataError) as caught:
        FolderSource(tmp_path).read([0])
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_pixels_that_are_not_finite_are_named(tmp_path):
    for name, value in (("a", 0.0), ("b", np.nan)):
        np.save(tmp_path / f"{name}.npy", np.full((16, 16), value, np.float32))
    source = FolderSource(tmp_path)
    source.read([0])
    with pytest.raises(DataError, match=r"b\.npy: NaN or infinite pixels in image 'b'"):
        source.read([0, 1])


def test_a_file_that_changes_under_the_source_is_named(tmp_path):
    save_pillow(tmp_path / "a.png", GRAY[0])
    source = FolderSource(tmp_path)
    save_pillow(tmp_path / "a.png", GRAY[0][:, :16])
    with pytest.raises(DataError, match=r"a\.png: now has shape \(1, 18, 16\)"):
        source.read([0])
    (tmp_path / "a.png").unlink()
    with pytest.raises(DataError, match=r"a\.png"):
        source.read([0])
