"""`dualcontrast cluster`: classes from the codes of a run, and a STAR file for each."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from dualcontrast.clusters import Clusters

EXAMPLES = """**Examples**

- Identities, their number chosen by BIC: `dualcontrast cluster runs/first`
- Three identities, and conformations within each:
  `dualcontrast cluster runs/first --count 3 --conformations auto`
- By state, whatever the identity: `dualcontrast cluster runs/first --on transformation --count 2-8`
- How sure is each particle, by two more trainings with other seeds:
  `dualcontrast cluster runs/first --with runs/second --with runs/third`
- Only what is sure, for RELION: `dualcontrast cluster runs/first --with runs/second --min-confidence 0.9`
- k-means under another name:
  `dualcontrast cluster runs/first --count 5 --method kmeans --name five-by-kmeans`
"""
MOST_TOMOGRAMS = 40


def cluster(
    run: Path,
    *,
    on: Literal["content", "transformation", "both"] = "content",
    count: str = "auto",
    method: Literal["gmm", "kmeans"] = "gmm",
    conformations: str | None = None,
    conformations_on: Literal["content", "transformation", "both"] = "transformation",
    others: Annotated[list[Path] | None, Parameter(name="--with", negative=())] = None,
    min_confidence: float | None = None,
    confidence_column: str | None = None,
    codes: Path | None = None,
    name: str | None = None,
    seed: int = 0,
    device: str = "auto",
    overwrite: Annotated[bool, Parameter(negative=())] = False,
    progress: bool = True,
) -> None:
    """Divide the particles of a run into classes, and write them into RUN/clusters/NAME.

    Parameters
    ----------
    run
        A run folder.
    on
        The code that is clustered: content finds identities, transformation finds states.
    count
        Number of classes; or a range such as 2-8, or auto (1-10), of which BIC chooses.
    method
        gmm: Gaussian mixture. kmeans needs a number.
    conformations
        Number of conformations to look for within each class, or a range, or auto; none unless given.
    conformations_on
        The code that is clustered within each class.
    others
        Another run on the same images, trained with another seed; may be given several times. How far the
        runs agree goes into the confidence of each particle.
    min_confidence
        Leave particles of a lower confidence out of the class STAR files, from 0 to 1.
    confidence_column
        Add the confidence to the class STAR files as a column of this label. RELION knows
        rlnParticleFigureOfMerit.
    codes
        Write the codes of all particles with their classes and confidence into this file as well, ending in
        .npz, .parquet or .zarr; replaced with --overwrite.
    name
        Of these classes; the name of the code unless given.
    seed
        Seed of the starts.
    device
        auto, cpu, cuda or mps.
    overwrite
        Replace classes of this name, with their STAR files and maps.
    progress
        Show a progress bar where the run has to be encoded first.
    """
    from dualcontrast.class_codes import check_class_codes, write_class_codes
    from dualcontrast.class_finding import cluster_run
    from dualcontrast.run_folder import RunFolder

    if codes is not None:
        check_class_codes(codes, overwrite)
    within = None if conformations is None else parse_count(conformations, "conformations")
    clusters = cluster_run(
        run,
        on,
        parse_count(count, "count"),
        method,
        conformations="auto" if conformations is not None and within is None else within,
        conformations_on=conformations_on,
        others=others or [],
        min_confidence=min_confidence,
        confidence_column=confidence_column,
        name=name,
        seed=seed,
        overwrite=overwrite,
        device=device,
        progress=progress,
    )
    print_clusters(clusters, run)
    if codes is not None:
        print(write_class_codes(codes, clusters, RunFolder.open(run).codes))


def parse_count(text: str, option: str) -> int | tuple[int, int] | None:
    """Read `5`, `2-8` or `auto` (None).

    Raises
    ------
    SettingError
        For anything else.
    """
    from dualcontrast.errors import SettingError

    if text == "auto":
        return None
    low, dash, high = text.partition("-")
    if not low.isdecimal() or (dash and not high.isdecimal()):
        raise SettingError(f"--{option} {text}: give a number, a range such as 2-8, or auto")
    return (int(low), int(high)) if dash else int(low)


def confidence_lines(clusters: "Clusters") -> list[str]:
    """Say how sure the classes are, what other runs make of them, and what was left out of the STAR files."""
    if clusters.confidence is None:
        return []
    record, settings = clusters.record["confidence"], clusters.record["settings"]
    values = clusters.confidence.confidence
    lines = [f"Mean confidence {values.mean():.2f}; {(values < 0.5).mean():.1%} of the particles below 0.5."]
    for other, shared, share in zip(settings["with"], record["shared"], record["agreement"], strict=True):
        lines.append(f"{other}: the same class for {share:.1%} of {shared:,} particles.")
    if not all(record["posteriors"]):
        lines.append("A method has no posterior: its probabilities are those of the codes as they are.")
    if not settings["with"] and settings["on"] != "averages":
        lines.append("Agreement is not known; name runs with other seeds with --with.")
    found = clusters.record["calibration"]
    if found is not None:
        lines.append(
            f"By the labels '{found['factor']}', {found['confidence']['accuracy']:.1%} are in the right "
            f"class; expected calibration error {found['confidence']['ece']:.3f}."
        )
    described = clusters.record["classes"]
    if settings["min_confidence"] is not None:
        left_out = sum(described[label].get("not_in_star", 0) for label in clusters.class_names)
        lines.append(
            f"{left_out:,} of {len(values):,} particles are below {settings['min_confidence']:g}, and in no "
            "STAR file."
        )
        empty = [label for label, one in described.items() if one.get("not_in_star") == one["particles"]]
        if empty:
            lines.append(f"Nothing is left, and no STAR file written, of {', '.join(empty)}.")
    return lines


def print_clusters(clusters: "Clusters", run: Path) -> None:
    """Print the classes, how they spread over the tomograms, and where the files are."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from dualcontrast.clusters import in_order
    from dualcontrast.run_folder import CLUSTERS

    console = Console(highlight=False)
    table = Table(title=escape(f"{run}: {clusters.name}"), title_justify="left")
    for column, justify in (
        ("class", "left"),
        ("particles", "right"),
        ("share", "right"),
        ("nearest", "left"),
    ):
        table.add_column(column, justify=justify)  # pyright: ignore[reportArgumentType]
    described = clusters.record["classes"]
    for label in in_order(described):
        entry = described[label]
        share = entry["particles"] / len(clusters.ids)
        table.add_row(label, f"{entry['particles']:,}", f"{share:.1%}", escape(entry["nearest"][0]))
    console.print(table)
    for line in confidence_lines(clusters):
        console.print(escape(line), soft_wrap=True)
    for counted in clusters.record["tomograms"]:
        labels = clusters.class_names if counted is clusters.record["tomograms"][0] else None
        labels = labels or clusters.conformation_names
        spread = Table(title=f"Particles by {counted['column']}", title_justify="left")
        spread.add_column("tomogram")
        for label in labels:
            spread.add_column(label, justify="right")
        for tomogram, counts in list(counted["counts"].items())[:MOST_TOMOGRAMS]:
            spread.add_row(escape(tomogram), *(f"{counts.get(label, 0):,}" for label in labels))
        console.print(spread)
        if len(counted["counts"]) > MOST_TOMOGRAMS:
            console.print(f"and {len(counted['counts']) - MOST_TOMOGRAMS} more in clusters.json")
    if not clusters.record["fit"]["converged"]:
        console.print("The fit did not reach its optimum; try another --seed or fewer classes.")
    print(run / CLUSTERS / clusters.name)
