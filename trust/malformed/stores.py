"""Malformed Zarr stores and HDF5 files."""

import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import zarr

from malformed.cases import Case, damaged, image_case


def zarr_cases(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    """Stores of one array, changed in one place."""
    sound = folder / "sound.zarr"
    array = zarr.create_array(str(sound), shape=(8, 16, 16), chunks=(4, 16, 16), dtype="float32")
    array[:] = rng.random((8, 16, 16), dtype=np.float32)
    described = json.loads((sound / "zarr.json").read_text())
    chunks = sorted(file for file in (sound / "c").rglob("*") if file.is_file())

    def store(name: str) -> Path:
        place = folder / name
        shutil.copytree(sound, place)
        return place

    def metadata(change: Callable[[dict[str, Any]], object]) -> bytes:
        changed = json.loads(json.dumps(described))
        change(changed)
        return json.dumps(changed).encode()

    def shape(*lengths: Any, chunk: list[Any] | None = None) -> bytes:
        def change(found: dict[str, Any]) -> None:
            found["shape"] = list(lengths)
            if chunk is not None:
                found["chunk_grid"]["configuration"]["chunk_shape"] = chunk

        return metadata(change)

    endless = b'{"a":' * 50_000 + b"1" + b"}" * 50_000
    heads = {
        "empty": b"",
        "cut": (sound / "zarr.json").read_bytes()[:100],
        "noise": rng.bytes(300),
        "a list": b"[]",
        "nested without end": endless,
        "10¹² images": shape(10**12, 16, 16),
        "images of 10¹⁰ pixels": shape(8, 10**5, 10**5),
        "chunks of 10¹² pixels": shape(10**6, 1000, 1000, chunk=[10**6, 1000, 1000]),
        "2²⁰⁰ images": shape(2**200, 16, 16),
        "a negative length": shape(-8, 16, 16),
        "a length that is text": shape("8", 16, 16),
        "chunks of length 0": shape(8, 16, 16, chunk=[0, 16, 16]),
        "chunks of other dimensions": shape(8, 16, 16, chunk=[4, 16]),
        "an unknown type": metadata(lambda found: found.update(data_type="float77")),
        "texts": metadata(lambda found: found.update(data_type="string", fill_value="")),
        "an unknown codec": metadata(lambda found: found.update(codecs=[{"name": "numcodecs.pickle"}])),
        "no codecs": metadata(lambda found: found.pop("codecs")),
        "format 9": metadata(lambda found: found.update(zarr_format=9)),
        "a voxel size that is text": metadata(lambda found: found.update(attributes={"voxel_size": "ten"})),
        "a voxel size of three that differ": metadata(
            lambda found: found.update(attributes={"voxel_size": [10, 10, 13]})
        ),
    }
    for number, (name, content) in enumerate(heads.items()):
        place = store(f"head_{number:02d}.zarr")
        (place / "zarr.json").write_bytes(content)
        yield image_case("Zarr", name, place)
    whole = chunks[0].read_bytes()
    for number, (name, content) in enumerate(damaged(whole, rng, head=12)):
        place = store(f"chunk_{number:02d}.zarr")
        (place / chunks[0].relative_to(sound)).write_bytes(content)
        yield image_case("Zarr", f"a chunk: {name}", place)
    place = store("absent.zarr")
    shutil.rmtree(place / "c")
    yield image_case("Zarr", "no chunk is there", place)
    place = store("loop.zarr")
    target = place / chunks[0].relative_to(sound)
    target.unlink()
    target.symlink_to(target)
    yield image_case("Zarr", "a chunk that is a link to itself", place)
    place = folder / "group.zarr"
    zarr.open_group(str(place), mode="w")
    yield image_case("Zarr", "a group without arrays", place)
    place = folder / "old.zarr"
    place.mkdir()
    old = {"zarr_format": 2, "shape": [8, 16, 16], "chunks": [8, 16, 16], "dtype": "|O", "order": "C"}
    old |= {"fill_value": 0, "filters": [{"id": "pickle"}], "compressor": None}
    (place / ".zarray").write_text(json.dumps(old))
    yield image_case("Zarr", "pickled objects in format 2", place)
    place = folder / "pack.zarr"
    group = zarr.open_group(str(place), mode="w", zarr_format=3)
    group.attrs["dualcontrast_pack"] = 1
    yield image_case("Zarr", "a pack without images", place)
    place = folder / "later.zarr"
    zarr.open_group(str(place), mode="w", zarr_format=3).attrs["dualcontrast_pack"] = {"format": [9]}
    yield image_case("Zarr", "a pack of a later version", place)


def hdf5_of(fill: Callable[[h5py.File], object]) -> bytes:
    """Return an HDF5 file that a function has filled."""
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        fill(file)
    return stream.getvalue()


def hdf5_cases(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    """Files of one dataset, and stacks as EMAN2 writes them."""
    images = rng.random((8, 16, 16), dtype=np.float32)
    sound = hdf5_of(
        lambda file: file.create_dataset("images", data=images, chunks=(2, 16, 16), compression="gzip")
    )
    (folder / "outside.h5").write_bytes(sound)

    def eman(file: h5py.File, change: Callable[[h5py.Group], object]) -> None:
        for number in range(2):
            group = file.create_group(f"MDF/images/{number}")
            group.create_dataset("image", data=images[number])
        change(file["MDF/images"])  # pyright: ignore[reportArgumentType]

    def second(shape: tuple[int, ...]) -> Callable[[h5py.File], object]:
        def change(group: h5py.Group) -> None:
            del group["1/image"]
            group.create_dataset("1/image", data=np.zeros(shape, np.float32))

        return lambda file: eman(file, change)

    def virtual(file: h5py.File) -> None:
        layout = h5py.VirtualLayout(shape=(8, 16, 16), dtype="f4")
        layout[:] = h5py.VirtualSource("outside.h5", "images", shape=(8, 16, 16))
        file.create_virtual_dataset("images", layout)

    def declared(*shape: int, chunks: tuple[int, ...]) -> Callable[[h5py.File], object]:
        return lambda file: file.create_dataset("images", shape=shape, dtype="f4", chunks=chunks)

    def sized(value: Any) -> Callable[[h5py.File], object]:
        return lambda file: file.create_dataset("images", data=images).attrs.update(voxel_size=value)

    zeros = np.zeros((64, 1024, 1024), np.float32)
    contents: dict[str, bytes] = {
        **dict(damaged(sound, rng, head=96)),
        "nothing in it": hdf5_of(lambda file: None),
        "no array": hdf5_of(lambda file: file.create_group("images")),
        "two arrays": hdf5_of(lambda file: [file.create_dataset(name, data=images) for name in "ab"]),
        "10¹² images, none written": hdf5_of(declared(10**12, 16, 16, chunks=(1, 16, 16))),
        "images of 10¹⁰ pixels, none written": hdf5_of(declared(8, 10**5, 10**5, chunks=(1, 100, 100))),
        "chunks of 1 GB, none written": hdf5_of(declared(8, 16384, 16384, chunks=(1, 16384, 16384))),
        "zeros packed 1,000 to 1": hdf5_of(
            lambda file: file.create_dataset(
                "images", data=zeros, chunks=zeros.shape, compression="gzip", compression_opts=1
            )
        ),
        "a link to another file": hdf5_of(
            lambda file: file.__setitem__("images", h5py.ExternalLink("outside.h5", "images"))
        ),
        "a link that leads nowhere": hdf5_of(
            lambda file: file.__setitem__("images", h5py.SoftLink("/nowhere"))
        ),
        "a link to itself": hdf5_of(lambda file: file.__setitem__("images", h5py.SoftLink("/images"))),
        "a group that holds itself": hdf5_of(lambda file: file.create_group("a").__setitem__("b", file["a"])),
        "an array in another file": hdf5_of(virtual),
        "raw data in /etc/passwd": hdf5_of(
            lambda file: file.create_dataset("images", (4, 4, 4), "u1", external=[("/etc/passwd", 0, 64)])
        ),
        "texts": hdf5_of(lambda file: file.create_dataset("images", data=[["a"]], dtype=h5py.string_dtype())),
        "records": hdf5_of(
            lambda file: file.create_dataset("images", data=np.zeros((4, 4, 4), [("a", "f4")]))
        ),
        "no shape": hdf5_of(lambda file: file.create_dataset("images", data=h5py.Empty("f4"))),
        "a single number": hdf5_of(lambda file: file.create_dataset("images", data=3.0)),
        "a voxel size of text": hdf5_of(sized("ten")),
        "a negative voxel size": hdf5_of(sized(-10.0)),
        "NaN": hdf5_of(lambda file: file.create_dataset("images", data=np.full((4, 8, 8), np.nan))),
        "an EMAN2 stack without images": hdf5_of(lambda file: file.create_group("MDF/images")),
        "an EMAN2 image of another size": hdf5_of(second((8, 8))),
        "an EMAN2 image without data": hdf5_of(
            lambda file: eman(file, lambda group: group.__delitem__("1/image"))
        ),
        "EMAN2 bits that are text": hdf5_of(
            lambda file: eman(file, lambda group: group["0"].attrs.update({"EMAN.stored_renderbits": "x"}))
        ),
        "EMAN2 bits by the million": hdf5_of(
            lambda file: eman(
                file,
                lambda group: group["0"].attrs.update(
                    {"EMAN.stored_renderbits": 10**6, "EMAN.stored_rendermax": 1.0}
                ),
            )
        ),
    }
    for number, (name, content) in enumerate(contents.items()):
        yield image_case("HDF5", name, folder / f"images_{number:02d}.h5", content)
