"""A training that is over before it has begun says so."""

import logging

import numpy as np
import pytest

from dualcontrast import pipeline
from toy_images import bars


@pytest.mark.parametrize(
    ("preset", "epochs", "remedy"),
    [
        (None, 1, "--epochs 1000 (2,000 steps) or --preset short"),
        ("short", 249, "--epochs 1000 (2,000 steps) or a smaller --batch-size"),
        (None, 250, None),
    ],
)
def test_few_steps_are_pointed_out(tmp_path, caplog, monkeypatch, preset, epochs, remedy):
    np.save(tmp_path / "bars.npy", bars(100, (16, 16))[0])
    # Only what is said before the training counts here.
    monkeypatch.setattr(pipeline.Model, "fit", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    caplog.set_level(logging.INFO, "dualcontrast")
    with pytest.raises(KeyboardInterrupt):
        pipeline.train(
            tmp_path / "bars.npy",
            tmp_path / "run",
            preset=preset,
            changes={"epochs": epochs, "batch_size": 40},
            progress=False,
        )
    # 80 training images in batches of 40 are 2 steps an epoch.
    if remedy is None:
        assert "steps of training" not in caplog.text
    else:
        assert f"only {2 * epochs} steps" in caplog.text and remedy in caplog.text
