"""Packs: what goes in comes out, prepared or not, and nothing half-written is left."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
import zarr

from dualcontrast import Model, packing, pipeline
from dualcontrast.class_finding import cluster_run
from dualcontrast.cli import main
from dualcontrast.data.arrays import ArraySource
from dualcontrast.data.labels import Factor, LabelTable
from dualcontrast.data.open import open_source
from dualcontrast.data.subset import SubsetSource
from dualcontrast.errors import DataError, RunError, SettingError, UserError
from star_project import BOX, make_project, write_mrc
from toy_images import bar_source, bars

SMALL = {"epochs": 1, "batch_size": 20, "content_dim": 3, "transformation_dim": 2}


def pack(source, path, **options):
    packing.pack(source, path, **options)
    return open_source(path)


@pytest.fixture
def project(tmp_path):
    """Five subtomograms with two CTF volumes between them."""
    project = make_project(tmp_path)
    rng = np.random.default_rng(3)
    for tomogram in ("01", "02"):
        write_mrc(tmp_path / f"ctf/{tomogram}.mrc", rng.random((BOX, BOX, BOX // 2 + 1)).astype(np.float32))
    project.particles["rlnCtfImage"] = [f"ctf/{name}.mrc" for name in project.particles["rlnTomoName"]]
    project.write()
    return project


def test_all_that_belongs_to_subtomograms_comes_back(project, tmp_path):
    source = open_source(project.star)
    packed = pack(source, tmp_path / "p.zarr", shard=2)
    assert packed.ids.tolist() == project.names
    assert (packed.image_shape, packed.voxel_size) == ((1, BOX, BOX, BOX), 10.0)
    assert packed.star_file == str(project.star)
    assert np.array_equal(packed.read([4, 0, 2, 0]), project.volumes[[4, 0, 2, 0], None])
    assert np.array_equal(packed.read_wedges([3, 0, 1]), source.read_wedges([3, 0, 1]))
    assert packed.labels is not None and source.labels is not None
    for ours, theirs in zip(packed.labels.factors, source.labels.factors, strict=True):
        assert (ours.name, ours.role, ours.values.dtype.kind) == (
            theirs.name,
            theirs.role,
            theirs.values.dtype.kind,
        )
        assert ours.values.tolist() == theirs.values.tolist()


def test_equal_wedges_are_stored_once(project, tmp_path):
    pack(open_source(project.star), tmp_path / "p.zarr")
    assert zarr.open_group(str(tmp_path / "p.zarr"), mode="r")["wedges"].shape[0] == 2
    many = ArraySource(np.random.default_rng(0).random((7, 1, 16, 16, 16), dtype=np.float32))
    many.tilt_range = (-60.0, 50.0)
    packed = pack(many, tmp_path / "q.zarr")
    assert zarr.open_group(str(tmp_path / "q.zarr"), mode="r")["wedges"].shape[0] == 1
    assert np.array_equal(packed.read_wedges([6, 0]), many.read_wedges([6, 0]))


def test_more_wedges_than_are_kept_are_read_when_asked_for(project, tmp_path, monkeypatch):
    monkeypatch.setattr("dualcontrast.data.pack._KEPT_WEDGES", 0)
    monkeypatch.setattr(packing, "SHARD_BYTES", 1)
    source = open_source(project.star)
    packed = pack(source, tmp_path / "p.zarr", shard=5)
    assert np.array_equal(packed.read_wedges([4, 1, 2]), source.read_wedges([4, 1, 2]))


def test_split_and_eight_bits_are_kept(tmp_path):
    stored = np.random.default_rng(0).integers(0, 256, (30, 16, 16), dtype=np.uint8)
    source = ArraySource(stored)
    source.fixed_split = {"train": source.ids[:20], "test": source.ids[25:]}
    packed = pack(source, tmp_path / "p.zarr")
    assert (packed.stored_type, packed.stored_range) == ("uint8", (0.0, 1.0))
    assert np.array_equal(packed.read(range(30)), source.read(range(30)))
    assert {part: ids.tolist() for part, ids in packed.fixed_split.items()} == {
        "train": [str(i) for i in range(20)],
        "test": [str(i) for i in range(25, 30)],
    }
    with pytest.raises(SettingError, match="uint8"):
        packing.pack(source, tmp_path / "q.zarr", dtype="float16")


def test_half_precision_takes_half_the_space_and_refuses_what_it_cannot_hold(tmp_path):
    images = np.random.default_rng(0).normal(size=(40, 1, 16, 16)).astype(np.float32)
    packed = pack(ArraySource(images), tmp_path / "p.zarr", dtype="float16")
    # 11 bits: the relative error is at most 2⁻¹¹.
    assert np.abs(packed.read(range(40)) / images - 1).max() <= 2**-11
    images[7, 0, 3, 3] = 1e6
    with pytest.raises(DataError, match=r"float16.*'7'"):
        packing.pack(ArraySource(images), tmp_path / "q.zarr", dtype="float16")


@pytest.fixture(scope="module")
def noisy():
    """Volumes that no preparation leaves as they are."""
    images, *_ = bars(60, (16, 16, 16))
    noise = np.random.default_rng(0).normal(size=images.shape)
    source = ArraySource((3 - 2 * images + noise).astype(np.float32))
    source.voxel_size, source.tilt_range = 10.0, (-60.0, 60.0)
    return source


@pytest.mark.parametrize(
    "options", [{}, {"box": 16, "lowpass": 40.0, "mask_diameter": 0.9, "contrast": "dark"}, {"box": 16}]
)
def test_a_run_on_the_pack_has_the_codes_of_a_run_on_the_original(noisy, tmp_path, options):
    packed = pack(noisy, tmp_path / "p.zarr", **options)
    assert (packed.prepared is None) == (not options)
    model = {"device": "cpu", "progress": False, **SMALL}
    expected = Model(**model, **options).fit(noisy)
    ours = Model(**model).fit(packed)
    assert ours.preparation == expected.preparation
    theirs = expected.encode(noisy)
    for codes in (ours.encode(packed), ours.encode(noisy)):
        assert np.array_equal(codes.content, theirs.content)
        assert np.array_equal(codes.transformation, theirs.transformation)


def test_what_was_done_to_a_pack_is_not_done_otherwise(noisy, tmp_path):
    packed = pack(noisy, tmp_path / "p.zarr", lowpass=40.0)
    model = {"device": "cpu", "progress": False, **SMALL}
    with pytest.raises(SettingError, match=r"packed with lowpass 40\.0"):
        Model(**model, lowpass=50.0).fit(packed)
    with pytest.raises(SettingError, match="packed with normalisation"):
        Model(**model, normalisation="unit").fit(packed)
    other = Model(**model, lowpass=50.0).fit(noisy)
    with pytest.raises(DataError, match="prepared in another way"):
        other.encode(packed)
    again = pack(packed, tmp_path / "q.zarr")
    assert again.prepared == packed.prepared
    assert np.array_equal(again.read(range(60)), packed.read(range(60)))


def test_wedges_are_cropped_with_the_volumes(tmp_path):
    source = ArraySource(np.random.default_rng(0).random((4, 1, 32, 32, 32), dtype=np.float32))
    source.tilt_range = (-60.0, 60.0)
    packed = pack(source, tmp_path / "p.zarr", box=16)
    preparation = Model(box=16, device="cpu").choose_preparation(source)
    expected = preparation.apply_to_wedges(torch.tensor(source.read_wedges([0])))
    assert np.array_equal(packed.read_wedges([2]), expected.numpy())


def test_nothing_is_overwritten_or_left_half_written(tmp_path):
    source = bar_source(30)
    path = tmp_path / "p.zarr"
    pack(source, path)
    with pytest.raises(RunError, match="--overwrite"):
        packing.pack(source, path)
    broken = bar_source(30)
    broken.read = lambda rows: np.full((len(rows), 1, 16, 16), 0.5, np.float32)
    with pytest.raises(DataError, match="all pixels are equal"):
        packing.pack(broken, path, overwrite=True)
    assert np.array_equal(open_source(path).read([3]), source.read([3]))
    other = bar_source(20, seed=1)
    assert np.array_equal(pack(other, path, overwrite=True).read([3]), other.read([3]))
    assert [entry.name for entry in tmp_path.iterdir()] == ["p.zarr"]
    (tmp_path / "mine.zarr").mkdir()
    with pytest.raises(RunError, match="not written by this command"):
        packing.pack(source, tmp_path / "mine.zarr", overwrite=True)
    with pytest.raises(SettingError, match=r"ends in \.zarr"):
        packing.pack(source, tmp_path / "p.npz")


def test_a_damaged_pack_is_refused(tmp_path):
    path = tmp_path / "p.zarr"
    pack(bar_source(30), path, shard=10)
    copy = shutil.copytree(path, tmp_path / "lost.zarr")
    shutil.rmtree(copy / "images/c/1")
    with pytest.raises(DataError, match="2 of 3 shards"):
        open_source(copy)
    copy = shutil.copytree(path, tmp_path / "cut.zarr")
    chunk = next(file for file in (copy / "images/c/1").rglob("*") if file.is_file())
    chunk.write_bytes(chunk.read_bytes()[:100])
    with pytest.raises(DataError, match="cannot be read"):
        open_source(copy).read([12])
    group = zarr.open_group(str(tmp_path / "p.zarr"))
    group.attrs["dualcontrast_pack"] = 9
    with pytest.raises(DataError, match="format 9"):
        open_source(path)


def test_labels_given_at_opening_replace_those_of_the_pack(tmp_path):
    packed = pack(bar_source(3), tmp_path / "p.zarr")
    assert packed.labels is not None
    assert [(f.name, f.role) for f in packed.labels.factors] == [
        ("bars", "content"),
        ("angle", "transformation"),
    ]
    table = pd.DataFrame({"id": packed.ids, "content:bars": [7, 8, 9]})
    table.to_csv(tmp_path / "l.csv", index=False)
    relabelled = open_source(tmp_path / "p.zarr", labels=tmp_path / "l.csv").labels
    assert relabelled is not None
    assert {f.name: f.values.tolist() for f in relabelled.factors}["bars"] == [7, 8, 9]


def test_classes_of_a_run_on_a_pack_are_star_files(tmp_path, monkeypatch):
    project = make_project(tmp_path / "project", count=30)
    main(["data", "pack", str(project.star), str(tmp_path / "p.zarr"), "--no-progress"])
    # From another folder, as the STAR file is recorded by its absolute path.
    monkeypatch.chdir(tmp_path)
    options = pipeline.DataOptions(test_fraction=0.2)
    pipeline.train(
        "p.zarr", "run", changes=SMALL, options=options, device="cpu", evaluate=False, progress=False
    )
    cluster_run("run", count=2, device="cpu", progress=False)
    listed = [
        line.split()[2]
        for file in (tmp_path / "run/clusters/content").glob("class-*.star")
        for line in file.read_text().splitlines()
        if ".mrc" in line
    ]
    assert sorted(listed) == sorted(project.names)


def test_the_command_line_passes_everything_on(tmp_path, capsys):
    source = bar_source(40)
    np.savez(tmp_path / "b.npz", images=source.read(range(40)), ids=source.ids)
    main(
        [
            *("data", "pack", str(tmp_path / "b.npz"), str(tmp_path / "p.zarr"), "--no-progress"),
            *("--normalisation", "standardize", "--dtype", "float16", "--shard", "16"),
        ]
    )
    assert "40 images" in capsys.readouterr().out
    packed = open_source(tmp_path / "p.zarr")
    assert packed.prepared is not None and packed.prepared["normalisation"] == "standardize"
    assert packed.stored_type == "float16"
    assert len(list((tmp_path / "p.zarr/images/c").iterdir())) == 3


def test_a_subset_of_a_pack_knows_its_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "BLOCK_BYTES", 4 * 16 * 16 * 10)
    packed = pack(bar_source(60), tmp_path / "p.zarr")
    assert packed.blocks_of([0, 9, 10, 59]).tolist() == [0, 0, 1, 5]
    part = SubsetSource(packed, packed.ids[[59, 3]])
    assert part.blocks_of([0, 1]).tolist() == [5, 0]
    assert part.known_range is None
    assert SubsetSource(packed, packed.ids[::-1]).known_range == packed.known_range
    assert bar_source(3).blocks_of([0]) is None


def test_ids_in_any_script(tmp_path):
    ids = np.array(["TS_01/é", "000001@стек.mrc", "粒子 3"])
    table = LabelTable(ids, (Factor("name", "metadata", np.array(["", "β", "x y"])),))
    source = ArraySource(np.random.default_rng(0).random((3, 16, 16), np.float32), ids=ids, labels=table)
    packed = pack(source, tmp_path / "p.zarr")
    assert packed.ids.tolist() == ids.tolist()
    assert packed.labels is not None and packed.labels.factors[0].values.tolist() == ["", "β", "x y"]


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(packing._Writer, "write_images", full)
    with pytest.raises(UserError, match="No space left"):
        packing.pack(bar_source(20), tmp_path / "p.zarr")
    assert not list(tmp_path.iterdir())
