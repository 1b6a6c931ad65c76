"""The Python API: arrays, tensors and sources alike, and errors that say what to do."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from dualcontrast import Codes, DualContrast, Model
from dualcontrast.errors import DataError, RunError, SettingError
from toy_images import bar_source, bars

SMALL = {"epochs": 1, "batch_size": 20, "device": "cpu", "progress": False}


@pytest.fixture(scope="module")
def trained() -> DualContrast:
    return DualContrast(content_dim=3, transformation_dim=2, **SMALL).fit(bar_source(60))


def test_arrays_tensors_and_sources_are_the_same(trained):
    images = bars(60, (16, 16))[0]
    expected = trained.encode(bar_source(60))
    for same in (images, images[:, 0], torch.from_numpy(images)):
        codes = trained.encode(same)
        assert np.array_equal(codes.content, expected.content)
        assert np.array_equal(codes.transformation, expected.transformation)


def test_codes_do_not_depend_on_the_other_images(trained):
    images = bars(60, (16, 16))[0]
    whole, part = trained.encode(images), trained.encode(images[7:12])
    np.testing.assert_allclose(part.content, whole.content[7:12], atol=1e-5)


def test_scikit_learn_names(trained):
    images = bars(60, (16, 16))[0]
    both = trained.transform(images)
    codes = trained.encode(images)
    assert np.array_equal(both, np.concatenate((codes.content, codes.transformation), axis=1))
    again = DualContrast(content_dim=3, transformation_dim=2, **SMALL).fit_transform(images)
    assert np.array_equal(again, both)


def test_transfer_takes_content_from_one_and_transformation_from_the_other(trained):
    images = bars(60, (16, 16))[0]
    a, b = images[:4], images[4:8]
    content, transformation = trained.encode(a).content, trained.encode(b).transformation
    expected = trained.decode(Codes(np.array(list("0123")), content, transformation))
    assert np.array_equal(trained.transfer(a, b), expected)
    assert trained.transfer(a[:1], b).shape == (4, 1, 16, 16)
    with pytest.raises(SettingError, match="as many images"):
        trained.transfer(a[:3], b)


def test_other_shape_is_refused(trained):
    with pytest.raises(DataError, match=r"shape \(1, 18, 18\).*takes \(1, 16, 16\)"):
        trained.encode(bars(4, (18, 18))[0])


def test_not_trained_yet():
    model = DualContrast(**SMALL)
    for use in (model.encode, model.transform):
        with pytest.raises(RunError, match="not trained"):
            use(np.zeros((3, 16, 16), np.float32))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "dualcontrst"}, "unknown method 'dualcontrst'; did you mean 'dualcontrast'?"),
        ({"preset": "papper"}, "did you mean 'paper'?"),
        ({"epoch": 3}, "unknown setting 'epoch'; did you mean 'epochs'?"),
        ({"weights": {"con_c_positve": 1}}, "did you mean 'weights.con_c_positive'?"),
        ({"content_dim": 0}, "content_dim"),
        ({"epochs": 0}, "epochs"),
        ({"batch_size": 1}, "batch_size"),
        ({"learning_rate": -1.0}, "learning_rate"),
    ],
)
def test_bad_settings(arguments, message):
    with pytest.raises(SettingError, match=message.replace("?", r"\?")):
        Model(**arguments)


@pytest.mark.parametrize("content", [b"", b"no model", b"\x00" * 100])
def test_file_that_is_no_model(tmp_path, content):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(RunError, match="not a model that this version reads"):
        Model.load(path)


def test_bf16_mixed_precision_trains(source):
    model = DualContrast(precision="bf16-mixed", **SMALL | {"epochs": 5}).fit(source)
    assert model.history[-1]["loss"] < model.history[0]["loss"]
    assert all(p.dtype == torch.float32 for p in model.network.parameters())


@pytest.mark.parametrize(
    "found, slow",
    [
        ({"architecture": "x86_64", "avx512_bf16": False, "amx_bf16": False}, True),
        ({"architecture": "x86_64", "avx512_bf16": True, "amx_bf16": False}, False),
        ({"architecture": "x86_64", "avx512_bf16": False, "amx_bf16": True}, False),
        ({"architecture": "aarch64"}, False),
    ],
)
def test_a_cpu_without_bf16_is_warned_of(source, monkeypatch, caplog, found, slow):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    DualContrast(precision="bf16-mixed", **SMALL | {"epochs": 1}).fit(source)
    assert ("no instructions for bf16" in caplog.text) == slow
    caplog.clear()
    DualContrast(**SMALL | {"epochs": 1}).fit(source)
    assert "bf16" not in caplog.text


def test_bf16_mixed_precision_is_another_precision(source):
    plain, mixed = (DualContrast(precision=kind, **SMALL).fit(source) for kind in ("32-true", "bf16-mixed"))
    one, other = (model.history[0]["terms"]["reconstruction"] for model in (plain, mixed))
    # 8 bits of mantissa: not the same, and the same to some of them.
    assert one != other
    assert other == pytest.approx(one, rel=0.05)


def test_importing_is_light():
    code = "import sys, dualcontrast; sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'sklearn')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_does_not_train_does_without_the_compiler_of_torch():
    modules = "dualcontrast.verify, dualcontrast.class_finding, dualcontrast.figures.report"
    code = f"import sys, {modules}; sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_codes_survive_the_file(tmp_path, trained):
    codes = trained.encode(bar_source(60))
    codes.save(tmp_path / "codes.npz")
    loaded = Codes.load(tmp_path / "codes.npz")
    assert loaded.ids.tolist() == codes.ids.tolist()
    for name in ("content", "transformation", "content_log_variance", "transformation_log_variance"):
        assert np.array_equal(getattr(loaded, name), getattr(codes, name))
    chosen = loaded.select(np.array(["bar-0007", "bar-0002"]))
    assert np.array_equal(chosen.content, codes.content[[7, 2]])
    with pytest.raises(DataError, match="no codes"):
        loaded.select(np.array(["bar-9999"]))


def test_codes_file_runs_no_code(tmp_path):
    class Malicious:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    np.savez(tmp_path / "codes.npz", ids=np.array([Malicious()], dtype=object), content=np.zeros((1, 2)))
    with pytest.raises(DataError, match="not a file of codes"):
        Codes.load(tmp_path / "codes.npz")
    assert not (tmp_path / "owned").exists()


def test_a_model_of_cropped_images_takes_what_it_was_trained_on(tmp_path, monkeypatch):
    # Read a few images at a time, as of volumes that are large before they are cropped.
    monkeypatch.setattr("dualcontrast.training.batches.READ_BYTES", 7 * 4 * 20 * 20)
    source = bar_source(40, (20, 20))
    model = DualContrast(box=16, mask_diameter=0.9, **SMALL).fit(source)
    codes = model.encode(source)
    assert model.decode(codes).shape == (40, 1, 16, 16)
    model.save(tmp_path / "model.safetensors")
    again = Model.load(tmp_path / "model.safetensors", device="cpu", progress=False)
    assert again.preparation == model.preparation
    assert np.array_equal(again.encode(source).content, codes.content)
    with pytest.raises(DataError, match=r"shape \(1, 16, 16\).*takes \(1, 20, 20\)"):
        again.encode(bar_source(4, (16, 16)))
    with pytest.raises(SettingError, match="box is 0"):
        DualContrast(box=0)
