"""HDF5 files: one dataset of images, or the image stacks of EMAN2."""

import math
from pathlib import Path

import h5py
import numpy as np

from dualcontrast.data.limits import check_count, check_unpacked
from dualcontrast.data.source import ImageSource
from dualcontrast.data.stored import StoredSource, checked_voxel_size
from dualcontrast.errors import DataError

SUFFIXES = (".h5", ".hdf", ".hdf5")
NAMES = ("images", "volumes")
EMAN_STACK = "MDF/images"


def open_hdf5(path: str | Path) -> ImageSource:
    """Open an HDF5 file.

    Either a stack of EMAN2, `MDF/images/<n>/image` with the attribute `EMAN.apix_x` (Å), whose ids are the
    numbers `<n>`; or one dataset, named `images` or `volumes` or the only one in the file, of shape `(N, H,
    W)`, `(N, C, H, W)`, `(N, D, H, W)` or `(N, C, D, H, W)`, whose ids are `0` … `N-1`; its attribute
    `voxel_size`, or else that of the file, is the edge of a voxel in Å. Values that EMAN2 stored with fewer
    bits get their range back.

    Raises
    ------
    DataError
        When the file is damaged, holds no such images or less than their shape needs, or refers
        to data in other files.
    """
    path = Path(path)
    try:
        with h5py.File(path, "r") as file:
            _check_links(file, path)
            if EMAN_STACK in file:
                return _open_eman(file, path)
            return _open_dataset(file, path)
    except DataError:
        raise
    except Exception as error:
        raise _damaged(path, error) from None


def _check_links(group: h5py.Group, path: Path) -> None:
    """Refuse links into other files, which would read what nobody has named."""
    # The walk ends where the function returns something; what it raises is lost in HDF5.
    name = group.visititems_links(lambda name, link: name if isinstance(link, h5py.ExternalLink) else None)
    if name is not None:
        raise DataError(f"{path}: '{name}' is a link to another file; copy its data into this one")


def _check_dataset(dataset: object, name: str, path: Path) -> h5py.Dataset:
    if not isinstance(dataset, h5py.Dataset):
        raise DataError(f"{path}: '{name}' is no array; write the file again")
    if dataset.is_virtual or dataset.external:
        raise DataError(f"{path}: '{name}' keeps its data in other files; copy the data into this one")
    return dataset


def _check_stored(dataset: h5py.Dataset, path: Path) -> None:
    """Refuse more images than there are bytes, and images or chunks that unpack to far more than there is."""
    if not dataset.shape or 0 in dataset.shape:
        return
    stored, chunk = dataset.id.get_storage_size(), dataset.chunks or ()
    check_count(path, dataset.shape[0], stored)
    largest = max(math.prod(dataset.shape[1:]), math.prod(chunk)) * dataset.dtype.itemsize
    check_unpacked(path, largest, stored)


def _open_dataset(file: h5py.File, path: Path) -> ImageSource:
    found: dict[str, h5py.Dataset] = {}
    file.visititems(lambda name, item: found.update({name: item}) if isinstance(item, h5py.Dataset) else None)
    names = [name for name in NAMES if name in found] or list(found)
    if len(names) != 1:
        listed = ", ".join(sorted(found)[:5]) or "none"
        raise DataError(f"{path}: has no dataset `images` or `volumes` (datasets: {listed}); name one so")
    name = names[0]
    dataset = _check_dataset(found[name], name, path)
    _check_stored(dataset, path)
    size = checked_voxel_size(dataset.attrs.get("voxel_size", file.attrs.get("voxel_size")), str(path))

    def read_rows(rows: np.ndarray) -> np.ndarray:
        try:
            with h5py.File(path, "r") as opened:
                return np.asarray(_check_dataset(opened[name], name, path)[rows])
        except DataError:
            raise
        except Exception as error:
            raise _damaged(path, error) from None

    return StoredSource(str(path), dataset.shape, dataset.dtype, read_rows, voxel_size=size)


def _open_eman(file: h5py.File, path: Path) -> ImageSource:
    images = file[EMAN_STACK]
    assert isinstance(images, h5py.Group)
    ids = sorted((str(name) for name in images if str(name).isdecimal()), key=int)
    if not ids:
        raise DataError(f"{path}: an EMAN2 stack without images; write it again")
    shape = _eman_dataset(images, ids[0], path).shape
    size = checked_voxel_size(images[ids[0]].attrs.get("EMAN.apix_x"), str(path))

    def read_rows(rows: np.ndarray) -> np.ndarray:
        stacked = np.empty((len(rows), *shape), dtype=np.float32)
        try:
            with h5py.File(path, "r") as opened:
                stack = opened[EMAN_STACK]
                assert isinstance(stack, h5py.Group)
                for place, row in enumerate(rows):
                    stacked[place] = _eman_image(stack, ids[row], shape, path)
        except DataError:
            raise
        except Exception as error:
            raise _damaged(path, error) from None
        return stacked

    dtype = np.dtype(np.float32)
    return StoredSource(str(path), (len(ids), *shape), dtype, read_rows, ids=ids, voxel_size=size)


def _eman_dataset(images: h5py.Group, name: str, path: Path) -> h5py.Dataset:
    where = f"{EMAN_STACK}/{name}/image"
    group = images[name]
    return _check_dataset(group.get("image") if isinstance(group, h5py.Group) else None, where, path)


def _eman_image(images: h5py.Group, name: str, shape: tuple[int, ...], path: Path) -> np.ndarray:
    """Read one image of a stack as EMAN2 does: stored bits span the range from rendermin to rendermax."""
    dataset = _eman_dataset(images, name, path)
    if dataset.shape != shape:
        raise DataError(
            f"{path}: image {name} is {'×'.join(map(str, dataset.shape))}, but the first is "
            f"{'×'.join(map(str, shape))}; bring all to one box"
        )
    pixels = np.asarray(dataset[()], dtype=np.float32)
    attributes = images[name].attrs
    bits = int(np.squeeze(attributes.get("EMAN.stored_renderbits", 0)))
    low, high = (float(np.squeeze(attributes.get(f"EMAN.stored_render{end}", 0.0))) for end in ("min", "max"))
    return pixels / (2**bits - 1) * (high - low) + low if bits > 0 and high != low else pixels


def _damaged(path: Path, error: Exception) -> DataError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return DataError(f"{path}: not a whole HDF5 file ({reason}); copy or write it again")
