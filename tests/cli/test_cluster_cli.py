"""cluster, decode and traverse on runs whose codes are known: groups that only one answer fits."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pandas as pd
import pytest
import starfile
from PIL import Image

from blobs import make_run
from dualcontrast import Codes, RunFolder, pipeline
from dualcontrast.averaging.class_averages import average_classes
from dualcontrast.class_finding import cluster_run
from dualcontrast.class_maps import decode_classes
from dualcontrast.cli import main
from dualcontrast.clusters import Clusters
from dualcontrast.conformation_path import traverse_run, typical_particle
from dualcontrast.errors import DataError, RunError, SettingError
from dualcontrast.run_folder import CODES
from toy_images import bars

COUNT, VOXEL = 48, 7.5
OPTICS = "data_optics\n\nloop_\n_rlnOpticsGroup\n_rlnImagePixelSize\n_rlnImageSize\n1 7.5 16\n2 7.5 16\n\n"
COLUMNS = ("rlnImageName", "rlnTomoName", "rlnOpticsGroup", "rlnAngleRot")
# Of every particle: class (two thirds are 1), conformation within it, tomogram.
CLASS = np.where(np.arange(COUNT) % 3 == 0, 2, 1)
CONFORMATION = np.where(np.arange(COUNT) % 8 < 5, 1, 2)
TOMOGRAM = np.array([f"{i % 2 + 1:02d}" for i in range(COUNT)])


def run_cli(*arguments: object) -> None:
    main([str(argument) for argument in arguments])


def refused(capsys: pytest.CaptureFixture, *arguments: object) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        run_cli(*arguments)
    assert end.value.code == 2
    errors = capsys.readouterr().err
    assert errors.startswith("error: ") and errors.count("\n") == 1, errors
    return errors


def write_codes(run: Path, ids: list[str]) -> Codes:
    """Content in two groups by class, transformation in two groups by conformation."""
    rng = np.random.default_rng(0)
    dimensions = RunFolder.open(run).config["settings"]
    content = rng.normal(0, 0.05, (COUNT, dimensions["content_dim"]))
    transformation = rng.normal(0, 0.05, (COUNT, dimensions["transformation_dim"]))
    content[:, 0] += CLASS
    transformation[:, 1] += CONFORMATION
    codes = Codes(np.array(ids), content.astype(np.float32), transformation.astype(np.float32))
    codes.save(run / CODES)
    return codes


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run on a STAR file of small subtomograms, trained for a moment, whose codes are replaced."""
    folder = tmp_path_factory.mktemp("subtomograms")
    (folder / "sub").mkdir()
    volumes, _, angles = bars(COUNT, (16, 16, 16))
    rows = []
    for i in range(COUNT):
        with mrcfile.new(folder / "sub" / f"{i:03d}.mrc") as file:
            file.set_data(volumes[i, 0])
            file.voxel_size = VOXEL
        rows.append(f"sub/{i:03d}.mrc {TOMOGRAM[i]} {CLASS[i]} {angles[i]:.5f}")
    header = "".join(f"_{name} #{number}\n" for number, name in enumerate(COLUMNS, start=1))
    star = folder / "particles.star"
    star.write_text(f"{OPTICS}data_particles\n\nloop_\n{header}" + "\n".join(rows) + "\n")
    path = folder / "run"
    pipeline.train(
        star, path, changes={"epochs": 1, "batch_size": 20}, evaluate=False, progress=False, device="cpu"
    )
    write_codes(path, [f"sub/{i:03d}.mrc" for i in range(COUNT)])
    return path


@pytest.fixture(scope="module")
def clusters(run) -> Clusters:
    return cluster_run(run, "content", (1, 4), conformations=2, device="cpu")


@pytest.fixture(scope="module")
def blob_run(tmp_path_factory):
    """A run on 2-D images with an exact decoder; classes by k-means."""
    folder = make_run(tmp_path_factory.mktemp("blobs") / "run", count=90)
    cluster_run(folder, "transformation", 3, "kmeans", name="angles")
    return folder


def test_classes_are_the_groups(run, clusters):
    folder = run / "clusters" / "content"
    rows = list(csv.DictReader((folder / "classes.csv").open()))
    assert [row["id"] for row in rows] == [f"sub/{i:03d}.mrc" for i in range(COUNT)]
    assert [int(row["class"]) for row in rows] == CLASS.tolist()
    expected = [f"{a}.{b}" for a, b in zip(CLASS, CONFORMATION, strict=True)]
    assert [row["conformation"] for row in rows] == expected
    assert all(float(row["probability"]) > 0.999 for row in rows)
    for name, size in (("1", 32), ("2", 16)):
        ranks = [int(row["nearest_rank"]) for row in rows if row["class"] == name]
        assert sorted(ranks) == list(range(1, size + 1))

    record = json.loads((folder / "clusters.json").read_text())
    assert min(record["fit"]["bic"], key=record["fit"]["bic"].get) == "2"
    assert record["classes"]["1"]["particles"] == 32 and record["settings"]["conformations"] == 2
    counted = record["tomograms"][0]
    assert counted["column"] == "rlnTomoName"
    for tomogram in ("01", "02"):
        for name in (1, 2):
            there = np.count_nonzero((tomogram == TOMOGRAM) & (name == CLASS))
            assert counted["counts"][tomogram].get(str(name), 0) == there
    with Image.open(folder / "bic.png") as picture:
        assert picture.width > 500


def test_the_nearest_member_is_nearest(run, clusters):
    codes = RunFolder.open(run).codes
    members = clusters.members("2")
    content = codes.select(members).content.astype(np.float64)
    # The classes are round, so that the Euclidean distance is nearly the one that was used.
    distance = np.linalg.norm((content - content.mean(axis=0)) / content.std(axis=0), axis=1)
    assert distance[:4].mean() < distance[-4:].mean()
    assert clusters.record["classes"]["2"]["nearest"] == members[:10].tolist()


def test_class_star_files_hold_the_rows_of_their_members(run, clusters):
    def read(path) -> Any:
        return starfile.read(path, always_dict=True, parse_as_string=["rlnTomoName"])

    whole = read(run.parent / "particles.star")
    folder = run / "clusters" / "content"
    assert sorted(path.name for path in folder.glob("*.star")) == [
        f"class-{name}.star" for name in ("1.1", "1.2", "1", "2.1", "2.2", "2")
    ]
    for name, mask in (("1", CLASS == 1), ("2.2", (CLASS == 2) & (CONFORMATION == 2))):
        part = read(folder / f"class-{name}.star")
        expected = whole["particles"][mask].reset_index(drop=True)
        pd.testing.assert_frame_equal(part["particles"], expected)
        # Particles of class 1 are all of optics group 1, those of class 2 of group 2.
        assert part["optics"]["rlnOpticsGroup"].tolist() == [int(name[0])]


@pytest.fixture(scope="module")
def restarts(run, tmp_path_factory) -> list[Path]:
    """Two copies of the run with other codes; in the second, six particles are in the wrong class."""
    folder = tmp_path_factory.mktemp("restarts")
    for name in ("a", "b"):
        shutil.copytree(run, folder / name, ignore=shutil.ignore_patterns("clusters", "traversals"))
        codes = RunFolder.open(run).codes
        content = -codes.content
        if name == "b":
            content[:6, 0] = -3 - content[:6, 0]
        posterior = np.full_like(content, np.log(0.01))
        Codes(codes.ids, content, codes.transformation, posterior).save(folder / name / CODES)
    return [folder / "a", folder / "b"]


def test_confidence_in_star_files(run, restarts, capsys):
    cluster = ["cluster", run, "--count", "2", "--device", "cpu", "--name", "sure", "--overwrite"]
    runs = ["--with", restarts[0], "--with", restarts[1]]
    run_cli(*cluster, *runs, "--min-confidence", "0.8", "--confidence-column", "rlnParticleFigureOfMerit")
    printed = capsys.readouterr().out
    assert f"{restarts[0]}: the same class for 100.0% of 48 particles." in printed
    assert f"{restarts[1]}: the same class for 87.5% of 48 particles." in printed
    assert "6 of 48 particles are below 0.8, and in no STAR file." in printed
    folder = run / "clusters" / "sure"
    confidence = {row["id"]: row["confidence"] for row in csv.DictReader((folder / "classes.csv").open())}
    assert [float(value) >= 0.8 for value in confidence.values()] == [row >= 6 for row in range(COUNT)]
    whole = (run.parent / "particles.star").read_text().splitlines()
    rows = {line.split()[0]: line for line in whole if line.startswith("sub/")}
    for name in ("1", "2"):
        lines = (folder / f"class-{name}.star").read_text().splitlines()
        assert "_rlnParticleFigureOfMerit #5" in lines
        written = [line for line in lines if line.startswith("sub/")]
        expected = [f"sub/{row:03d}.mrc" for row in range(6, COUNT) if CLASS[row] == int(name)]
        # The row as it stood, and one number more.
        assert written == [f"{rows[each]} {confidence[each]}" for each in expected]
    record = json.loads((folder / "clusters.json").read_text())
    assert [record["classes"][name]["not_in_star"] for name in ("1", "2")] == [4, 2]
    assert record["classes"]["1"]["particles"] == 32
    # RELION's reader finds the column by its label.
    read: Any = starfile.read(folder / "class-2.star", always_dict=True)
    assert read["particles"]["rlnParticleFigureOfMerit"].between(0.8, 1).all()


def test_nothing_sure_leaves_no_star_file_and_says_so(run, restarts, capsys):
    cluster = ["cluster", run, "--count", "2", "--device", "cpu", "--name", "sure", "--overwrite"]
    run_cli(*cluster, "--with", restarts[1], "--min-confidence", "1")
    printed = capsys.readouterr().out
    assert "48 of 48 particles are below 1" in printed
    assert "Nothing is left, and no STAR file written, of 1, 2." in printed
    assert not list((run / "clusters" / "sure").glob("*.star"))
    assert Clusters.load(RunFolder.open(run), "sure").class_names == ["1", "2"]


def test_without_the_options_star_files_are_as_before(run, clusters, restarts):
    again = cluster_run(run, "content", (1, 4), conformations=2, others=restarts, name="bare", overwrite=True)
    np.testing.assert_array_equal(again.classes.names, clusters.classes.names)
    for path in (run / "clusters" / "content").glob("*.star"):
        assert (run / "clusters" / "bare" / path.name).read_bytes() == path.read_bytes()


def test_shuffled_rows_give_the_same_classes(run, clusters, tmp_path):
    folder = RunFolder.open(run)
    order = np.random.default_rng(1).permutation(COUNT)
    codes = folder.codes
    shuffled = codes.select(codes.ids[order])
    try:
        shuffled.save(run / CODES)
        again = cluster_run(run, "content", (1, 4), conformations=2, name="shuffled")
    finally:
        codes.save(run / CODES)
    np.testing.assert_array_equal(again.ids, clusters.ids)
    np.testing.assert_array_equal(again.classes.names, clusters.classes.names)
    np.testing.assert_array_equal(again.classes.nearest_rank, clusters.classes.nearest_rank)


def test_maps_of_classes(run, clusters):
    maps = decode_classes(run, "content", device="cpu")
    assert maps.voxel_size == VOXEL
    names = clusters.class_names + clusters.conformation_names
    assert names == ["1", "2", "1.1", "1.2", "2.1", "2.2"]
    codes, model = RunFolder.open(run).codes, RunFolder.open(run).load_model("cpu", progress=False)
    of_class = codes.select(codes.ids[CLASS == 2])
    mean = Codes(
        np.array(["mean"]),
        of_class.content.mean(axis=0, keepdims=True),
        of_class.transformation.mean(axis=0, keepdims=True),
    )
    nearest = codes.select(clusters.members("2")[:1])
    for file, expected in (("class-2.mrc", mean), ("class-2_member.mrc", nearest)):
        with mrcfile.open(maps.folder / file) as read:
            np.testing.assert_allclose(np.asarray(read.data), model.decode(expected)[0, 0], atol=1e-4)
            assert float(read.voxel_size.x) == pytest.approx(VOXEL)
    assert maps.scripts == ("classes.cxc", "class-1_morph.cxc", "class-2_morph.cxc")
    opened = [
        line for line in (maps.folder / "class-1_morph.cxc").read_text().splitlines() if "open " in line
    ]
    assert opened == ['open "class-1.1.mrc" id #1', 'open "class-1.2.mrc" id #2']
    record = json.loads((maps.folder / "maps.json").read_text())
    assert record["maps"]["2"]["member_id"] == clusters.members("2")[0]
    with pytest.raises(RunError, match="--overwrite"):
        decode_classes(run, "content")


def test_files_of_others_are_not_replaced_unless_told(run, clusters, tmp_path):
    """Averages and decoded maps have the same names, and both may be written to one folder."""
    for name in ("class-1.mrc", "step-01.mrc"):
        (tmp_path / name).write_text("of another command")
    with pytest.raises(RunError, match=r"holds 'class-1\.mrc' already, of another command"):
        decode_classes(run, "content", output=tmp_path)
    with pytest.raises(RunError, match=r"holds 'class-1\.mrc' already, of another command"):
        average_classes(run, "content", output=tmp_path, progress=False)
    with pytest.raises(RunError, match=r"holds 'step-01\.mrc' already, of another command"):
        traverse_run(run, steps=3, output=tmp_path, device="cpu")
    decode_classes(run, "content", output=tmp_path, overwrite=True)
    assert (tmp_path / "class-1.mrc").read_bytes() != b"of another command"
    assert (tmp_path / "step-01.mrc").read_text() == "of another command"
    with pytest.raises(RunError, match="is a file; choose another --output"):
        traverse_run(run, steps=3, output=tmp_path / "class-1.mrc", device="cpu")
    codes = (run / CODES).read_bytes()
    for overwrite in (False, True):
        with pytest.raises(RunError, match="is a run, whose codes would be replaced"):
            average_classes(run, "content", output=run, overwrite=overwrite, progress=False)
    assert (run / CODES).read_bytes() == codes


def test_a_path_between_conformations(run, clusters):
    maps = traverse_run(run, from_class="1.1", to_class="1.2", classes="content", steps=5, device="cpu")
    codes, model = RunFolder.open(run).codes, RunFolder.open(run).load_model("cpu", progress=False)
    record = json.loads((maps.folder / "path.json").read_text())
    path = np.array(record["transformation_codes"])
    ends = [codes.transformation[(CLASS == 1) & (c == CONFORMATION)].mean(axis=0) for c in (1, 2)]
    expected = [ends[0] + share * (ends[1] - ends[0]) for share in (0, 0.25, 0.5, 0.75, 1)]
    np.testing.assert_allclose(path, expected, atol=1e-5)
    content = codes.content[CLASS == 1].mean(axis=0)
    np.testing.assert_allclose(record["content_code"], content, atol=1e-5)
    third = Codes(np.array(["x"]), content[None], expected[2].astype(np.float32)[None])
    with mrcfile.open(maps.folder / "step-03.mrc") as read:
        np.testing.assert_allclose(np.asarray(read.data), model.decode(third)[0, 0], atol=1e-4)
        assert float(read.voxel_size.z) == pytest.approx(VOXEL)
    assert "volume morph #1-5" in (maps.folder / "morph.cxc").read_text()


def test_a_path_along_the_axis_of_a_class(run, clusters):
    maps = traverse_run(run, at_class="1", classes="content", steps=4, spread=3.0, device="cpu")
    record = json.loads((maps.folder / "path.json").read_text())
    path = np.array(record["transformation_codes"])
    within = RunFolder.open(run).codes.transformation[CLASS == 1].astype(np.float64)
    # The codes of a class spread along their second dimension, by conformation.
    direction = (path[-1] - path[0]) / np.linalg.norm(path[-1] - path[0])
    assert direction[1] == pytest.approx(1, abs=0.01)
    spread = (within @ direction).std()
    np.testing.assert_allclose(
        (path - within.mean(axis=0)) @ direction, np.array([-3, -1, 1, 3]) * spread, rtol=1e-3
    )
    assert record["share_of_variance"] > 0.8


def test_fewer_steps_leave_no_old_ones(run, clusters):
    first = traverse_run(run, steps=6, device="cpu")
    at = typical_particle(RunFolder.open(run).codes)
    content = RunFolder.open(run).codes.select(np.array([at])).content[0]
    record = json.loads((first.folder / "path.json").read_text())
    np.testing.assert_allclose(record["content_code"], content, atol=1e-5)
    with pytest.raises(RunError, match="--overwrite"):
        traverse_run(run, steps=3, device="cpu")
    (first.folder / "mine.mrc").write_text("kept")
    second = traverse_run(run, steps=3, overwrite=True, device="cpu")
    assert sorted(path.name for path in second.folder.glob("*.mrc")) == [
        "mine.mrc",
        "step-01.mrc",
        "step-02.mrc",
        "step-03.mrc",
    ]


def test_pictures_of_a_run_on_images(blob_run):
    maps = decode_classes(blob_run, "angles")
    assert maps.scripts == () and maps.voxel_size is None
    assert np.load(maps.folder / "maps.npy").shape == (6, 1, 33, 33)
    with Image.open(maps.folder / "class-1.png") as picture:
        assert picture.size == (33, 33)
    path = traverse_run(blob_run, steps=5)
    images = np.load(path.folder / "path.npy")[:, 0]
    # z is the angle: the blob turns about the centre, and its mass, which is content, stays.
    y, x = np.mgrid[:33, :33] - 16.0
    angles = np.arctan2(-(images * y).sum(axis=(1, 2)), (images * x).sum(axis=(1, 2)))
    assert (np.diff(np.unwrap(angles)) > 0.05).all()
    np.testing.assert_allclose(images.sum(axis=(1, 2)), images[0].sum(), rtol=1e-3)
    with Image.open(path.folder / "path.gif") as animation:
        # To the end and back, without showing either end twice.
        assert getattr(animation, "n_frames", 1) == 8
    assert not list(path.folder.glob("*.cxc"))
    with pytest.raises(RunError, match=r"codes\.npz: holds no particle 'nobody' \(--at\); ids look like"):
        traverse_run(blob_run, at="nobody")


def test_a_run_that_was_only_trained_is_encoded(run, tmp_path):
    kept = (run / CODES).read_bytes()
    (run / CODES).unlink()
    try:
        found = cluster_run(run, "both", 2, name="fresh", device="cpu", progress=False)
        assert len(found.ids) == COUNT
    finally:
        (run / CODES).write_bytes(kept)
    with pytest.raises(RunError, match="other codes"):
        decode_classes(run, "fresh")


def test_overwriting_replaces_what_belongs_to_the_classes_and_nothing_else(run, clusters, capsys):
    cluster = ["cluster", run, "--name", "again", "--device", "cpu"]
    run_cli(*cluster, "--count", "2", "--conformations", "2")
    printed = capsys.readouterr().out
    assert "rlnTomoName" in printed and str(run / "clusters" / "again") in printed
    folder = run / "clusters" / "again"
    run_cli("decode", run, "--classes", "again", "--device", "cpu")
    assert "of 7.5 Å voxels" in capsys.readouterr().out
    run_cli("average", run, "--classes", "again", "--most", "16", "--no-progress")
    assert "2 maps of 7.5 Å voxels" in capsys.readouterr().out
    mine = [folder / "notes.txt", folder / "class-1_selected.star", folder / "averages/class-1_mask.mrc"]
    for file in mine:
        file.write_text("mine")
    assert "--overwrite" in refused(capsys, "average", run, "--classes", "again")
    assert "--overwrite" in refused(capsys, *cluster, "--count", "1")
    assert (folder / "class-2.star").exists()
    run_cli(*cluster, "--count", "1", "--overwrite")
    assert sorted(path.name for path in folder.iterdir()) == [
        "averages",
        "class-1.star",
        "class-1_selected.star",
        "classes.csv",
        "clusters.json",
        "maps",
        "notes.txt",
    ]
    assert not list((folder / "maps").glob("class*"))
    assert [path.name for path in (folder / "averages").iterdir()] == ["class-1_mask.mrc"]
    assert {file.read_text() for file in mine} == {"mine"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cluster", "--count", "many"], "--count many"),
        (["cluster", "--count", "49", "--name", "x"], "49 clusters of 48 particles"),
        (["cluster", "--count", "2", "--conformations", "20", "--name", "x"], "class 2: 20 clusters of 16"),
        (["cluster", "--count", "4-2", "--name", "x"], "rises"),
        (["cluster", "--method", "kmeans", "--name", "x"], "k-means cannot choose"),
        (["cluster", "--name", "../up"], "--name"),
        (["cluster", "--on", "pose"], "pose"),
        (["cluster", "--name", "x", "--with", "nowhere"], "nowhere: not a run folder"),
        (["cluster", "--name", "x", "--min-confidence", "-0.1"], "--min-confidence -0.1"),
        (["cluster", "--name", "x", "--confidence-column", "a b"], "give a label such as"),
        (
            ["cluster", "--name", "x", "--confidence-column", "rlnAngleRot"],
            "has a column rlnAngleRot already",
        ),
        (["decode", "--classes", "other"], "no clusters 'other'"),
        (["traverse", "--classes", "content", "--from-class", "1", "--to-class", "9"], "no class '9'"),
        (["traverse", "--from-class", "1"], "--to-class belong together"),
        (["traverse", "--from-class", "1", "--to-class", "1"], "both 1"),
        (["traverse", "--axis", "1", "--from-class", "1", "--to-class", "2"], "exclude"),
        (["traverse", "--axis", "0"], "has axes 1 to"),
        (["traverse", "--steps", "1"], "--steps 1"),
        (["traverse", "--spread", "0"], "--spread 0"),
        (["traverse", "--at", "nobody"], "nobody"),
    ],
)
def test_bad_options(run, clusters, capsys, arguments, message):
    verb, *options = arguments
    before = sorted(path for path in run.rglob("*"))
    assert message in refused(capsys, verb, run, *options, "--device", "cpu")
    assert sorted(path for path in run.rglob("*")) == before


def test_a_star_file_that_lost_a_particle(run, clusters, capsys):
    star = run.parent / "particles.star"
    kept = star.read_text()
    try:
        star.write_text(kept.replace("sub/007.mrc", "sub/x.mrc"))
        with pytest.raises(DataError, match=r"names 'sub/x\.mrc', which is not there"):
            cluster_run(run, "content", 2, name="lost")
    finally:
        star.write_text(kept)
    assert not (run / "clusters" / "lost" / "clusters.json").exists()


def test_a_run_without_classes_and_damaged_ones(blob_run, tmp_path):
    empty = make_run(tmp_path / "run", count=60)
    with pytest.raises(RunError, match="has no classes"):
        decode_classes(empty)
    cluster_run(empty, "content", 2)
    with pytest.raises(RunError, match="no class '3'"):
        Clusters.load(empty).members("3")
    (empty.path / "clusters" / "content" / "classes.csv").write_text("id,class\n")
    with pytest.raises(RunError, match="cannot be read"):
        Clusters.load(empty)
    cluster_run(blob_run, "content", 2)
    with pytest.raises(RunError, match="several clusterings"):
        decode_classes(blob_run)
    with pytest.raises(SettingError, match="--on"):
        cluster_run(blob_run, "pose")  # pyright: ignore[reportArgumentType]


def test_help_of_the_verbs_imports_nothing_heavy():
    code = (
        "import sys, dualcontrast.cli.cluster, dualcontrast.cli.decode, dualcontrast.cli.traverse; "
        "print([name for name in ('torch', 'sklearn', 'matplotlib', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
