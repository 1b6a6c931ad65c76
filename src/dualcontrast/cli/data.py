"""`dualcontrast data`: list and fetch data sets, look into images, and pack them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

if TYPE_CHECKING:
    from rich.table import Table

    from dualcontrast.data.labels import LabelTable

app = App(name="data", help="List and fetch data sets, look into images, and pack them.")


@app.command(
    name="list",
    help_epilogue="""**Examples**

- Every data set with a name: `dualcontrast data list`
""",
)
def list_sets() -> None:
    """List the data sets that have a name, and where they are on this machine."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from dualcontrast.data.cache import cache_folder
    from dualcontrast.data.published import PUBLISHED

    table = Table("name", "what it is", title="Data sets", show_lines=True)
    for published in PUBLISHED.values():
        here = published.find()
        absent = (
            "built in"
            if published.fetch is None
            else f"not yet; dualcontrast data fetch {published.name} puts it into {cache_folder()}"
        )
        facts = {
            "size": published.images,
            "content": published.content,
            "transformation": published.transformation,
            "licence": published.licence,
            "source": published.origin,
            "cached": absent if here is None else str(here),
        }
        table.add_row(
            published.name, "\n".join(f"[dim]{key}:[/] {escape(text)}" for key, text in facts.items())
        )
    Console().print(table)


@app.command(
    help_epilogue="""**Examples**

- Download MNIST, 11 MB: `dualcontrast data fetch mnist`
- Download LineMod's rendered views from BOP and unpack them: `dualcontrast data fetch linemod`
- Into a folder of your own: `DUALCONTRAST_DATA=/data dualcontrast data fetch mnist`
"""
)
def fetch(name: str, /) -> None:
    """Bring a data set onto this machine; what is there already is checked and not downloaded again.

    Parameters
    ----------
    name
        As `dualcontrast data list` shows it.
    """
    import difflib

    from rich.console import Console

    from dualcontrast.data.published import PUBLISHED
    from dualcontrast.errors import DataError

    if name not in PUBLISHED:
        close = difflib.get_close_matches(name.lower(), PUBLISHED, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"there are {', '.join(PUBLISHED)}"
        raise DataError(f"no data set has the name '{name}'; {hint}")
    published = PUBLISHED[name]
    if published.fetch is None:
        print(f"{name}: built in, nothing to fetch")
        return
    Console(stderr=True).print(f"fetching {name}, or checking what is here")
    print(f"{name}: in {published.fetch()}")


@app.command(
    help_epilogue="""**Examples**

- A data set by its name: `dualcontrast data info digits`
- A folder of images with labels: `dualcontrast data info particles/ --labels particles.csv`
- A folder whose sub-folders are classes: `dualcontrast data info photos/ --folder-labels`
"""
)
def info(
    data: str,
    /,
    *,
    labels: Path | None = None,
    folder_labels: Annotated[bool, Parameter(negative=())] = False,
    datadir: Path | None = None,
    skip_bad: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Say what is in a set of images: count, shape, range, labels and split; every image is read.

    Parameters
    ----------
    data
        A path or the name of a data set.
    labels
        CSV file of labels; its first column is id, filename or image.
    folder_labels
        Take the sub-folders as content labels.
    datadir
        Folder in which the files that a STAR file names are looked for first.
    skip_bad
        Leave out images that cannot be read or used, and say which.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress
    from rich.table import Table

    from dualcontrast.data.check import survey_images
    from dualcontrast.data.open import open_source
    from dualcontrast.data.pixels import name_some

    source = open_source(data, labels=labels, folder_labels=folder_labels, datadir=datadir, skip_bad=skip_bad)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("reading images", total=len(source))
        survey = survey_images(source, lambda done: progress.update(task, completed=done))
    channels, *spatial = source.image_shape
    kind = {2: "images", 3: "volumes"}[len(spatial)]
    table = Table(show_header=False)
    table.add_row(kind, f"{len(source):,}")
    table.add_row("size", "×".join(map(str, spatial)))
    table.add_row("channels", {1: "1 (grayscale)", 3: "3 (RGB)"}[channels])
    if source.voxel_size is not None:
        table.add_row("voxel size", f"{source.voxel_size:g} Å")
    table.add_row("stored as", source.stored_type)
    table.add_row("values as read", f"{survey.low:.4g} to {survey.high:.4g}")
    table.add_row("ids", escape(f"{source.ids[0]} … {source.ids[-1]}"))
    split = source.fixed_split
    shares = "" if split is None else ", ".join(f"{len(ids):,} {part}" for part, ids in split.items())
    table.add_row("published split", shares or "none")
    console = Console()
    console.print(data, style="bold", markup=False, highlight=False, soft_wrap=True)
    console.print(table)
    if source.labels is not None:
        console.print(_label_rows(source.labels))
    if skip_bad:
        table = Table("skipped", "reason", title=f"{len(source.skipped):,} images are left out")
        for name, reason in source.skipped.items():
            table.add_row(escape(name), escape(reason))
        console.print(table)
    if len(survey.constant):
        console.print(
            f"all pixels are equal in {name_some(survey.constant)}; leave them out before training",
            style="red",
            markup=False,
            soft_wrap=True,
        )


@app.command(
    help_epilogue="""**Examples**

- As it is, in one store: `dualcontrast data pack particles.star particles.zarr`
- Ready for the networks, in little space: `dualcontrast data pack particles.star half.zarr --box 32
  --lowpass 20 --dtype float16`
- Train on it: `dualcontrast train half.zarr --output runs/half`
"""
)
def pack(
    data: str,
    output: Path,
    /,
    *,
    labels: Path | None = None,
    folder_labels: Annotated[bool, Parameter(negative=())] = False,
    datadir: Path | None = None,
    skip_bad: Annotated[bool, Parameter(negative=())] = False,
    tilt_range: tuple[float, float] | None = None,
    normalisation: str = "auto",
    contrast: str | None = None,
    box: int | None = None,
    lowpass: float | None = None,
    mask_diameter: float | None = None,
    dtype: str = "auto",
    shard: int | None = None,
    seed: int = 0,
    overwrite: Annotated[bool, Parameter(negative=())] = False,
    progress: bool = True,
) -> None:
    """Write images, ids, labels and wedges into one Zarr store that training can stream from disk.

    With --normalisation, --contrast, --box, --lowpass or --mask-diameter the images are stored ready for the
    networks, and training does nothing more to them; without, they are stored as they are.

    Parameters
    ----------
    data
        A path or the name of a data set.
    output
        The store, a folder whose name ends in .zarr; it appears when it is complete.
    labels
        CSV file of labels; its first column is id, filename or image.
    folder_labels
        Take the sub-folders as content labels.
    datadir
        Folder in which the files that a STAR file names are looked for first.
    skip_bad
        Leave out images that cannot be read or used, and say how many.
    tilt_range
        First and last tilt in degrees, for example --tilt-range -60 60; stored as Fourier weights.
    normalisation
        How pixels are scaled: auto, unit (to [0, 1]) or standardize (zero mean, unit deviation per image).
    contrast
        How particles stand out: light, dark, auto or as-is; see `dualcontrast train`.
    box
        Crop to this many pixels or voxels a side, in Fourier space.
    lowpass
        Leave out what is finer than this resolution in Å.
    mask_diameter
        Diameter of a soft spherical mask, in Å, or up to 1 as a share of the box.
    dtype
        float16 for half of the space, float32, or auto, which loses nothing.
    shard
        Images in a file; as many as make 256 MiB unless given.
    seed
        Of the samples by which scaling and contrast are chosen; give that of the training.
    overwrite
        Replace a pack that is there.
    progress
        Show a progress bar.
    """
    from rich.console import Console
    from rich.progress import Progress

    from dualcontrast import packing
    from dualcontrast.data.open import open_source

    source = open_source(
        data,
        labels=labels,
        folder_labels=folder_labels,
        datadir=datadir,
        skip_bad=skip_bad,
        tilt_range=tilt_range,
    )
    with Progress(console=Console(stderr=True), transient=True, disable=not progress) as bar:
        task = bar.add_task("packing images", total=len(source))
        packing.pack(
            source,
            output,
            normalisation=normalisation,
            contrast=contrast,
            box=box,
            lowpass=lowpass,
            mask_diameter=mask_diameter,
            dtype=dtype,
            shard=shard,
            seed=seed,
            overwrite=overwrite,
            progress=lambda done: bar.update(task, completed=done),
        )
    if skip_bad:
        print(f"{len(source.skipped):,} images are left out")
    size = sum(file.stat().st_size for file in output.rglob("*") if file.is_file())
    print(f"{output}: {len(source):,} images, {size / 1e9:.3g} GB; go on with `dualcontrast train {output}`")


def _label_rows(labels: "LabelTable") -> "Table":
    """Show each factor with its role and values, in the order of the roles."""
    import numpy as np
    from rich.markup import escape
    from rich.table import Table

    from dualcontrast.data.labels import ROLES

    table = Table("label", "role", "kind", "values", title="Labels")
    for role in ROLES:
        for factor in labels.of_role(role):
            if factor.is_continuous:
                values = f"{np.nanmin(factor.values):.4g} to {np.nanmax(factor.values):.4g}"
            else:
                distinct = np.unique(factor.values)
                values = f"{len(distinct):,} distinct: {', '.join(map(str, distinct[:10]))}"
                values += " …" if len(distinct) > 10 else ""
            kind = "continuous" if factor.is_continuous else "discrete"
            table.add_row(escape(factor.name), role, kind, escape(values))
    return table
