"""The D_scores without labels: groups of c, relative turns, and the score they are put together to."""

import copy

import numpy as np
import pytest
import torch

from blobs import Blobs, DeadTransformation, Leaky, blob_factors, draw_blobs, make_run
from dualcontrast.errors import RunError
from dualcontrast.evaluation.diagnostics import diagnostics
from dualcontrast.evaluation.evaluate import evaluate_run
from dualcontrast.evaluation.groups import group_scores
from dualcontrast.evaluation.label_free import label_free_score
from dualcontrast.evaluation.readings import readings
from dualcontrast.evaluation.rotation import relative_readout, rotation_readout

KINDS = np.repeat(np.arange(10), 40)


def codes_of(kinds: np.ndarray, seed: int, spread: float = 0.05) -> np.ndarray:
    """Ten kinds far apart from each other."""
    places = np.random.default_rng(7).normal(size=(10, 6)) * 3
    return places[kinds] + np.random.default_rng(seed).normal(size=(len(kinds), 6)) * spread


def test_groups_that_are_kept_and_not_told_by_z():
    found = group_scores(
        codes_of(KINDS, 0), codes_of(KINDS, 1), np.random.default_rng(2).normal(size=(400, 4))
    )
    assert found is not None and found.count == 10
    assert found.from_content == 1
    assert found.from_transformation < 0.1


def test_the_kappa_of_images_that_change_their_group():
    """A share s of the images moves on by one kind: kappa = (1 - s - 1/10) / (1 - 1/10)."""
    moved = KINDS.copy()
    moved[::4] = (moved[::4] + 1) % 10
    found = group_scores(codes_of(KINDS, 0), codes_of(moved, 1), codes_of(KINDS, 2))
    assert found is not None
    assert found.from_content == pytest.approx((0.75 - 0.1) / 0.9)
    assert found.from_transformation == 1


def test_what_z_tells_of_two_kinds_in_one_is_half():
    """z tells five pairs of kinds: half of all images are named, kappa = (1/2 - 1/10) / (1 - 1/10)."""
    found = group_scores(codes_of(KINDS, 0), codes_of(KINDS, 1), codes_of(KINDS // 2, 2))
    assert found is not None
    assert found.from_transformation == pytest.approx((0.5 - 0.1) / 0.9, abs=0.06)


def test_the_same_seed_gives_the_same_and_scale_and_order_of_dimensions_do_not_matter():
    c, turned, z = (np.random.default_rng(seed).normal(size=(200, 3)) for seed in range(3))
    assert group_scores(c, turned, z, 1) == group_scores(c, turned, z, 1)
    scaled = group_scores(c * 100 + 5, turned * 100 + 5, z[:, ::-1] / 7, 1)
    assert scaled == group_scores(c, turned, z, 1)


def test_codes_that_cannot_be_grouped():
    z = np.random.default_rng(0).normal(size=(100, 2))
    assert group_scores(np.ones((100, 3)), np.ones((100, 3)), z) is None
    assert group_scores(z[:15], z[:15], z[:15]) is None
    dead = group_scores(z, z, np.ones((100, 2)))
    assert dead is not None and dead.from_transformation == 0 and dead.from_content == 1


def test_a_turn_is_read_between_two_codes_where_one_alone_does_not_tell_it():
    """Images in random poses: the angle of the turned one says nothing of the turn, the difference all."""
    rng = np.random.default_rng(0)
    before, turn = rng.uniform(-180, 180, (2, 600)) * [[1], [0.5]]

    def on_circle(angle):
        return np.stack((np.cos(np.radians(angle)), np.sin(np.radians(angle))), axis=1)

    angles = torch.from_numpy(turn)
    turned = on_circle(before + turn)
    assert rotation_readout(turned, angles, 0) < 0.05
    assert relative_readout(on_circle(before), turned, angles, 0) > 0.7
    assert relative_readout(on_circle(before), on_circle(before), angles, 0) < 0.05


@pytest.fixture(scope="module")
def evaluations():
    images = draw_blobs(*blob_factors(300))
    methods = {"good": Blobs(), "the wrong way round": Leaky(), "dead": DeadTransformation()}
    return {name: {"diagnostics": diagnostics(method, images)} for name, method in methods.items()}


def test_the_score_is_high_for_a_perfect_method(evaluations):
    good = label_free_score(evaluations["good"])
    assert good.value > 0.85 and good.why == "nothing stands out"


def test_codes_the_wrong_way_round_and_dead_codes_score_low(evaluations):
    wrong = label_free_score(evaluations["the wrong way round"])
    assert wrong.value < 0.7 and "c puts turned copies into other groups" in wrong.why
    dead = label_free_score(evaluations["dead"])
    assert dead.value == 0 and dead.why == "z collapsed"


@pytest.mark.parametrize(
    ("use", "value", "why"),
    [
        (0.5, (0.9 + 0.6) / 2, "z tells the groups of c (0.60)"),
        (None, (0.9 + 0.6) / 2, "z tells the groups of c (0.60)"),
        (0.02, (0.9 + 0.6 * 0.4) / 2, "the decoder hardly uses z (0.40); z tells the groups of c (0.60)"),
    ],
)
def test_the_score_is_the_mean_of_what_c_keeps_and_z_does_not_tell(use, value, why):
    found = {
        "groups": {"count": 10, "from_content": 0.9, "from_transformation": 0.4},
        "decoder_use": {"content": 0.5, "transformation": use},
    }
    score = label_free_score({"diagnostics": found})
    assert score.value == pytest.approx(value) and score.why == why
    assert score.value == pytest.approx(sum(score.parts.values()) / 2)
    # A c that cannot be grouped.
    assert label_free_score({"diagnostics": found | {"groups": None}}).value <= 0.5


def test_an_evaluation_of_an_earlier_version_is_refused():
    with pytest.raises(RunError, match="earlier version"):
        label_free_score({"diagnostics": {"rotation_readout": {}}})
    with pytest.raises(RunError, match="earlier version"):
        label_free_score({})


def test_readings_of_groups(tmp_path):
    evaluation = evaluate_run(make_run(tmp_path / "run"))
    found = {reading.key: reading for reading in readings(evaluation)}
    assert found["diagnostics.groups.from_content"].level == "good"
    assert found["diagnostics.groups.from_transformation"].level == "good"
    older = copy.deepcopy(evaluation)
    del older["diagnostics"]["groups"]
    assert "diagnostics.groups.from_content" not in {reading.key for reading in readings(older)}
