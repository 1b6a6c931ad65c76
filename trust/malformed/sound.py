"""One small sound file for every reader, to be changed byte by byte."""

import gzip
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from malformed import codes, models, pictures, stores, structures, subtomograms
from malformed.arrays import idx_bytes, npy_bytes, zipped
from malformed.cases import look


@dataclass(frozen=True)
class Sound:
    """A sound file.

    Attributes
    ----------
    name : str
        Its name within the folder that is its own.
    content : bytes
        What it holds.
    open : callable
        Takes its path and reads it.
    """

    name: str
    content: bytes
    open: Callable[[Path], object]


def sound_files(folder: Path, seed: int = 0) -> dict[str, Sound]:
    """Make the files of all readers.

    Parameters
    ----------
    folder : Path
        What the files themselves refer to is written here.
    seed : int
        Of the pixels.

    Returns
    -------
    dict of str to Sound
        By reader.
    """
    rng = np.random.default_rng(seed)
    images = rng.random((4, 8, 8), dtype=np.float32)
    grey = rng.integers(0, 256, (8, 8), dtype=np.uint8)
    mrc = subtomograms.volume_bytes(folder, rng)
    (folder / "a.mrc").write_bytes(mrc)
    (folder / "b.mrc").write_bytes(mrc)
    np.save(folder / "images.npy", images)
    idx = idx_bytes((4, 8, 8), rng.bytes(256))
    hdf5 = stores.hdf5_of(
        lambda file: file.create_dataset("images", data=images, chunks=(2, 8, 8), compression="gzip")
    )
    tiff = pictures.tiff_of(pictures.tiff_tags(8, 8, 122, 64), grey.tobytes())
    c = rng.normal(size=(4, 2)).astype(np.float32)
    ids = np.array(list("abcd"))
    rows = {"id": list("abcd"), "content_0": c[:, 0], "transformation_0": c[:, 1]}
    settings = yaml.safe_dump({"epochs": 3, "settings": {"content_dim": 4}, "lowpass": 20.0}).encode()
    record = {"location": "digits", "labels": None, "folder_labels": False}
    run = {
        "data": record,
        "method": "dualcontrast",
        "preset": "default",
        "seed": 0,
        "settings": {},
        "recipe": {},
    }
    run["preparation"] = {"normalisation": "unit", "low": 0.0, "high": 1.0, "image_shape": [1, 16, 16]}
    archive = structures.zip_with([("images/a.npy", b"a" * 30), ("other/b.txt", b"b")])
    return {
        "MRC": Sound("a.mrc", mrc, _folder),
        "MRC, packed": Sound("a.mrc.gz", gzip.compress(mrc, mtime=0), _folder),
        "STAR": Sound("p.star", subtomograms.star_of("a.mrc", "b.mrc").encode(), _images),
        "NPY": Sound("a.npy", npy_bytes(images), _images),
        "NPZ": Sound(
            "a.npz", zipped({"images.npy": npy_bytes(images), "label.npy": npy_bytes(np.arange(4))}), _images
        ),
        "NPZ, packed": Sound(
            "a.npz", zipped({"images.npy": npy_bytes(images)}, zipfile.ZIP_DEFLATED), _images
        ),
        "IDX": Sound("a-images-idx3-ubyte", idx, _images),
        "IDX, packed": Sound("a-images-idx3-ubyte.gz", gzip.compress(idx, mtime=0), _images),
        "PNG": Sound("a.png", pictures.picture(grey, "PNG"), _folder),
        "JPEG": Sound("a.jpg", pictures.picture(grey, "JPEG"), _folder),
        "TIFF": Sound("a.tif", tiff, _folder),
        "HDF5": Sound("a.h5", hdf5, _images),
        "Zarr": Sound("zarr.json", _zarr_metadata(), _folder),
        "pickle": Sound("a.pkl", _pickled(images), _images),
        "YAML": Sound("a.yaml", settings, _options),
        "run record": Sound("config.yaml", yaml.safe_dump(run).encode(), _record),
        "split": Sound("split.json", json.dumps({"train": ["0"], "test": ["1"]}).encode(), _split(run)),
        "checkpoint": Sound("a.pt", models.torch_bytes(models.sound_checkpoint()), _checkpoint),
        "codes, NPZ": Sound("a.npz", codes.npz_bytes(ids=ids, content=c, transformation=c), _codes),
        "codes, Parquet": Sound("a.parquet", codes.parquet_bytes(rows), _codes),
        "labels": Sound("l.csv", b"id,content:a,x\n0,1,u\n1,2,v\n2,3,w\n3,4,\n", _labels(folder)),
        "PDB": Sound("a.pdb", structures.ATOM.encode() * 2, _structure),
        "mmCIF": Sound("a.cif", structures.CIF.encode(), _structure),
        "zip": Sound("a.zip", archive, _archive),
    }


def _images(path: Path) -> object:
    return look(path)()


def _folder(path: Path) -> object:
    return look(path.parent)()


def _pickled(value: Any) -> bytes:
    import pickle

    return pickle.dumps({"images": value, "label": [1, 2, 3, 4]}, protocol=4)


def _zarr_metadata() -> bytes:
    return json.dumps(
        {
            "shape": [4, 8, 8],
            "data_type": "float32",
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2, 8, 8]}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": 0.0,
            "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
            "attributes": {"voxel_size": 10.0},
            "zarr_format": 3,
            "node_type": "array",
        }
    ).encode()


def _options(path: Path) -> object:
    from dualcontrast import settings
    from dualcontrast.cli.train import read_options, train
    from dualcontrast.errors import SettingError
    from dualcontrast.methods.dualcontrast import DualContrastConfig

    options = read_options(path, [name for name in train.__annotations__ if name != "return"])
    try:
        return settings.from_plain(DualContrastConfig, options.get("settings", {}))
    except SettingError as error:
        # `train` says in which file.
        raise SettingError(f"{error} (look at {path} and at the flags)") from None


def _record(path: Path) -> object:
    from dualcontrast.run_folder import RunFolder

    run = RunFolder.open(path.parent)
    return run.preparation, run.config


def _split(run: dict[str, Any]) -> Callable[[Path], object]:
    def read(path: Path) -> object:
        from dualcontrast.run_folder import RunFolder

        (path.parent / "config.yaml").write_text(yaml.safe_dump(run))
        return RunFolder.open(path.parent).split

    return read


def _checkpoint(path: Path) -> object:
    from dualcontrast.training.checkpoint import load_checkpoint

    return load_checkpoint(path, models.IDENTITY)


def _codes(path: Path) -> object:
    from dualcontrast.codes import Codes

    return Codes.load(path)


def _labels(folder: Path) -> Callable[[Path], object]:
    def read(path: Path) -> object:
        from dualcontrast.data.open import open_source

        return open_source(folder / "images.npy", labels=path)

    return read


def _structure(path: Path) -> object:
    from dualcontrast.simulate.structures import read_atoms

    return read_atoms(path)


def _archive(path: Path) -> object:
    import shutil

    from dualcontrast.data.unzip import unzip

    unpacked = path.with_suffix(".unpacked")
    try:
        return unzip(path, unpacked, structures.arrays_alone)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
