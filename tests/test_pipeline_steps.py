"""Trainings of few images: as many epochs as the preset asks steps for, or a word that they are too few."""

import logging

import numpy as np
import pytest

from dualcontrast import Model, pipeline
from dualcontrast.errors import RunError
from star_project import make_project
from toy_images import bars


@pytest.fixture
def said_before_training(tmp_path, caplog, monkeypatch):
    """Begin a training on images, and return what is said until then."""

    def begin(images, preset=None, **changes):
        np.save(tmp_path / "images.npy", images)
        monkeypatch.setattr(pipeline.Model, "fit", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        caplog.set_level(logging.INFO, "dualcontrast")
        with pytest.raises(KeyboardInterrupt):
            pipeline.train(
                tmp_path / "images.npy", tmp_path / "run", preset=preset, changes=changes, progress=False
            )
        return caplog.text

    return begin


@pytest.mark.parametrize(
    ("preset", "epochs", "remedy"),
    [
        (None, 1, "--epochs 1000 (2,000 steps) or --preset short"),
        ("short", 249, "--epochs 1000 (2,000 steps) or a smaller --batch-size"),
        (None, 250, None),
    ],
)
def test_few_steps_are_pointed_out(said_before_training, preset, epochs, remedy):
    said = said_before_training(bars(100, (16, 16))[0], preset, epochs=epochs, batch_size=40)
    # 80 training images in batches of 40 are 2 steps an epoch.
    if remedy is None:
        assert "steps of training" not in said
    else:
        assert f"only {2 * epochs} steps" in said and remedy in said


def test_volumes_are_not_sent_to_the_preset_for_images(said_before_training):
    volumes = np.random.default_rng(0).normal(size=(60, 1, 16, 16, 16)).astype(np.float32)
    said = said_before_training(volumes, epochs=1, batch_size=24)
    assert "a smaller --batch-size" in said and "--preset" not in said


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"transformation_dim": 14}, "; --batch-size 42 or more, or codes of at most 13 would"),
        ({"transformation_dim": 13}, None),
        ({"content_dim": 30}, None),
        ({"content_dim": 20, "weights": {"independence_c": 1.0}}, "; --batch-size 60 or more, or"),
        # There are 80 images to train on.
        ({"transformation_dim": 27}, "; codes of at most 13 would"),
        ({"batch_size": 2}, "; --batch-size 30 or more would"),
        ({"batch_size": 2, "transformation_dim": 27}, "; more images would"),
        ({"transformation_dim": 14, "weights": {"independence": 0.0}}, None),
    ],
)
def test_codes_nearly_as_long_as_a_batch_are_pointed_out(said_before_training, changes, remedy):
    said = said_before_training(bars(100, (16, 16))[0], **{"batch_size": 40, **changes})
    assert ("depends on the other" in said) == (remedy is not None)
    assert remedy is None or remedy in said


def trained_for(path, changes):
    np.save(path / "bars.npy", bars(100, (16, 16))[0])
    changes = {"batch_size": 40, "content_dim": 3, "width": 1} | changes
    return pipeline.train(
        path / "bars.npy", path / "run", changes=changes, evaluate=False, progress=False, device="cpu"
    )


# 80 training images in batches of 40 are 2 steps an epoch: 7 steps are 4 epochs.
@pytest.mark.parametrize(
    ("changes", "epochs"),
    [
        ({"epochs": 1, "least_steps": 7}, 4),
        ({"epochs": 5, "least_steps": 7}, 5),
        ({"epochs": 1}, 1),
    ],
)
def test_a_recipe_may_ask_for_steps(tmp_path, changes, epochs):
    run = trained_for(tmp_path, changes)
    recipe = run.config["recipe"]
    assert (recipe["epochs"], recipe["least_steps"]) == (epochs, 0)
    assert int(run.metrics[-1]["step"]) == 2 * epochs


# What docs/results.md says of few images: 2,000 steps of 256, and 30 epochs where those are more.
@pytest.mark.parametrize(("images", "epochs"), [(1_000, 500), (5_000, 100), (15_000, 34), (20_000, 30)])
def test_default_asks_for_steps(images, epochs):
    model = Model(progress=False)
    model.suit((1, 28, 28), images)
    assert model.recipe.epochs == epochs


def test_resumed_with_the_epochs_that_the_steps_made(tmp_path):
    run = trained_for(tmp_path, {"epochs": 1, "least_steps": 7})
    again = pipeline.train(
        tmp_path / "bars.npy", run.path, changes={"epochs": 4}, resume=True, evaluate=False, progress=False
    )
    assert again.config == run.config
    with pytest.raises(RunError, match="other settings than epochs"):
        pipeline.train(tmp_path / "bars.npy", run.path, changes={"epochs": 5}, resume=True, progress=False)


def test_steps_are_asked_for_anew_of_other_images():
    images = bars(160, (16, 16))[0]
    model = Model(
        epochs=1, least_steps=7, batch_size=40, content_dim=3, width=1, progress=False, device="cpu"
    )
    assert model.fit(images[:80]).recipe.epochs == 4
    assert model.fit(images).recipe.epochs == 2


def test_a_job_folder_that_is_a_link_stays_one(tmp_path, monkeypatch):
    """Its STAR file names files from the project folder, which is above the link and not above its target."""
    project = make_project(tmp_path / "project", count=8)
    job, elsewhere = project.star.parent, tmp_path / "scratch"
    job.rename(elsewhere)
    job.symlink_to(elsewhere, target_is_directory=True)
    monkeypatch.chdir(project.root)
    run = pipeline.train(
        "Extract/job001/particles.star",
        tmp_path / "run",
        method="simclr",
        changes={"epochs": 1, "batch_size": 4},
        device="cpu",
        evaluate=False,
        progress=False,
    )
    monkeypatch.chdir(tmp_path)
    assert len(run.open_source()) == 8
    assert np.isfinite(run.open_source().read([7])).all()
