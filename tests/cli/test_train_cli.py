"""`train` and `encode` from the command line: what they write, and how bad input ends."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from dualcontrast import Codes, Model, RunFolder
from dualcontrast.cli import main
from toy_images import bars

SMALL = ["--epochs", "2", "--batch-size", "20", "--device", "cpu", "--no-progress"]


def run_cli(*arguments: str | Path) -> None:
    main([str(argument) for argument in arguments])


def refused(capsys: pytest.CaptureFixture, *arguments: str | Path) -> str:
    """Run a command that must fail; return its one line."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        run_cli(*arguments)
    assert end.value.code == 2
    errors = capsys.readouterr().err
    assert errors.startswith("error: ") and errors.count("\n") == 1, errors
    return errors


@pytest.fixture
def folder(tmp_path) -> Path:
    """60 PNG images in two sub-folders that are their classes."""
    images, number, _ = bars(60, (16, 16))
    for i, (image, bars_in_it) in enumerate(zip(images, number, strict=True)):
        path = tmp_path / "images" / f"{bars_in_it}-bars" / f"{i:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image[0] * 255).astype(np.uint8)).save(path)
    return tmp_path / "images"


def test_the_whole_job(folder, tmp_path, capsys):
    run = tmp_path / "run"
    run_cli("train", folder, "--output", run, "--folder-labels", *SMALL, "--content-dim", "4", "--seed", "3")
    written = {path.name for path in run.iterdir()}
    assert written >= {
        "config.yaml",
        "command.txt",
        "environment.json",
        "split.json",
        "metrics.jsonl",
        "checkpoints",
        "weights.safetensors",
        "codes.npz",
        "evaluation.json",
        "figures",
        "report.html",
    }
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["recipe"]["epochs"] == 2 and config["settings"]["content_dim"] == 4 and config["seed"] == 3
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert 0 <= evaluation["d_score"]["content"]["from_content"] <= 1
    assert Codes.load(run / "codes.npz").content.shape == (60, 4)
    assert "report.html" in capsys.readouterr().out

    run_cli("encode", run, folder, "--output", tmp_path / "new.npz", "--device", "cpu", "--no-progress")
    new, old = Codes.load(tmp_path / "new.npz"), Codes.load(run / "codes.npz")
    np.testing.assert_allclose(new.select(old.ids).content, old.content, atol=1e-5)

    # The Python API does the same in three lines.
    model = Model.load(run, device="cpu", progress=False)
    source = RunFolder.open(run).open_source()
    np.testing.assert_allclose(model.encode(source).content, new.content, atol=1e-6)


def test_options_from_a_file_are_overridden_by_flags(folder, tmp_path):
    settings = {
        "epochs": 7,
        "batch_size": 20,
        "preset": "paper",
        "settings": {"content_dim": 6, "weights": {"con_z_positive": 0}},
    }
    (tmp_path / "options.yaml").write_text(yaml.safe_dump(settings))
    arguments = ["--config", tmp_path / "options.yaml", "--epochs", "1", "--device", "cpu"]
    run_cli("train", folder, "--output", tmp_path / "run", *arguments, "--no-evaluate", "--no-progress")
    config = RunFolder.open(tmp_path / "run").config
    assert config["recipe"]["epochs"] == 1 and config["recipe"]["batch_size"] == 20
    assert config["preset"] == "paper" and config["settings"]["content_dim"] == 6
    assert config["settings"]["weights"]["con_z_positive"] == 0
    assert config["settings"]["weights"]["con_z_negative"] == 1


def test_a_run_that_was_only_trained_is_encoded_when_it_is_evaluated(folder, tmp_path, capsys):
    run = tmp_path / "run"
    run_cli("train", folder, "--output", run, *SMALL, "--no-evaluate")
    assert not (run / "codes.npz").exists()
    run_cli("evaluate", run, "--device", "cpu")
    assert len(RunFolder.open(run).codes.ids) == 60
    assert (run / "evaluation.json").exists()


def test_a_finished_run_is_not_overwritten_unless_asked(folder, tmp_path, capsys):
    run = tmp_path / "run"
    train = ["train", folder, "--output", run, *SMALL, "--no-evaluate"]
    run_cli(*train)
    before = (run / "weights.safetensors").read_bytes()
    assert "holds a run already" in refused(capsys, *train, "--seed", "1")
    assert (run / "weights.safetensors").read_bytes() == before
    run_cli(*train, "--seed", "1", "--overwrite")
    assert (run / "weights.safetensors").read_bytes() != before


def test_a_folder_with_other_files_is_left_alone(folder, tmp_path, capsys):
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter1.tex").write_text("precious")
    assert "no run" in refused(capsys, "train", folder, "--output", other, *SMALL, "--overwrite")
    assert [path.name for path in other.iterdir()] == ["chapter1.tex"]


def test_resuming_with_other_settings_or_images_is_refused(folder, tmp_path, capsys):
    run = tmp_path / "run"
    run_cli("train", folder, "--output", run, *SMALL, "--no-evaluate")
    resume = ["train", folder, "--output", run, "--resume", "--no-evaluate", "--no-progress"]
    assert "seed 0, not 4" in refused(capsys, *resume, "--seed", "4")
    assert "other settings than content_dim" in refused(capsys, *resume, "--content-dim", "5")
    assert "was prepared with box 16" in refused(capsys, *resume, "--box", "18")
    assert "was prepared with normalisation" in refused(capsys, *resume, "--normalisation", "standardize")
    assert "has limit None, not 5" in refused(capsys, *resume, "--limit", "5")
    assert "has test_fraction 0.2, not 0.5" in refused(capsys, *resume, "--test-fraction", "0.5")
    labels = refused(capsys, *resume, "--labels", tmp_path / "later.csv")
    assert "has labels None" in labels and "`evaluate` takes other --labels" in labels
    run_cli(*resume)
    next(folder.glob("*/*.png")).unlink()
    assert "59 images, formerly 60" in refused(capsys, *resume)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs", "0"], "epochs"),
        (["--method", "harmoni"], "unknown method"),
        (["--set", "weights.con_c=1"], "did you mean 'weights.con_c_"),
        (["--set", "nothing"], "NAME=VALUE"),
        (["--epoch", "3"], "--epoch"),
        (["--epochs", "three"], "three"),
        (["--device", "tpu"], "choose one of auto, cpu, cuda, mps"),
        (["--box", "17", "--batch-size", "20"], "give a number of voxels from 1 to 16"),
        (["--contrast", "bright"], "choose auto, light, dark or as-is"),
        (["--lowpass", "20", "--batch-size", "20"], "does not say how large a voxel is"),
        (["--set", "box=12"], "give it as --box"),
        (["--set", "method=simclr"], "give it as --method"),
        (["--precision", "8"], "choose one of 32-true, bf16-mixed"),
        (["--limit", "0"], "limit"),
        (["--test-fraction", "1.5"], "test_fraction"),
        (["--resume", "--overwrite"], "exclude each other"),
        (["--batch-size", "49"], "fewer than one batch of 49"),
        (["--config", "missing.yaml"], "missing.yaml"),
        (["--labels", "missing.csv"], "missing.csv"),
    ],
)
def test_bad_options(folder, tmp_path, capsys, arguments, message):
    run = tmp_path / "run"
    assert message in refused(capsys, "train", folder, "--output", run, *arguments)
    assert not run.exists()


def bad_folder(kind: str, folder: Path) -> None:
    first = sorted(folder.glob("*/*.png"))[0]
    if kind == "empty":
        for path in folder.glob("*/*.png"):
            path.unlink()
    elif kind == "mixed":
        Image.new("L", (20, 20), 7).save(first)
    elif kind == "constant":
        Image.new("L", (16, 16), 7).save(first)
    elif kind == "truncated":
        first.write_bytes(first.read_bytes()[:60])
    elif kind == "text":
        first.write_text("no image")


@pytest.mark.parametrize("kind", ["empty", "mixed", "constant", "truncated", "text"])
def test_bad_images(folder, tmp_path, capsys, kind):
    bad_folder(kind, folder)
    message = refused(capsys, "train", folder, "--output", tmp_path / "run", *SMALL)
    assert "images" in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((16, 16), ("--set", "encoder=harmonic"), "'harmonic' are for volumes"),
        ((16, 16), ("--set", "decoder=harmonic"), "'harmonic' are for volumes"),
        ((16, 16, 16), ("--method", "vitae", "--contrast", "light"), "vitae takes 2-D images only"),
    ],
)
def test_networks_that_the_images_cannot_have(tmp_path, capsys, shape, options, message):
    np.save(tmp_path / "images.npy", bars(60, shape)[0])
    run = tmp_path / "run"
    assert message in refused(capsys, "train", tmp_path / "images.npy", "--output", run, *SMALL, *options)
    assert not run.exists()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pixels_that_are_not_finite(tmp_path, capsys, value):
    images = bars(60, (16, 16))[0]
    images[7, 0, 3, 3] = value
    np.save(tmp_path / "bad.npy", images)
    message = refused(capsys, "train", tmp_path / "bad.npy", "--output", tmp_path / "run", *SMALL)
    assert "bad.npy" in message and "7" in message
    assert not (tmp_path / "run").exists()


def test_labels_of_another_length(tmp_path, capsys):
    np.save(tmp_path / "images.npy", bars(60, (16, 16))[0])
    (tmp_path / "labels.csv").write_text("id,label\n" + "".join(f"{i},a\n" for i in range(59)))
    message = refused(
        capsys,
        *("train", tmp_path / "images.npy", "--output", tmp_path / "run", *SMALL),
        *("--labels", tmp_path / "labels.csv"),
    )
    assert "labels.csv" in message
    assert not (tmp_path / "run").exists()


def test_encoding_other_images_than_the_run_s(folder, tmp_path, capsys):
    run = tmp_path / "run"
    run_cli("train", folder, "--output", run, *SMALL, "--no-evaluate")
    np.save(tmp_path / "large.npy", bars(5, (20, 20))[0])
    output = tmp_path / "codes.npz"
    message = refused(capsys, "encode", run, tmp_path / "large.npy", "--output", output)
    assert "(1, 20, 20)" in message and not output.exists()
    assert "no such" in refused(capsys, "encode", run, tmp_path / "missing", "--output", output)
    assert "not a run folder" in refused(capsys, "encode", tmp_path / "missing", folder, "--output", output)


def test_help_is_fast_and_loads_no_torch():
    program = (
        "import sys; from dualcontrast.cli import main\n"
        "try: main(['train', '--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "--transformation-dim" in result.stdout and "Examples" in result.stdout
