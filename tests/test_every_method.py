"""The contract that every method keeps, in every number of dimensions it is defined for."""

import numpy as np
import pytest
import torch

from dualcontrast import settings
from dualcontrast.errors import DataError
from dualcontrast.methods.base import Batch
from dualcontrast.methods.registry import all_methods
from dualcontrast.model import Model
from dualcontrast.networks import SMALLEST_IMAGE
from dualcontrast.training.loop import Checkpointing, Stopped
from toy_images import bar_source

pytestmark = pytest.mark.slow

SHAPES = {2: (16, 16), 3: (16, 16, 16)}
CASES = [
    pytest.param(name, preset, dimension, id=f"{name}-{preset}-{dimension}d")
    for name, method in all_methods().items()
    for preset in method.presets
    for dimension in method.spatial_dims
    # Volumes are slow: the preset that is made for them stands for all.
    if (dimension == 2 and preset != "subtomogram")
    or (dimension == 3 and preset == ("subtomogram" if "subtomogram" in method.presets else "default"))
]
every_method = pytest.mark.parametrize(("name", "preset", "dimension"), CASES)


def small_model(name: str, preset: str, seed: int = 0, **changes) -> Model:
    changes = {"epochs": 2, "batch_size": 8, "schedule": "constant", "learning_rate": 1e-3} | changes
    if "hidden" in settings.names_of(all_methods()[name].Config):
        # The contract is not about how wide a layer is, and a narrow one takes a fifth of the time.
        changes = {"hidden": 64} | changes
    return Model(name, preset, seed=seed, device="cpu", progress=False, **changes)


def images_of(dimension: int, count: int = 20):
    # 20 images in batches of at most 8: the batches are not full.
    return bar_source(count, SHAPES[dimension])


@every_method
def test_loss_falls(name, preset, dimension):
    model = small_model(name, preset, epochs=12 if dimension == 2 else 5, learning_rate=1e-3)
    model.fit(images_of(dimension, 40))
    first, last = model.history[0], model.history[-1]
    assert last["loss"] < first["loss"]
    assert set(last["terms"]) <= set(model.network.weights(0.5))
    if model.network.generative:
        assert last["terms"]["reconstruction"] < first["terms"]["reconstruction"]


def methods_with_views() -> list[str]:
    return [
        name
        for name, method in all_methods().items()
        if "views.narrow_to" in settings.names_of(method.Config)
    ]


@pytest.mark.parametrize("name", methods_with_views())
def test_views_narrow_during_the_training(name):
    """In every method that has views; narrowed to nothing, all change at half-time."""
    changes = {"views.max_angle": 180.0, "views.narrow_to": 0.0, "views.narrow_after": 0.5}
    if name == "dualcontrast":
        changes["near_views_count"] = 0
    model = small_model(name, "default", **changes)
    source = images_of(2, 8)
    network = model.untrained_network(model.choose_preparation(source)).eval()
    batch = Batch(torch.from_numpy(source.read(np.arange(8))).float())

    def losses_at(progress: float) -> dict[str, torch.Tensor]:
        phase = network.phases()[0].name
        now = batch._replace(progress=torch.tensor(progress))
        return network.losses(now, torch.Generator().manual_seed(0), phase)

    start, before, after, end = (losses_at(progress) for progress in (0.0, 0.49, 0.5, 0.9))
    assert all(torch.equal(start[term], before[term]) for term in start)
    assert all(torch.equal(after[term], end[term]) for term in start)
    assert any(not torch.equal(before[term], after[term]) for term in start)


@every_method
def test_codes_and_images_have_the_shapes_asked_for(name, preset, dimension):
    # An explicit transformation, such as an angle and two shifts, has a length of its own.
    is_free = "transformation_dim" in settings.names_of(all_methods()[name].Config)
    asked = {"content_dim": 3} | ({"transformation_dim": 5} if is_free else {})
    model = small_model(name, preset, epochs=1, **asked)
    source = images_of(dimension)
    codes = model.fit(source).encode(source)
    network = model.network
    assert codes.content.shape == (20, 3) and codes.transformation.shape == (20, network.transformation_dim)
    assert network.transformation_dim == 5 or not is_free
    meaning = model.transformation_parameters(codes)
    assert all(len(values) == 20 and np.isfinite(values).all() for values in meaning.values())
    assert meaning or is_free
    assert codes.ids.tolist() == source.ids.tolist()
    if model.network.generative:
        assert model.decode(codes).shape == (20, *source.image_shape)
        assert model.transfer(source, source).shape == (20, *source.image_shape)


@every_method
def test_saved_and_loaded_gives_the_same_codes(name, preset, dimension, tmp_path):
    source = images_of(dimension)
    model = small_model(name, preset, epochs=1).fit(source)
    model.save(tmp_path / "model.safetensors")
    loaded = Model.load(tmp_path / "model.safetensors", device="cpu", progress=False)
    assert loaded.describe() == model.describe()
    before, after = model.encode(source), loaded.encode(source)
    assert np.array_equal(before.content, after.content)
    assert np.array_equal(before.transformation, after.transformation)


@every_method
def test_resumed_equals_uninterrupted(name, preset, dimension, tmp_path):
    source = images_of(dimension)
    whole = small_model(name, preset).fit(source)

    stopped = small_model(name, preset)
    keep = Checkpointing(tmp_path / "last.pt", stopped.describe(), every_seconds=0)

    second_row = []

    def stop_in_second_epoch(row):
        second_row.append(row)
        if len(second_row) == 2:
            raise Stopped(2, row["step"])

    with pytest.raises(Stopped):
        stopped.fit(source, checkpointing=keep, report=stop_in_second_epoch)
    resumed = small_model(name, preset)
    rows = []
    again = Checkpointing(tmp_path / "last.pt", resumed.describe(), resume=True, on_resume=rows.append)
    resumed.fit(source, checkpointing=again)
    assert rows == [3]  # three batches an epoch
    for (key, expected), actual in zip(
        whole.network.state_dict().items(), resumed.network.state_dict().values(), strict=True
    ):
        assert torch.equal(expected, actual), key


@every_method
def test_same_seed_same_weights_and_another_seed_others(name, preset, dimension):
    source = images_of(dimension)
    first, second, other = (
        torch.cat(
            [
                p.flatten()
                for p in small_model(name, preset, seed=s, epochs=1).fit(source).network.parameters()
            ]
        )
        for s in (0, 0, 1)
    )
    assert torch.equal(first, second)
    assert not torch.allclose(first, other)


@every_method
def test_images_too_small_are_refused(name, preset, dimension):
    with pytest.raises(DataError, match="smaller"):
        small_model(name, preset).fit(bar_source(20, (SMALLEST_IMAGE - 1,) * dimension))
