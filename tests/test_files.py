"""Files are written whole or not at all."""

import subprocess
import sys

import pytest

from dualcontrast.errors import UserError
from dualcontrast.files import atomic_path, write_text

LIMIT = """
import resource, signal, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = Path(sys.argv[1])
"""
WRITERS = {
    "text": "from dualcontrast.files import write_text; write_text(path, 'x' * 100_000)",
    "checkpoint": (
        "import torch; from dualcontrast.training.checkpoint import save_checkpoint; "
        "save_checkpoint(path, {}, 1, {'w': torch.zeros(100_000)})"
    ),
    "weights": (
        "import numpy as np; from dualcontrast import Model; "
        "images = np.random.default_rng(0).random((20, 16, 16)); "
        "Model('simclr', epochs=1, batch_size=10, device='cpu', progress=False).fit(images).save(path)"
    ),
    "codes": (
        "import numpy as np; from dualcontrast import Codes; ids = np.array(['a'] * 1000); "
        "Codes(ids, np.zeros((1000, 9)), np.zeros((1000, 9))).save(path)"
    ),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_disk_that_fills_up_leaves_the_old_file(tmp_path, writer):
    """A file system that refuses to grow a file: what was there stays, and nothing else is left."""
    path = tmp_path / "result"
    path.write_text("old")
    program = f"{LIMIT}\n{WRITERS[writer]}"
    result = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False
    )
    assert result.returncode != 0
    assert "UserError" in result.stderr and "could not be written" in result.stderr
    # What the system said, not what the writer made of it, which some versions of zipfile add at the end.
    said = [line for line in result.stderr.splitlines() if "UserError: " in line]
    assert "File too large" in said[-1]
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["result"]


def test_an_error_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "result"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["result"]


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="could not be written"):
        write_text(tmp_path / "file" / "result", "text")


def test_new_files_have_ordinary_permissions(tmp_path):
    write_text(tmp_path / "result", "text")
    (tmp_path / "plain").write_text("text")
    assert (tmp_path / "result").stat().st_mode == (tmp_path / "plain").stat().st_mode
