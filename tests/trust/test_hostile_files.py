"""Files that would run a command where they are trusted: they do elsewhere, and do not here.

What each reader says of them stands in `test_bad_input.py`; here it is made sure that the files are as bad
as they are meant to be, or the other test would show nothing.
"""

import subprocess
import sys

import numpy as np
import pytest
import tifffile
import yaml

from dualcontrast.cli.train import read_options
from dualcontrast.data.image_files import read_header, read_pixels
from dualcontrast.data.open import open_source
from dualcontrast.errors import SettingError, UserError
from dualcontrast.run_folder import RunFolder
from dualcontrast.training.checkpoint import load_checkpoint
from malformed.arrays import hostile_objects, zipped
from malformed.models import IDENTITY, checkpoint_cases

TRUSTING = {
    "hostile.npy": "import numpy; numpy.load('hostile.npy', allow_pickle=True)",
    "hostile.npz": "import numpy; numpy.load('hostile.npz', allow_pickle=True)['images']",
    "hostile.pt": "import torch; torch.load('hostile.pt', weights_only=False)",
    "config.yaml": "import yaml; yaml.unsafe_load(open('config.yaml'))",
}


@pytest.fixture
def hostile(tmp_path, monkeypatch):
    """A folder with one hostile file of each kind; whatever ran would leave `hostile_*_ran` there."""
    (tmp_path / "cases").mkdir()
    program = next(
        case
        for case in checkpoint_cases(tmp_path / "cases", np.random.default_rng(0))
        if case.name == "os.system"
    )
    program.path.rename(tmp_path / "hostile.pt")
    (tmp_path / "hostile.npy").write_bytes(hostile_objects())
    (tmp_path / "hostile.npz").write_bytes(zipped({"images.npy": hostile_objects()}))
    (tmp_path / "config.yaml").write_text(
        "epochs: !!python/object/apply:os.system ['touch hostile_yaml_ran']\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def marks(folder):
    return list(folder.glob("hostile_*_ran"))


@pytest.mark.parametrize("name", TRUSTING)
def test_who_trusts_them_runs_them(hostile, name):
    subprocess.run([sys.executable, "-c", TRUSTING[name]], capture_output=True, check=False, cwd=hostile)
    assert marks(hostile)


@pytest.mark.parametrize(
    "read",
    [
        lambda folder: open_source(folder / "hostile.npy"),
        lambda folder: open_source(folder / "hostile.npz"),
        lambda folder: load_checkpoint(folder / "hostile.pt", IDENTITY),
        lambda folder: read_options(folder / "config.yaml", ["epochs"]),
        lambda folder: RunFolder.open(folder).config,
    ],
)
def test_nothing_in_them_is_run(hostile, read):
    with pytest.raises(UserError):
        read(hostile)
    assert not marks(hostile)


def test_the_value_of_a_setting_is_no_program(hostile):
    from dualcontrast.cli.train import parse_setting

    with pytest.raises(SettingError, match="cannot be read"):
        parse_setting("epochs=!!python/object/apply:os.system ['touch hostile_set_ran']")
    assert not marks(hostile)
    assert parse_setting("weights.kl=0.5") == ("weights.kl", 0.5)


def test_a_picture_that_names_another_file_is_read_alone(tmp_path):
    # As OME-TIFF has it: the second plane is in a file that nobody has asked for.
    other = tmp_path / "elsewhere" / "secret.tif"
    other.parent.mkdir()
    secret = np.full((8, 8), 99, np.uint8)
    tifffile.imwrite(other, secret, metadata={"axes": "YX"}, ome=True)
    description = tifffile.TiffFile(other).pages.first.description
    uuid = description.split('UUID="')[1].split('"')[0]
    folder = tmp_path / "images"
    folder.mkdir()
    named = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="8" SizeY="8" '
        'SizeZ="2" SizeC="1" SizeT="1"><TiffData IFD="0" FirstZ="0" PlaneCount="1"/>'
        f'<TiffData IFD="0" FirstZ="1" PlaneCount="1"><UUID FileName="../elsewhere/secret.tif">{uuid}</UUID>'
        "</TiffData></Pixels></Image></OME>"
    )
    own = np.arange(64, dtype=np.uint8).reshape(8, 8)
    tifffile.imwrite(folder / "a.tif", own, description=named, metadata=None)
    # The library by itself would put the other file's plane beside this one's.
    assert 99 in tifffile.imread(folder / "a.tif")
    assert read_header(folder / "a.tif").shape == (1, 8, 8)
    np.testing.assert_array_equal(read_pixels(folder / "a.tif")[0], own)


def test_settings_hold_plain_values_only(tmp_path):
    (tmp_path / "a.yaml").write_text(
        yaml.safe_dump({"epochs": 3, "labels": "x.csv", "tilt_range": [-60, 60]})
    )
    assert read_options(tmp_path / "a.yaml", ["epochs", "labels", "tilt_range"]) == {
        "epochs": 3,
        "labels": "x.csv",
        "tilt_range": (-60.0, 60.0),
    }
