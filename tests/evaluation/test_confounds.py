"""What codes are said to know of the imaging, on codes that know exactly what we put into them."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from blobs import blob_source, make_run
from dualcontrast.codes import Codes
from dualcontrast.data.labels import Factor, LabelTable
from dualcontrast.evaluation.confounds import NUISANCES, confounds, rotation_entries
from dualcontrast.evaluation.evaluate import evaluate_run
from dualcontrast.evaluation.readings import readings
from dualcontrast.figures.report import render

COUNT = 600
ANGLES = NUISANCES["pose"][0]


def rotations(seed=0) -> Rotation:
    return Rotation.random(COUNT, rng=np.random.default_rng(seed))


def table(**columns: np.ndarray) -> LabelTable:
    ids = np.array([f"p{i:04d}" for i in range(COUNT)])
    return LabelTable(ids, tuple(Factor(name, "metadata", values) for name, values in columns.items()))


def poses(turns: Rotation) -> dict[str, np.ndarray]:
    """RELION angles: the matrix Rz(psi) Ry(tilt) Rz(rot) of frame rotations is the transpose of SciPy's."""
    return dict(zip(ANGLES, turns.inv().as_euler("ZYZ", degrees=True).T, strict=True))


def codes_of(content: np.ndarray, transformation: np.ndarray) -> Codes:
    ids = np.array([f"p{i:04d}" for i in range(COUNT)])
    return Codes(ids, content.astype(np.float32), transformation.astype(np.float32))


def only(found: dict) -> dict:
    (factor,) = found["factors"]
    return factor


def test_matrices_are_relions():
    # RELION's Euler_angles2matrix, written out.
    rot, tilt, psi = np.deg2rad([30.0, 40.0, -70.0])
    ca, sa, cb, sb, cg, sg = np.cos(rot), np.sin(rot), np.cos(tilt), np.sin(tilt), np.cos(psi), np.sin(psi)
    expected = [
        [cg * cb * ca - sg * sa, cg * cb * sa + sg * ca, -cg * sb],
        [-sg * cb * ca - cg * sa, -sg * cb * sa + cg * ca, sg * sb],
        [sb * ca, sb * sa, cb],
    ]
    found = rotation_entries(np.array([[30.0, 40.0, -70.0]]))
    np.testing.assert_allclose(found, np.array(expected).reshape(1, 9), atol=1e-12)


def test_codes_that_hold_the_pose_and_codes_that_do_not():
    turns, rng = rotations(), np.random.default_rng(1)
    # The entries of the matrix, mixed and shifted: linear in them, not in the angles.
    z = turns.as_matrix().reshape(-1, 9) @ rng.normal(size=(9, 9)) + 3
    factor = only(confounds(codes_of(rng.normal(size=(COUNT, 5)), z), table(**poses(turns))))
    assert (factor["name"], factor["measure"], factor["columns"]) == ("pose", "r2", list(ANGLES))
    # The ridge penalty costs a little.
    assert factor["from_transformation"] > 0.98
    assert factor["from_content"] < 0.02 and factor["nonlinear"]["from_content"] < 0.02
    assert (factor["chance"], factor["particles"], factor["reason"]) == (0, COUNT, None)


def test_a_curved_code_is_seen_by_the_kernel_only():
    # One angle about z in a code that runs around it twice.
    angle = np.random.default_rng(0).uniform(0, np.pi, COUNT)
    z = np.stack([np.cos(4 * angle), np.sin(4 * angle)], axis=1) + 0.5 * angle[:, None]
    columns = dict(zip(ANGLES, (np.zeros(COUNT), np.zeros(COUNT), np.rad2deg(angle)), strict=True))
    factor = only(confounds(codes_of(z[::-1], z), table(**columns)))
    assert factor["nonlinear"]["from_transformation"] > factor["from_transformation"] + 0.1
    assert factor["nonlinear"]["from_content"] < 0.05


def test_defocus_shift_and_tomogram():
    rng = np.random.default_rng(0)
    defocus, shift = rng.uniform(2e4, 6e4, COUNT), rng.normal(0, 20, (COUNT, 3))
    tomogram = rng.choice(3, size=COUNT, p=[0.6, 0.25, 0.15])
    noise = rng.normal(size=(COUNT, 3))
    content = np.column_stack([(defocus - 4e4) / 1e4, noise[:, 0]])
    transformation = np.column_stack([np.eye(3)[tomogram] + 0.05 * noise, shift[:, 0]])
    found = confounds(
        codes_of(content, transformation),
        table(
            rlnDefocusU=defocus,
            rlnOriginXAngst=shift[:, 0],
            rlnOriginYAngst=shift[:, 1],
            rlnOriginZAngst=shift[:, 2],
            rlnTomoName=np.array(["01", "02", "TS_3"])[tomogram],
            rlnMicrographName=np.arange(COUNT).astype(str),
        ),
    )
    by_name = {factor["name"]: factor for factor in found["factors"]}
    assert list(by_name) == ["shift", "defocus", "tomogram"]
    assert by_name["defocus"]["from_content"] > 0.99 and by_name["defocus"]["from_transformation"] < 0.05
    # One of three components of equal variance.
    assert by_name["shift"]["from_transformation"] == pytest.approx(1 / 3, abs=0.03)
    assert by_name["tomogram"]["columns"] == ["rlnTomoName"]
    assert by_name["tomogram"]["measure"] == "accuracy" and by_name["tomogram"]["nonlinear"] is None
    assert by_name["tomogram"]["from_transformation"] > 0.99
    most = np.bincount(tomogram).max() / COUNT
    assert by_name["tomogram"]["chance"] == pytest.approx(most)
    assert by_name["tomogram"]["from_content"] < most + 0.03


def test_the_order_of_the_particles_changes_nothing():
    turns, rng = rotations(), np.random.default_rng(1)
    codes, labels = codes_of(rng.normal(size=(COUNT, 4)), turns.as_quat()), table(**poses(turns))
    shuffled = labels.ids[rng.permutation(COUNT)]
    again = confounds(codes.select(shuffled), labels.select(shuffled))
    assert again == confounds(codes, labels)


def test_particles_without_a_value_are_left_out():
    defocus = np.where(np.arange(COUNT) < 100, np.nan, np.random.default_rng(0).normal(size=COUNT))
    codes = codes_of(defocus[:, None], np.ones((COUNT, 2)))
    codes = Codes(codes.ids, np.nan_to_num(codes.content), codes.transformation)
    factor = only(confounds(codes, table(rlnDefocusU=defocus)))
    assert factor["particles"] == 500
    assert factor["from_content"] > 0.99 and factor["from_transformation"] == 0


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"rlnDefocusU": np.full(COUNT, 5e4)}, "every particle has the same value"),
        ({"rlnDefocusU": np.where(np.arange(COUNT) < 9, 1.0, np.nan)}, "known of 9 particles only"),
        ({"rlnDefocusU": np.array(["high"] * COUNT)}, "no number"),
        ({"rlnTomoName": np.arange(COUNT).astype(str)}, "600 tomograms of 600 particles"),
    ],
)
def test_what_cannot_be_predicted_is_said(columns, reason):
    rng = np.random.default_rng(0)
    factor = only(confounds(codes_of(*rng.normal(size=(2, COUNT, 2))), table(**columns)))
    assert reason in factor["reason"] and factor["from_content"] is None


def test_nothing_is_known():
    found = confounds(codes_of(*np.zeros((2, COUNT, 2))), table(rlnAngleRot=np.zeros(COUNT)))
    assert found["factors"] == [] and "rlnAngleRot rlnAngleTilt rlnAnglePsi (pose)" in found["reason"]


def test_at_most_2000_particles_are_taken():
    ids = np.array([f"p{i:05d}" for i in range(3000)])
    values = np.random.default_rng(0).normal(size=3000)
    codes = Codes(ids, values[:, None].astype(np.float32), values[:, None].astype(np.float32))
    factor = only(confounds(codes, LabelTable(ids, (Factor("rlnDefocusU", "metadata", values),))))
    assert factor["particles"] == 2000


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Blobs whose angle is written down as psi, and which come from two tomograms at random."""
    source = blob_source(300)
    angle = 90 * source.labels.factors[1].values
    rng = np.random.default_rng(0)
    metadata = (
        Factor("rlnAngleRot", "metadata", np.zeros(300)),
        Factor("rlnAngleTilt", "metadata", np.zeros(300)),
        Factor("rlnAnglePsi", "metadata", angle),
        Factor("rlnTomoName", "metadata", np.array(["a", "b"])[rng.integers(2, size=300)]),
    )
    source.labels = LabelTable(source.ids, (*source.labels.factors, *metadata))
    run = make_run(tmp_path_factory.mktemp("confounds") / "run", source=source)
    evaluate_run(run)
    return run


def test_an_evaluation_says_what_the_codes_know_of_the_imaging(run):
    found = run.evaluation
    assert [factor["name"] for factor in found["confounds"]["factors"]] == ["pose", "tomogram"]
    by_key = {reading.key: reading for reading in readings(found)}
    pose = by_key["confounds.pose.from_transformation"]
    assert pose.value is not None and pose.value > 0.95 and pose.level == "poor"
    assert "z predicts the pose with R² " in pose.meaning
    assert "much of what it holds is how the particle lay" in pose.meaning
    assert by_key["confounds.pose.from_content"].level == "good"
    assert "guessing gives" in by_key["confounds.tomogram.from_content"].meaning
    assert any("z predicts the pose" in sentence for sentence in found["verdict"])


def test_the_report_has_a_part_for_it(run):
    page = render(run, run.evaluation, [])
    assert "Against what is known of the imaging" in page and "Pose read from z" in page
    earlier = {
        key: run.evaluation[key] for key in run.evaluation if key not in ("confounds", "within_content")
    }
    assert "known of the imaging" not in render(run, earlier, [])
