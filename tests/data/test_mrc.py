"""MRC files, written by mrcfile or byte by byte."""

import bz2
import gzip
import struct

import mrcfile
import numpy as np
import pytest

from dualcontrast.data.folder import FolderSource
from dualcontrast.data.mrc import is_mrc, open_mrc, read_mrc, read_mrc_header
from dualcontrast.data.open import open_source
from dualcontrast.errors import DataError
from star_project import write_mrc

RNG = np.random.default_rng(0)
VOLUME = RNG.normal(size=(17, 18, 19)).astype(np.float32)
MODES = {0: np.int8, 1: np.int16, 2: np.float32, 6: np.uint16, 12: np.float16}


def patch(path, offset, layout, *values):
    content = bytearray(path.read_bytes())
    struct.pack_into(layout, content, offset, *values)
    path.write_bytes(content)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("suffix", [".mrc", ".rec", ".map", ".mrc.gz", ".rec.bz2", ".MRC"])
def test_all_modes_and_suffixes(tmp_path, mode, suffix):
    data = (VOLUME * 40).astype(MODES[mode]) if mode != 6 else RNG.integers(0, 65536, VOLUME.shape, np.uint16)
    write_mrc(tmp_path / "plain.mrc", data, 7.5)
    pack = gzip.compress if suffix.endswith(".gz") else bz2.compress if suffix.endswith(".bz2") else bytes
    path = tmp_path / f"a{suffix}"
    path.write_bytes(pack((tmp_path / "plain.mrc").read_bytes()))
    header = read_mrc_header(path)
    assert (header.shape, header.mode, header.kind) == (VOLUME.shape, mode, "volume")
    assert header.voxel_size == pytest.approx(7.5, rel=1e-6)
    stored = read_mrc(path)
    assert stored.dtype == MODES[mode]
    np.testing.assert_array_equal(stored, data)


def test_names():
    assert all(map(is_mrc, ["a.mrc", "x/b.mrcs", "c.rec.gz", "d.map.bz2", "TS_1_10.00A.mrc"]))
    assert not any(map(is_mrc, ["a.png", "b.gz", "c.mrc.zip", "d.mrc.txt"]))


def test_big_endian(tmp_path):
    order = mrcfile.dtypes.HEADER_DTYPE.newbyteorder(">")
    header = np.zeros((), order)
    for name, value in {
        "nx": 19,
        "ny": 18,
        "nz": 17,
        "mode": 2,
        "mx": 19,
        "my": 18,
        "mz": 17,
        "ispg": 1,
    }.items():
        header[name] = value
    header["cella"] = (190, 180, 170)
    header["mapc"], header["mapr"], header["maps"] = 1, 2, 3
    header["machst"] = (0x11, 0x11, 0, 0)
    (tmp_path / "a.mrc").write_bytes(header.tobytes() + VOLUME.astype(">f4").tobytes())
    assert read_mrc_header(tmp_path / "a.mrc").voxel_size == 10
    np.testing.assert_array_equal(read_mrc(tmp_path / "a.mrc"), VOLUME)
    # Without a machine stamp the mode tells.
    header["machst"] = 0
    (tmp_path / "a.mrc").write_bytes(header.tobytes() + VOLUME.astype(">f4").tobytes())
    np.testing.assert_array_equal(read_mrc(tmp_path / "a.mrc"), VOLUME)


def test_extended_header_is_stepped_over(tmp_path):
    with mrcfile.new(tmp_path / "a.mrc", VOLUME) as mrc:
        mrc.set_extended_header(np.frombuffer(b"x" * 160, dtype="V160"))
    np.testing.assert_array_equal(read_mrc(tmp_path / "a.mrc"), VOLUME)


def test_axes_in_another_order_are_brought_to_z_y_x(tmp_path):
    # Columns along Z, rows along X, sections along Y: the stored array is (y, x, z).
    write_mrc(tmp_path / "a.mrc", np.ascontiguousarray(VOLUME.transpose(1, 2, 0)), mapc=3, mapr=1, maps=2)
    np.testing.assert_array_equal(read_mrc(tmp_path / "a.mrc"), VOLUME)
    assert read_mrc_header(tmp_path / "a.mrc").shape == VOLUME.shape
    patch(tmp_path / "a.mrc", 64, "<3i", 0, 0, 0)
    np.testing.assert_array_equal(read_mrc(tmp_path / "a.mrc"), VOLUME.transpose(1, 2, 0))
    patch(tmp_path / "a.mrc", 64, "<3i", 1, 1, 3)
    with pytest.raises(DataError, match=r"a\.mrc: MAPC, MAPR, MAPS are 1, 1, 3"):
        read_mrc_header(tmp_path / "a.mrc")


def test_bytes_of_old_imod_are_unsigned(tmp_path):
    data = RNG.integers(0, 256, (17, 17, 17), dtype=np.uint8)
    write_mrc(tmp_path / "a.mrc", data.view(np.int8))
    patch(tmp_path / "a.mrc", 152, "<2i", 1146047817, 0)
    np.testing.assert_array_equal(read_mrc(tmp_path / "a.mrc"), data)
    patch(tmp_path / "a.mrc", 152, "<2i", 1146047817, 1)
    np.testing.assert_array_equal(read_mrc(tmp_path / "a.mrc"), data.view(np.int8))


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda b: b[:-100], "truncated, or its header is wrong: it promises"),
        (lambda b: b[:500], "too few for an MRC header"),
        (lambda b: b"", "too few for an MRC header"),
        (lambda b: b + b"more", "but there are more"),
        # A header that lies: 2^31-1 sections, far more than any memory holds.
        (lambda b: b[:8] + struct.pack("<i", 2**31 - 1) + b[12:], "promises 2,937,757,630,120 bytes"),
        (lambda b: struct.pack("<i", 0) + b[4:], "no MRC file, or its header is damaged"),
        (lambda b: b[:12] + struct.pack("<i", 77) + b[16:], "no MRC file, or its header is damaged"),
        (lambda b: b[:12] + struct.pack("<i", 4) + b[16:], r"mode 4 \(complex or 4-bit values\)"),
        (lambda b: b[:92] + struct.pack("<i", 80) + b[96:], "truncated"),
        (lambda b: b"hello, no volume\n" * 100, "no MRC file"),
    ],
)
def test_damaged_files_are_named(tmp_path, suffix, damage, message):
    write_mrc(tmp_path / "plain.mrc", VOLUME)
    path = tmp_path / f"a.mrc{suffix}"
    content = damage((tmp_path / "plain.mrc").read_bytes())
    path.write_bytes(gzip.compress(content) if suffix else content)
    with pytest.raises(DataError, match=message) as caught:
        read_mrc(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cut", [30, -40])
def test_truncated_packed_files(tmp_path, cut):
    write_mrc(tmp_path / "plain.mrc", VOLUME)
    for suffix, pack in ((".gz", gzip.compress), (".bz2", bz2.compress)):
        path = tmp_path / f"a.mrc{suffix}"
        path.write_bytes(pack((tmp_path / "plain.mrc").read_bytes())[:cut])
        with pytest.raises(DataError, match=r"a\.mrc\.(gz|bz2): "):
            read_mrc(path)


def test_voxel_sizes(tmp_path):
    path = tmp_path / "a.mrc"
    write_mrc(path, VOLUME, 0)
    assert read_mrc_header(path).voxel_size is None
    write_mrc(path, VOLUME, (10, 10, 12))
    with pytest.raises(DataError, match=r"a\.mrc: voxels of 10 × 10 × 12 Å \(x, y, z\) are no cubes"):
        _ = read_mrc_header(path).voxel_size
    patch(path, 40, "<3f", np.nan, 1, 1)
    assert read_mrc_header(path).voxel_size is None


def test_kinds(tmp_path):
    path = tmp_path / "a.mrc"
    cube = VOLUME[:16, :16, :16]
    write_mrc(path, VOLUME[0])
    assert read_mrc_header(path).kind == "image"
    # Cubes whose space group says stack are volumes unless MZ or the name says stack too.
    write_mrc(path, cube, ispg=0)
    assert read_mrc_header(path).kind == "volume"
    write_mrc(path, cube, ispg=0, mz=1)
    assert read_mrc_header(path).kind == "image stack"
    write_mrc(tmp_path / "a.mrcs", cube)
    assert read_mrc_header(tmp_path / "a.mrcs").kind == "image stack"


def test_volume_stacks_are_sources(tmp_path):
    stack = RNG.normal(size=(5, 16, 17, 18)).astype(np.float32)
    write_mrc(tmp_path / "a.mrc", stack, 4.0)
    source = open_source(tmp_path / "a.mrc")
    assert (source.image_shape, source.voxel_size) == ((1, 16, 17, 18), 4.0)
    assert source.ids.tolist() == list("01234")
    np.testing.assert_array_equal(source.read([3, 0])[:, 0], stack[[3, 0]])
    np.testing.assert_array_equal(read_mrc(tmp_path / "a.mrc", 2), stack[2])
    with pytest.raises(DataError, match="has no member 6, its header gives 5"):
        read_mrc(tmp_path / "a.mrc", 5)


@pytest.mark.parametrize(
    ("name", "shape", "header", "message"),
    [
        ("a.mrc", (16, 16, 16), {}, "is a single volume; give the folder"),
        ("a.rec", (16, 16), {}, "is a single 2-D image; give the folder"),
        ("a.mrcs", (7, 16, 16), {}, "is a stack of 7 2-D images; give 3-D volumes"),
        ("a.mrc", (7, 16, 16), {"ispg": 0, "mz": 1}, "is a stack of 7 2-D images; give 3-D volumes"),
    ],
)
def test_other_mrc_files_are_no_sources(tmp_path, name, shape, header, message):
    write_mrc(tmp_path / name, np.zeros(shape, np.float32), **header)
    with pytest.raises(DataError, match=message):
        open_source(tmp_path / name)


def test_packed_stacks_are_refused(tmp_path):
    write_mrc(tmp_path / "a.mrc", np.zeros((2, 16, 16, 16), np.float32))
    (tmp_path / "a.mrc.gz").write_bytes(gzip.compress((tmp_path / "a.mrc").read_bytes()))
    with pytest.raises(DataError, match="unpack it"):
        open_mrc(tmp_path / "a.mrc.gz")


def test_folders_of_volumes(tmp_path):
    volumes = RNG.normal(size=(3, 16, 16, 16)).astype(np.float32)
    for name, volume in zip(("x/1_10.00A", "x/2_10.00A", "y/1_10.00A"), volumes, strict=True):
        write_mrc(tmp_path / f"{name}.mrc", volume)
    packed = tmp_path / "x/2_10.00A.mrc"
    packed.with_name(f"{packed.name}.gz").write_bytes(gzip.compress(packed.read_bytes()))
    packed.unlink()
    source = open_source(tmp_path, folder_labels=True)
    assert source.ids.tolist() == ["x/1_10.00A", "x/2_10.00A", "y/1_10.00A"]
    assert source.labels.factors[0].values.tolist() == ["x", "x", "y"]
    assert source.voxel_size == 10
    np.testing.assert_array_equal(source.read([2, 1])[:, 0], volumes[[2, 1]])


@pytest.mark.parametrize(
    ("shape", "voxel_size", "message"),
    [
        ((16, 16, 18), 10, r"is 16×16×16 .* but .*b\.mrc is 16×16×18"),
        ((16, 16, 16), 5, r"at 10 Å, but .*b\.mrc is 16×16×16 grayscale float32 at 5 Å"),
        ((2, 16, 16, 16), 10, r"b\.mrc: is a stack of 2 volumes"),
        ((16, 16, 16), (10, 10, 20), r"b\.mrc: voxels of 10 × 10 × 20 Å"),
    ],
)
def test_folders_of_unlike_volumes(tmp_path, shape, voxel_size, message):
    write_mrc(tmp_path / "a.mrc", np.ones((16, 16, 16), np.float32))
    write_mrc(tmp_path / "b.mrc", np.ones(shape, np.float32), voxel_size)
    with pytest.raises(DataError, match=message):
        FolderSource(tmp_path)


@pytest.mark.parametrize("name", ["1_weights.mrc", "TS_1_0000001_ctf_10.00A.mrc"])
def test_ctf_volumes_among_the_particles(tmp_path, name):
    write_mrc(tmp_path / "1_data.mrc", np.ones((16, 16, 16), np.float32))
    write_mrc(tmp_path / name, np.ones((16, 16, 16), np.float32))
    with pytest.raises(DataError, match="seems to be a CTF volume, not a particle; give the particles' STAR"):
        FolderSource(tmp_path)
