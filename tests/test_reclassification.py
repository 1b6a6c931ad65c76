"""Classes of a run whose codes divide two particles badly, sorted by their averages."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import starfile

from dualcontrast import RunFolder
from dualcontrast.averaging import reclassification
from dualcontrast.averaging.class_averages import average_classes
from dualcontrast.averaging.reclassification import reclassify_run
from dualcontrast.class_finding import cluster_run
from dualcontrast.cli import main
from dualcontrast.clusters import Clusters
from dualcontrast.errors import DataError, RunError, SettingError
from dualcontrast.figures.class_section import class_section
from posed_run import EACH, IDENTITY, posed_run

# A quarter of each particle is where the other belongs.
CODED = np.where(np.arange(2 * EACH) % 4 == 0, 1 - IDENTITY, IDENTITY)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run with two classes that are wrong for a quarter of the particles, and sorted ones."""
    path = posed_run(tmp_path_factory.mktemp("mixed"), CODED)
    cluster_run(path, "content", 2, device="cpu")
    main(["reclassify", str(path), "--rounds", "14", "--no-progress"])
    return path


def identity_of(ids: np.ndarray) -> np.ndarray:
    """Which particle each id is."""
    return IDENTITY[[int(name[:3]) for name in ids]]


def test_particles_move_to_where_they_belong(run: Path) -> None:
    """And the names of the classes stay what they were."""
    old, new = (Clusters.load(RunFolder.open(run), name) for name in ("content", "content-by-averages"))
    assert list(old.ids) == list(new.ids)
    truth = identity_of(new.ids)
    right = (new.classes.names == "1") == truth
    share = max(right.mean(), 1 - right.mean())
    assert share > 0.95
    moved = (old.classes.names != new.classes.names).mean()
    assert 0.15 < moved < 0.35
    assert new.record["fit"]["moved"] == moved
    for name in new.class_names:
        assert len(new.members(name)) == (new.classes.names == name).sum()


def test_the_class_files(run: Path) -> None:
    """A STAR file for each class, with its members; confidences are probabilities."""
    folder = run / "clusters" / "content-by-averages"
    new = Clusters.load(RunFolder.open(run), "content-by-averages")
    for name in new.class_names:
        blocks: Any = starfile.read(folder / f"class-{name}.star", always_dict=True)
        assert set(blocks["particles"]["rlnImageName"]) == set(new.members(name))
    assert new.confidence is not None
    assert ((new.confidence.confidence >= 0.5) & (new.confidence.confidence <= 1)).all()
    record = json.loads((folder / "clusters.json").read_text())
    assert record["settings"]["begun_with"] == "content"
    assert record["fit"]["separation"] > 2


def test_what_follows_takes_the_new_classes(run: Path) -> None:
    """Averages, and the section of the report, which says where they are from."""
    opened = RunFolder.open(run)
    average_classes(opened, "content-by-averages", most=12, progress=False)
    section = class_section(opened, Clusters.load(opened, "content-by-averages"), False, True)
    assert (
        "by likelihood on the averages of other classes; they began as the classes 'content'" in section.how
    )
    assert not any("did not reach" in remark for remark in section.remarks)
    assert "averages/class-1.mrc" in section.rows[0].files


def test_what_cannot_be_is_refused(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any particle is read."""
    monkeypatch.setattr(reclassification, "classify", lambda *_, **__: pytest.fail("sorted"))
    with pytest.raises(RunError, match="exists already; add --overwrite"):
        reclassify_run(run, "content", progress=False)
    with pytest.raises(RunError, match="several clusterings"):
        reclassify_run(run, progress=False)
    with pytest.raises(SettingError, match="--rounds 0"):
        reclassify_run(run, "content", rounds=0)
    with pytest.raises(SettingError, match="that of the classes to begin with"):
        reclassify_run(run, "content", name="content", overwrite=True)
    cluster_run(run, "content", 1, name="one", device="cpu")
    with pytest.raises(SettingError, match="one class only"):
        reclassify_run(run, "one")
    with monkeypatch.context() as context:
        context.setattr(reclassification, "LEAST_MEMBERS", EACH + 1)
        with pytest.raises(DataError, match="too few for an average"):
            reclassify_run(run, "content", name="other")
    star = run.parent / "particles.star"
    whole = star.read_text()
    try:
        star.write_text(whole.replace("005.mrc 1 99.0 keep5\n", ""))
        with pytest.raises(DataError, match="71 images, formerly 72"):
            reclassify_run(run, "content", name="other")
    finally:
        star.write_text(whole)
    assert not (run / "clusters" / "other").exists()
