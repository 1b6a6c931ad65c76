"""`dualcontrast report`: one HTML file that shows a run."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

EXAMPLES = """**Examples**

- The report of a run: `dualcontrast report runs/first`
- Again, with the classes and averages that came later: `dualcontrast report runs/first --overwrite`
- Again, with colours from labels of your own: `dualcontrast report runs/first --labels truth.csv --overwrite`
"""


def report(
    run: Path,
    *,
    labels: Path | None = None,
    seed: int = 0,
    device: str = "auto",
    overwrite: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Draw the figures of a run and write report.html, which opens in any browser without a network.

    Parameters
    ----------
    run
        A run folder.
    labels
        CSV file of labels that colour the figures; the scores are those of the last `evaluate`.
    seed
        Seed of the choice of images and of the maps.
    device
        auto, cpu, cuda or mps.
    overwrite
        Replace an existing report and its figures.
    """
    from dualcontrast.pipeline import encode_run
    from dualcontrast.run_folder import RunFolder

    folder = RunFolder.open(run)
    encode_run(folder, device=device)

    # A run that cannot be read is told of before seconds are spent on importing what draws.
    from dualcontrast.cli.results import labels_of
    from dualcontrast.figures.report import write_report

    path = write_report(folder, labels_of(folder, labels), seed=seed, overwrite=overwrite, device=device)
    print(path)
