"""Methods with an explicit rigid transformation find the known poses of one object."""

from typing import Any

import numpy as np
import pytest
import torch

from dualcontrast.model import Model
from turned_object import angle_errors, turned_objects

SETTINGS: dict[str, dict[str, Any]] = {
    "harmony": {"hidden": 128, "epochs": 30, "learning_rate": 1e-3},
    "spatial_vae": {"hidden": 64, "decoded_pixels": 200, "epochs": 60, "learning_rate": 5e-3},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_known_poses_of_one_object_are_recovered(name):
    rng = np.random.default_rng(0)
    known = rng.uniform(-60, 60, 600)
    shifts = rng.uniform(-1.5, 1.5, (600, 2))
    images = turned_objects(known, (20, 20), shifts)
    model = Model(
        name,
        "short",
        device="cpu",
        progress=False,
        normalisation="unit",
        content_dim=1,
        batch_size=50,
        **SETTINGS[name],
    )
    codes = model.fit(images[:500]).encode(images[500:])
    assert model.network is not None
    found = model.network.transformation_parameters(torch.as_tensor(codes.transformation))
    errors = angle_errors(found["angle_deg"].numpy(), known[500:])
    assert np.median(errors) < 3 and (errors < 5).mean() > 0.8
    for axis, parameter in enumerate(("shift_x_px", "shift_y_px")):
        assert np.corrcoef(found[parameter], shifts[500:, axis])[0, 1] > 0.9
