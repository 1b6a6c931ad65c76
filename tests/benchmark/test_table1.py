"""The whole table on small images: written, kept, gone on with, and complete where a cell fails."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from dualcontrast.benchmark.cells import CellFailed
from dualcontrast.benchmark.speed import training_seconds
from dualcontrast.benchmark.table1 import table1
from dualcontrast.errors import DataError, RunError, SettingError
from toy_images import bars

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    pixels, number, angle = bars(160, (16, 16))
    path = tmp_path_factory.mktemp("images") / "bars.npz"
    np.savez(path, **{"images": pixels, "content:bars": number, "transformation:angle": angle})
    return path


def test_table_is_filled_once_and_then_kept(images, tmp_path):
    def call(**changes):
        started = []
        options = {"methods": ["simclr", "two_latent_vae"], "seeds": [0], "epochs": 1, "schedule": "short"}
        lines = table1(
            tmp_path / "table",
            datasets=[f"bars={images}"],
            device="cpu",
            on_start=started.append,
            **options | changes,
        )
        return lines, [cell.row.name for cell in started]

    lines, started = call(budget_minutes=1.0, epochs=2, jobs=2)
    assert sorted(started) == ["simclr", "two_latent_vae"]
    for line in lines:
        # A minute is enough for the two epochs that are the most it may take.
        assert line.records[0]["recipe"]["epochs"] == 2
        assert line.records[0]["recipe"]["schedule"] == "one_cycle"
        assert line.value("evaluation.d_score.transformation.from_content") is not None
    for name in ("table1.csv", "table1.md", "table1.tex"):
        assert (tmp_path / "table" / name).stat().st_size > 0
    for name in ("transfer", "t-sne", "umap"):
        assert (tmp_path / "table" / "figures" / f"bars-{name}.png").read_bytes()[:4] == b"\x89PNG"

    again, started = call(budget_minutes=1.0, epochs=2, methods=["two_latent_vae"])
    assert started == [] and again[0].records == lines[1].records
    with pytest.raises(RunError, match="another epochs"):
        call(budget_minutes=1.0, epochs=3)


def test_a_cell_that_fails_is_named_and_leaves_the_table_whole(images, tmp_path):
    # 128 training images are fewer than a batch of this method's default.
    with pytest.raises(CellFailed, match=r"dualcontrast on bars, seed 0: .*256"):
        table1(
            tmp_path / "table",
            methods=["dualcontrast"],
            datasets=[f"bars={images}"],
            seeds=[0],
            epochs=1,
            device="cpu",
        )
    text = (tmp_path / "table" / "table1.md").read_text()
    assert "| DualContrast, our default | – | – |" in text and "Failed: dualcontrast on bars" in text


def test_bad_input_is_refused_before_any_training(images, tmp_path):
    with pytest.raises(DataError, match="no such file"):
        table1(tmp_path / "a", methods=["simclr"], datasets=["x=nowhere.npz"])
    with pytest.raises(SettingError, match="--jobs 0"):
        table1(tmp_path / "a", methods=["simclr"], datasets=[f"x={images}"], jobs=0)
    with pytest.raises(SettingError, match="--seeds"):
        table1(tmp_path / "a", methods=["simclr"], datasets=[f"x={images}"], seeds=[0, 0])
    assert not (tmp_path / "a").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    with pytest.raises(RunError, match="no table"):
        table1(tmp_path / "mine", methods=["simclr"], datasets=[f"x={images}"])


def test_training_seconds_are_images_over_speed_for_each_stretch():
    # 100 images in 2 steps an epoch: 4 steps at 50 a second, then 6 at 25 a second.
    run = SimpleNamespace(
        metrics=[{"step": 4, "images_per_second": 50.0}, {"step": 10, "images_per_second": 25.0}],
        split=SimpleNamespace(train=np.arange(100)),
        config=json.loads('{"recipe": {"epochs": 5}}'),
    )
    assert training_seconds(run) == pytest.approx(200 / 50 + 300 / 25)
