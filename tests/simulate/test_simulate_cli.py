"""`dualcontrast simulate starmen`."""

import subprocess
import sys

import numpy as np
import pytest

from dualcontrast.cli.simulate import app
from dualcontrast.errors import UserError
from dualcontrast.simulate.starmen import generate_starmen


def run(*arguments: object) -> None:
    app([str(argument) for argument in arguments], exit_on_error=False, result_action="return_value")


def test_writes_the_file_that_the_library_would_write(tmp_path, capsys):
    path = tmp_path / "men.npz"
    run("starmen", "--output", path, "--count", 20, "--size", 32, "--seed", 7)
    np.testing.assert_array_equal(np.load(path)["images"], generate_starmen(20, 7, 32).images[:, 0])
    assert str(path) in capsys.readouterr().out.replace("\n", "")


def test_overwrites_only_when_asked(tmp_path):
    path = tmp_path / "men.npz"
    run("starmen", "--output", path, "--count", 3)
    before = path.read_bytes()
    with pytest.raises(UserError, match="--overwrite"):
        run("starmen", "--output", path, "--count", 4)
    assert path.read_bytes() == before
    run("starmen", "--output", path, "--count", 4, "--overwrite")
    assert len(np.load(path)["images"]) == 4


@pytest.mark.parametrize("wrong", [("--count", 0), ("--size", 8), ("--seed", -1)])
def test_bad_values_leave_nothing_behind(tmp_path, wrong):
    with pytest.raises(UserError, match=f"{wrong[0].strip('-')}.*{wrong[1]}.*at least"):
        run("starmen", "--output", tmp_path / "men.npz", *wrong)
    assert not list(tmp_path.iterdir())


def test_help_shows_examples(capsys):
    run("starmen", "--help")
    assert "dualcontrast simulate starmen --output starmen.npz" in capsys.readouterr().out


def test_loading_the_command_imports_nothing_heavy():
    code = (
        "import sys, dualcontrast.cli.simulate\n"
        "print(sorted({'torch', 'numpy', 'sklearn', 'matplotlib', 'rich.progress'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
