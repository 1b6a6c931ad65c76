"""verify: a run that is what it says, and runs of which one thing was changed afterwards."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from dualcontrast import Codes, pipeline
from dualcontrast.cli import main
from dualcontrast.verify import Verification, verify_run
from toy_images import bars

COUNT = 200


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with images and a run that is evaluated but has no report."""
    folder = tmp_path_factory.mktemp("verify")
    images, number, _ = bars(COUNT, (16, 16))
    np.savez(folder / "bars.npz", images=images, labels=number)
    changes = {"epochs": 2, "batch_size": 20, "content_dim": 3, "transformation_dim": 2}
    run = pipeline.train(
        folder / "bars.npz", folder / "run", changes=changes, device="cpu", evaluate=False, progress=False
    )
    (run.path / "report.html").write_text("")
    pipeline.finish(run, device="cpu", progress=False)
    return folder


@pytest.fixture
def run(trained, tmp_path) -> Path:
    """A copy of the run that may be changed; its images stay where they are."""
    return Path(shutil.copytree(trained / "run", tmp_path / "run"))


def verify(run: Path, **options) -> Verification:
    return verify_run(run, device="cpu", **options)


def judged(found: Verification) -> dict[str, bool | None]:
    return {check.name: check.matches for check in found.checks}


def words(found: Verification, name: str) -> str:
    return next(check.words for check in found.checks if check.name == name)


def test_a_run_that_is_what_it_says(run, capsys):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    found = verify(run)
    assert found.matches
    names = ("images", "weights", "codes", "evaluation", "versions")
    assert judged(found) == dict.fromkeys(names, True)
    # The second of two batches, of 128 and 72.
    assert words(verify(run, sample=10, scores=False), "codes").startswith("72 of 200 images encoded again")
    assert "200 of 200 images" in words(verify(run, sample=None, scores=False), "codes")
    was, now = found.scores["d_score.content.from_content"]
    recorded = json.loads((run / "evaluation.json").read_text())["d_score"]["content"]["from_content"]
    assert was == now == recorded
    main(["verify", str(run), "--device", "cpu", "--no-scores"])
    assert "nothing contradicts what is recorded" in capsys.readouterr().out
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


@pytest.mark.parametrize("change", ["pixels", "gone"])
def test_images_that_changed(trained, run, tmp_path, change):
    with np.load(trained / "bars.npz") as arrays:
        images, labels = arrays["images"].copy(), arrays["labels"]
    moved = tmp_path / "moved.npz"
    np.savez(moved, images=images, labels=labels)
    assert verify(run, data=moved).matches
    # 64 of 200 images are sampled, so all are changed.
    images[:, 0, 8, 8] += 0.01
    np.savez(moved, images=images, labels=labels)
    if change == "gone":
        moved.unlink()
    found = verify(run, data=moved)
    assert not found.matches
    assert judged(found) == {"images": False, "weights": True, "codes": None, "evaluation": None} | {
        "versions": True
    }
    assert {"pixels": "the pixels have changed", "gone": "no such"}[change] in words(found, "images")


def test_codes_that_were_tampered_with(run, capsys):
    codes = Codes.load(run / "codes.npz")
    codes.content[7, 1] += 0.01 * codes.content.std()
    codes.save(run / "codes.npz")
    with pytest.raises(SystemExit) as end:
        main(["verify", str(run), "--device", "cpu", "--no-scores", "--all"])
    assert end.value.code == 1
    assert "not as recorded: codes" in capsys.readouterr().out
    found = verify(run, sample=None, scores=False)
    assert judged(found)["codes"] is False
    assert f"content of '{codes.ids[7]}'" in words(found, "codes")
    assert "by at most 0.01 of their spread" in words(found, "codes")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda codes: codes.select(codes.ids[::-1]), "are not the 200 of the split"),
        (lambda codes: replace(codes, content=codes.content * np.nan), "NaN or infinite values"),
        (lambda codes: replace(codes, content=codes.content[:, :1]), "of shape (200, 3)"),
    ],
)
def test_codes_of_other_kinds(run, damage, message):
    damage(Codes.load(run / "codes.npz")).save(run / "codes.npz")
    found = verify(run, scores=False)
    assert judged(found)["codes"] is False and message in words(found, "codes")


def test_an_evaluation_that_was_edited(run):
    path = run / "evaluation.json"
    evaluation = json.loads(path.read_text())
    true = evaluation["d_score"]["content"]["from_content"]
    evaluation["d_score"]["content"]["from_content"] = true - 0.01
    path.write_text(json.dumps(evaluation))
    found = verify(run)
    assert judged(found)["evaluation"] is False
    expected = f"d_score.content.from_content is {true:.6g}, recorded {true - 0.01:.6g}"
    assert words(found, "evaluation") == expected
    path.write_text("{")
    assert "cannot be read" in words(verify(run), "evaluation")


def test_weights_that_were_exchanged(run):
    path = run / "weights.safetensors"
    weights = load_file(path)
    with path.open("rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        metadata = json.loads(handle.read(length))["__metadata__"]
    save_file({name: values * 1.01 for name, values in weights.items()}, path, metadata)
    found = verify(run, scores=False)
    assert judged(found)["weights"] is False and judged(found)["codes"] is False
    # As a run of an earlier version, which recorded no sum.
    (run / "weights.sha256").unlink()
    assert judged(verify(run, scores=False))["weights"] is None


def test_versions_that_changed_are_said_and_prove_nothing(run):
    path = run / "environment.json"
    environment = json.loads(path.read_text())
    environment["packages"]["torch"] = "1.0"
    path.write_text(json.dumps(environment))
    found = verify(run, scores=False)
    assert found.matches and "torch 1.0, now" in words(found, "versions")


def test_a_folder_that_is_no_run(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main(["verify", str(tmp_path)])
    assert end.value.code == 2
    assert "not a run folder" in capsys.readouterr().err
