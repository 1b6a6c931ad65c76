"""What Table 1 compares: its rows, its data sets, and the values that the paper printed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dualcontrast import settings
from dualcontrast.errors import SettingError
from dualcontrast.methods.registry import all_methods
from dualcontrast.settings import unknown_name


@dataclass(frozen=True)
class Row:
    """One row of the table: a method with one of its presets.

    Attributes
    ----------
    name : str
        As given to `--methods`: `METHOD` for its preset `default`, else `METHOD:PRESET`.
    title : str
        As printed.
    """

    name: str
    title: str

    @property
    def method(self) -> str:
        """Name of the method."""
        return self.name.partition(":")[0]

    @property
    def preset(self) -> str:
        """Name of the preset."""
        return self.name.partition(":")[2] or "default"


# In the order of the paper's table; its nine rows are followed by what this package makes of DualContrast.
ROWS = (
    Row("spatial_vae", "SpatialVAE"),
    Row("harmony", "Harmony"),
    Row("simclr", "SimCLR (Disc) with rotation"),
    Row("simclr_generative", "SimCLR (Gen) with rotation"),
    Row("two_latent_vae", "VAE with two latent spaces"),
    Row("vitae", "C-VITAE"),
    Row("dualcontrast:without_con_c", "DualContrast (w/o con(c))"),
    Row("dualcontrast:without_con_z", "DualContrast (w/o con(z))"),
    Row("dualcontrast:reference", "DualContrast"),
    Row("dualcontrast", "DualContrast, our default"),
)


@dataclass(frozen=True)
class Published:
    """A cell of the paper's Table 1: D_score of the content from c and from the transformation code.

    Attributes
    ----------
    from_content, from_transformation : tuple of float
        Mean and standard deviation over three seeds.
    """

    from_content: tuple[float, float]
    from_transformation: tuple[float, float]


PUBLISHED = {
    "mnist": {
        "spatial_vae": Published((0.81, 0.01), (0.28, 0.02)),
        "harmony": Published((0.82, 0.01), (0.31, 0.02)),
        "simclr": Published((0.58, 0.01), (0.60, 0.01)),
        "simclr_generative": Published((0.53, 0.01), (0.67, 0.02)),
        "two_latent_vae": Published((0.63, 0.00), (0.63, 0.00)),
        "vitae": Published((0.77, 0.00), (0.32, 0.00)),
        "dualcontrast:without_con_c": Published((0.87, 0.02), (0.21, 0.02)),
        "dualcontrast:without_con_z": Published((0.79, 0.04), (0.85, 0.02)),
        "dualcontrast:reference": Published((0.89, 0.01), (0.31, 0.02)),
    },
    "linemod": {
        "spatial_vae": Published((0.95, 0.02), (0.32, 0.01)),
        "harmony": Published((0.90, 0.01), (0.56, 0.02)),
        "simclr": Published((0.62, 0.01), (0.40, 0.01)),
        "simclr_generative": Published((0.61, 0.02), (0.79, 0.01)),
        "two_latent_vae": Published((0.87, 0.00), (0.87, 0.00)),
        "vitae": Published((0.92, 0.00), (0.90, 0.00)),
        "dualcontrast:without_con_c": Published((0.86, 0.01), (0.31, 0.02)),
        "dualcontrast:without_con_z": Published((0.79, 0.03), (0.86, 0.03)),
        "dualcontrast:reference": Published((0.95, 0.01), (0.48, 0.02)),
    },
}

# Lengths of c, and of z where it is free, in the authors' code.
CODE_SIZES = {"mnist": 10, "rotated-mnist": 10, "linemod": 16, "subtomograms": 50}
OTHER_CODE_SIZE = 10


@dataclass(frozen=True)
class DataSet:
    """Images that all methods are compared on.

    Attributes
    ----------
    name : str
        As printed; published values belong to a name.
    location : str
        What `open_source` takes.
    """

    name: str
    location: str

    @property
    def code_size(self) -> int:
        """Length of both codes, where a method leaves it open."""
        return CODE_SIZES.get(self.name, OTHER_CODE_SIZE)


def choose_rows(names: Sequence[str] | None) -> list[Row]:
    """Find rows by name: those of the table (`all`), and any other method of the registry.

    Raises
    ------
    SettingError
        For an unknown method or preset.
    """
    if not names:
        return list(ROWS)
    known = {row.name: row for row in ROWS}
    methods = all_methods()
    rows = []
    wanted = [each for name in names for each in (known if name == "all" else (name,))]
    for name in dict.fromkeys(wanted):
        row = known.get(name) or Row(name, name)
        if row.method not in methods:
            raise unknown_name(name, list(dict.fromkeys([*known, *methods])), "method")
        if row.preset not in methods[row.method].presets:
            raise unknown_name(row.preset, list(methods[row.method].presets), f"preset of {row.method}")
        rows.append(row)
    return rows


def choose_datasets(names: Sequence[str]) -> list[DataSet]:
    """Read data sets: `NAME` of a published set, or `NAME=PATH` for any images under that name.

    Raises
    ------
    SettingError
        For a name that is there twice or cannot be a folder.
    """
    found = []
    for text in names:
        name, equals, location = text.partition("=")
        if not name or not all(letter.isalnum() or letter in "-_." for letter in name) or name[0] == ".":
            raise SettingError(
                f"--datasets {text}: write NAME, or NAME=PATH for images of your own; a name has letters, "
                "digits, '-', '_' and '.'"
            )
        found.append(DataSet(name, location if equals else name))
    if len({dataset.name for dataset in found}) < len(found):
        raise SettingError("--datasets: a name is there twice; give each data set a name of its own")
    return found


def settings_of(row: Row, dataset: DataSet, short: bool, epochs: int | None) -> tuple[str, dict[str, Any]]:
    """Return the preset of a cell and the settings that differ from it.

    Every method has the same code lengths on one data set, except where the meaning of a code fixes its
    length. Trainings much shorter than the published ones are no fair comparison at the published learning
    rates, which are made for hundreds of epochs. With `short`, a method takes its preset `short` where it has
    one; else the published losses with one cycle of ten times the published learning rate. What is one cycle
    already stays as it is, and so does the number of epochs.
    """
    method = all_methods()[row.method]
    preset = row.preset
    changes: dict[str, Any] = {"content_dim": dataset.code_size}
    if "transformation_dim" in settings.names_of(method.Config):
        changes["transformation_dim"] = dataset.code_size
    recipe = method.presets[preset].recipe
    if short or epochs is not None:
        changes["epochs"] = recipe.epochs if epochs is None else epochs
    if short and preset == "default" and "short" in method.presets:
        preset = "short"
    elif short and recipe.schedule != "one_cycle":
        changes |= {"schedule": "one_cycle", "learning_rate": 10 * recipe.learning_rate}
    return preset, changes
