"""What a simulated set of subtomograms should be: read from YAML, checked, and written back."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, Field

from dualcontrast.errors import SettingError
from dualcontrast.settings import from_plain, merge, nest, to_plain
from dualcontrast.simulate.ctf import Ctf
from dualcontrast.simulate.tilt_series import TiltScheme
from dualcontrast.yaml_files import read_yaml


def _ordered(tilts: tuple[float, float]) -> tuple[float, float]:
    if not -90 <= tilts[0] < tilts[1] <= 90:
        raise ValueError("give two angles from -90 to 90 degrees, the smaller first")
    return tilts


TiltRange = Annotated[tuple[float, float], AfterValidator(_ordered)]
Positive = Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class SubtomogramSpec:
    """Settings of a simulated set of subtomograms.

    Attributes
    ----------
    identities : dict of str to list of str
        For each particle, the files (PDB, mmCIF, MRC map) or Protein Data Bank ids of its conformations.
    conformations_per_identity : int or None
        Conformations of each identity; further ones are made by normal modes. None takes what is given.
    rmsd : list of float or None
        How far normal modes move a structure, in Å.
    copies : int
        Subtomograms of each conformation.
    box : int
        Edge of the subtomograms in voxels; even.
    voxel_size : float
        In Å.
    resolution : float
        Of the densities, in Å.
    max_shift : float
        Largest shift along each axis, in Å.
    mode : {'simple', 'tilt_series'}
        `simple` filters each volume with one CTF, as EMAN and the paper do; `tilt_series` images it tilt by
        tilt.
    ctf : Ctf or None
        The microscope; None images without a CTF.
    snr : float or None
        Variance of the noise-free image inside the particle's mask, over the variance of the noise; None
        adds no noise.
    tilt_range : (float, float) or None
        First and last tilt in degrees. None measures everything in the mode `simple`, and ±60 degrees in the
        mode `tilt_series`.
    tilt_series : TiltScheme
        How the tilts are taken in the mode `tilt_series`.
    tomograms : int
        Number of tomograms over which the particles are spread at random.
    """

    identities: dict[str, list[str]] = field(default_factory=dict)
    conformations_per_identity: Annotated[int, Field(ge=1)] | None = None
    rmsd: list[Positive] | None = None
    copies: Annotated[int, Field(ge=1)] = 100
    box: Annotated[int, Field(ge=8, le=512, multiple_of=2)] = 32
    voxel_size: Positive = 10.0
    resolution: Positive = 10.0
    max_shift: Annotated[float, Field(ge=0)] = 20.0
    mode: Literal["simple", "tilt_series"] = "simple"
    ctf: Ctf | None = field(default_factory=Ctf)
    snr: Positive | None = 0.1
    tilt_range: TiltRange | None = None
    tilt_series: TiltScheme = field(default_factory=TiltScheme)
    tomograms: Annotated[int, Field(ge=1, le=1000)] = 5

    @property
    def measured_range(self) -> tuple[float, float] | None:
        """First and last tilt in degrees; None where no direction is missing."""
        return (-60.0, 60.0) if self.tilt_range is None and self.mode == "tilt_series" else self.tilt_range


# Section 4.4 of the paper. It prints a defocus of "-5 nm", which would leave the CTF flat up to the Nyquist
# frequency of 10 Å voxels; 5 µm of underfocus is usual in tomography. It gives no amplitude contrast, no
# largest shift and no number of tomograms.
PRESETS = {
    "paper": SubtomogramSpec(
        identities={
            "nucleosome": ["2pyo", "7kbe", "7pex", "7pey", "7xzy", "7y00"],
            "spike": ["6vxx", "6vyb", "6xr8", "6xra", "6zox", "6zp0"],
            "fas": ["8prv", "8ps1", "8ps9", "8psj", "8psm", "8psp"],
        },
        conformations_per_identity=6,
        copies=1000,
        box=32,
        voxel_size=10.0,
        resolution=10.0,
        ctf=Ctf(defocus=5.0, cs=1.7, voltage=300.0),
        snr=0.1,
    )
}


def preset_spec(name: str, changes: dict[str, Any] | None = None) -> SubtomogramSpec:
    """Return a named specification, with some values changed.

    Raises
    ------
    SettingError
        For an unknown name, or a value out of its range.
    """
    if name not in PRESETS:
        raise SettingError(f"unknown preset '{name}'; known: {', '.join(PRESETS)}")
    values = to_plain(PRESETS[name])
    merge(values, nest(changes or {}))
    return from_plain(SubtomogramSpec, values)


def read_spec(path: str | Path, changes: dict[str, Any] | None = None) -> SubtomogramSpec:
    """Read a specification from YAML.

    Parameters
    ----------
    path : str or Path
        A YAML file of the keys of `SubtomogramSpec`; those that are left out have their defaults.
    changes : dict, optional
        Values that replace those of the file, by dotted name.

    Raises
    ------
    SettingError
        When the file cannot be read or is no YAML, for an unknown key (with the nearest valid one) or a value
        out of its range; the message names the file.
    """
    path = Path(path)
    try:
        values = read_yaml(path)
    except ValueError as error:
        raise SettingError(f"{path}: cannot be read as YAML ({error}); mend that file") from None
    if values is None:
        values = {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise SettingError(f"{path}: give keys and values, such as `copies: 100`")
    merge(values, nest(changes or {}))
    try:
        return from_plain(SubtomogramSpec, values)
    except SettingError as error:
        raise SettingError(f"{path}: {error}") from None


def write_spec(spec: SubtomogramSpec, path: Path, comment: str) -> None:
    """Write all settings as YAML that `read_spec` reads, below a comment."""
    text = yaml.safe_dump(to_plain(spec), sort_keys=False, allow_unicode=True, default_flow_style=None)
    path.write_text(f"# {comment}\n{text}", encoding="utf-8")
