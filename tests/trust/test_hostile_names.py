"""Names from data in messages, STAR files and lists; HTML and ChimeraX scripts have tests of their own."""

import numpy as np
import pytest
import starfile

from dualcontrast.data.skipped import read_skipped, write_skipped
from dualcontrast.data.star import StarSource
from dualcontrast.errors import DataError, SettingError, UserError
from dualcontrast.export.star import StarText, write_star_subset
from dualcontrast.simulate.subtomograms import _file_name
from star_project import write_mrc

HOSTILE = [
    "a;close.mrc",
    "<script>alert(1)</script>.mrc",
    "$(touch${IFS}ran).mrc",
    "=cmd|calc!A0.mrc",
    "%n%s.mrc",
    "back\\slash.mrc",
    "{{7*7}}.mrc",
    "é\u202egnp.mrc",
    "--output=x.mrc",
]


@pytest.mark.parametrize("error", [UserError, DataError, SettingError])
def test_a_message_is_one_line_that_only_shows(error):
    said = str(error("a\nb: \x1b]0;owned\x07 \u202egnp.exe \x85 \u2028 é; mend it"))
    assert said == "a b: \\x1b]0;owned\\x07 \\u202egnp.exe é; mend it"


def test_a_message_is_no_longer_than_it_can_be_read():
    said = str(DataError(f"x.star: names '{'y' * 10**6}'; mend it"))
    assert len(said) < 1000 and said.startswith("x.star: names") and said.endswith("; mend it")


def test_a_name_that_was_no_text_can_be_printed():
    # As Python has bytes of a file name that are no UTF-8.
    str(DataError("caf\udce9.npy: damaged; mend it")).encode("utf-8")


@pytest.fixture
def particles(tmp_path):
    rng = np.random.default_rng(0)
    for name in HOSTILE:
        write_mrc(tmp_path / name, rng.normal(size=(16, 16, 16)).astype(np.float32), 10.0)
    names = [name for name in HOSTILE if "\\" not in name]
    rows = "".join(f"{name} {row}.5\n" for row, name in enumerate(names))
    path = tmp_path / "particles.star"
    path.write_text(f"data_particles\n\nloop_\n_rlnImageName #1\n_rlnDefocusU #2\n{rows}", encoding="utf-8")
    return path, names


def test_star_files_of_hostile_names_are_read_and_divided_by_row(particles, tmp_path):
    path, names = particles
    source = StarSource(path)
    assert source.ids.tolist() == names
    assert source.labels.factors[0].values.tolist() == [row + 0.5 for row in range(len(names))]
    chosen = names[1::2]
    write_star_subset(StarText(path), chosen, tmp_path / "subset.star")
    # Another reader has the same rows of it.
    table = starfile.read(tmp_path / "subset.star")
    assert table["rlnImageName"].tolist() == chosen
    assert table["rlnDefocusU"].tolist() == [names.index(name) + 0.5 for name in chosen]


@pytest.mark.parametrize("name", ["it's.mrc", 'say"x".mrc'])
def test_quotes_within_a_name_are_refused_as_star_readers_differ_on_them(tmp_path, name):
    write_mrc(tmp_path / name, np.random.default_rng(0).normal(size=(16, 16, 16)).astype(np.float32), 10.0)
    (tmp_path / "p.star").write_text(f"data_\n\nloop_\n_rlnImageName #1\n_rlnDefocusU #2\n{name} 1\n")
    with pytest.raises(DataError, match=r"p\.star: row 1 has a quote within the name"):
        StarSource(tmp_path / "p.star")


def test_lists_of_what_was_skipped_keep_hostile_names(tmp_path):
    reasons = {name: f"{name} is bad" for name in [*HOSTILE, "a\nb", 'a"b,c']}
    write_skipped(tmp_path / "skipped.csv", reasons)
    assert list(read_skipped(tmp_path / "skipped.csv")) == list(reasons)


@pytest.mark.parametrize("name", ["..", ".", "../../etc", "/etc/passwd", "a\\..\\b", "a\x00b", ".hidden"])
def test_names_of_identities_make_files_within_their_folder(tmp_path, name):
    made = _file_name(name)
    assert "/" not in made and "\\" not in made and not made.startswith(".") and made.isprintable()
    assert (tmp_path / made).resolve().parent == tmp_path.resolve()
