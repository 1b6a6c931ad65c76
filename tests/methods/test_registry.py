"""Methods are found by the files that define them, and each has a name of its own."""

import sys

import pytest

from dualcontrast import methods
from dualcontrast.errors import SettingError
from dualcontrast.methods.registry import all_methods, method_class
from dualcontrast.methods.two_latent_vae import TwoLatentVAE

FILE = """
from dualcontrast.methods.two_latent_vae import TwoLatentVAE

class Zenith(TwoLatentVAE):
    {line}
"""


@pytest.fixture
def with_a_file(tmp_path, monkeypatch):
    """Add a file of a method to the folder of methods, for one test."""

    def add(line: str) -> None:
        (tmp_path / "zenith.py").write_text(FILE.format(line=line))
        monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])

    yield add
    sys.modules.pop("dualcontrast.methods.zenith", None)


def test_a_method_is_one_file(with_a_file):
    before = set(all_methods())
    with_a_file("name = 'zenith'")
    assert set(all_methods()) - before == {"zenith"}
    assert method_class("zenith").__name__ == "Zenith"


def test_a_name_that_is_taken_is_refused_with_both_files(with_a_file):
    with_a_file("name = 'two_latent_vae'")
    with pytest.raises(SettingError, match=r"zenith\.py: 'two_latent_vae' is the name .*two_latent_vae\.py"):
        all_methods()


def test_a_class_that_does_not_name_itself_does_not_stand_for_its_parent(with_a_file):
    with_a_file("pass")
    assert method_class("two_latent_vae") is TwoLatentVAE
