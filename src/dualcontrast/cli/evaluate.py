"""`dualcontrast evaluate`: measure how well a run separates content and transformation."""

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

EXAMPLES = """**Examples**

- Scores and what they mean: `dualcontrast evaluate runs/first`
- Against labels of your own: `dualcontrast evaluate runs/first --labels truth.csv --overwrite`
- For another program: `dualcontrast evaluate runs/first --json`
"""


def evaluate(
    run: Path,
    *,
    labels: Path | None = None,
    seed: int = 0,
    device: str = "auto",
    overwrite: Annotated[bool, Parameter(negative=())] = False,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> None:
    """Measure a run, print the scores with what they mean, and write evaluation.json.

    A run that is evaluated already is printed again, not measured again, unless --overwrite is given.

    Parameters
    ----------
    run
        A run folder.
    labels
        CSV file whose first column is `id` and others `content:NAME` or `transformation:NAME`; replaces
        labels of the same name that came with the images.
    seed
        Seed of every random choice.
    device
        auto, cpu, cuda or mps.
    overwrite
        Measure again where evaluation.json exists.
    as_json
        Print evaluation.json instead of the table.
    """
    from dualcontrast.cli.results import labels_of, print_evaluation
    from dualcontrast.errors import RunError
    from dualcontrast.evaluation.evaluate import evaluate_run
    from dualcontrast.pipeline import encode_run
    from dualcontrast.run_folder import EVALUATION, RunFolder

    folder = RunFolder.open(run)
    if (folder.path / EVALUATION).exists() and not overwrite:
        if labels is not None:
            raise RunError(f"{folder.path}: is evaluated already; add --overwrite to use these labels")
        evaluation = folder.evaluation
    else:
        encode_run(folder, device=device)
        evaluation = evaluate_run(
            folder, labels_of(folder, labels), seed=seed, overwrite=overwrite, device=device
        )
    if as_json:
        print(json.dumps(evaluation, indent=2))
    else:
        print_evaluation(folder)
