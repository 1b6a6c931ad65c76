"""A training that is over before it has begun says so."""

import logging

import numpy as np
import pytest

from dualcontrast import pipeline
from toy_images import bars


@pytest.mark.parametrize(("epochs", "warned"), [(1, True), (250, False)])
def test_few_steps_are_pointed_out(tmp_path, caplog, monkeypatch, epochs, warned):
    np.save(tmp_path / "bars.npy", bars(100, (16, 16))[0])
    # Only what is said before the training counts here.
    monkeypatch.setattr(pipeline.Model, "fit", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    caplog.set_level(logging.INFO, "dualcontrast")
    with pytest.raises(KeyboardInterrupt):
        pipeline.train(
            tmp_path / "bars.npy",
            tmp_path / "run",
            changes={"epochs": epochs, "batch_size": 40},
            progress=False,
        )
    # 80 training images in batches of 40 are 2 steps an epoch.
    said = f"only {2 * epochs} steps" in caplog.text
    assert said is warned and ("--preset short" in caplog.text) is warned
