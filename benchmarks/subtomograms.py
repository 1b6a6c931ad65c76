"""The cryo-ET table of docs/results.md: simulate what is missing, train it, print the table.

    python benchmarks/subtomograms.py                            # structures are downloaded from the PDB
    python benchmarks/subtomograms.py --structures FOLDER        # files such as 1kx5.pdb.gz in a folder
    python benchmarks/subtomograms.py --rows "SNR 0.1" --copies 1000

3 identities × 6 conformations (by normal modes), box 32, voxels of 10 Å, in uniformly random orientation.
Rows are run folders below `runs/subtomograms`; a run that was interrupted is resumed, a finished one is read.
"""

import argparse
from pathlib import Path
from typing import Any

from dualcontrast import RunFolder, train
from dualcontrast.benchmark.speed import training_seconds
from dualcontrast.benchmark.tables import look_up
from dualcontrast.settings import from_plain
from dualcontrast.simulate.subtomogram_spec import SubtomogramSpec
from dualcontrast.simulate.subtomograms import simulate

IDENTITIES = {"nucleosome": "1kx5", "spike": "6vxx", "shell": "4yvs"}
CONFORMATIONS = 6

SIMULATIONS: dict[str, dict[str, Any]] = {
    "snr-0.1": {"snr": 0.1},
    "snr-0.03": {"snr": 0.03},
    "wedge": {"snr": 0.1, "tilt_range": [-60, 60]},
}
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "SNR 0.1": ("snr-0.1", {}),
    "SNR 0.03": ("snr-0.03", {}),
    "SNR 0.1, ±60°": ("wedge", {}),
    "SNR 0.1, ±60°, wedge not minded": ("wedge", {"wedge_aware": False}),
}
COLUMNS = {
    "GMM, identity from c ↑": "clustering.gmm_accuracy",
    "identity from c ↑": "d_score.content.from_content",
    "identity from z ↓": "d_score.content.from_transformation",
    "conformation from z ↑": "within_content.from_transformation",
    "conformation from c ↓": "within_content.from_content",
    "ARI of z ↑": "within_content.ari",
    "rotation from c ↓": "diagnostics.rotation_readout.from_content",
    "c moves ↓": "diagnostics.content_invariance",
    "swap, c ↑": "diagnostics.swap_consistency.content",
    "swap, z ↑": "diagnostics.swap_consistency.transformation",
}


def structure(folder: Path | None, pdb_id: str) -> str:
    """Name a structure: its file in a folder, or its id, which is then downloaded."""
    if folder is None:
        return pdb_id
    files = sorted(folder.resolve().glob(f"{pdb_id}.*"))
    if not files:
        raise SystemExit(f"{folder}: holds no file {pdb_id}.pdb.gz or {pdb_id}.cif.gz")
    return str(files[0])


def simulated(name: str, arguments: argparse.Namespace) -> Path:
    """Return the STAR file of a simulation, made once."""
    output = arguments.output / f"{name}-{arguments.copies}-copies"
    if not (output / "particles.star").exists():
        identities = {key: [structure(arguments.structures, pdb)] for key, pdb in IDENTITIES.items()}
        spec = {
            "identities": identities,
            "conformations_per_identity": CONFORMATIONS,
            "copies": arguments.copies,
        }
        simulate(from_plain(SubtomogramSpec, spec | SIMULATIONS[name]), output, seed=0)
    return output / "particles.star"


def row_of(name: str, run: RunFolder) -> str:
    """Write one row of the table."""
    values = [look_up(run.evaluation, key) for key in COLUMNS.values()]
    pose = next(factor for factor in run.evaluation["confounds"]["factors"] if factor["name"] == "pose")
    values += [pose["from_transformation"], pose["from_content"]]
    numbers = ["–" if value is None else f"{value:.3f}" for value in values]
    verdicts = run.evaluation["diagnostics"]["collapse"].items()
    dead = [code for code, verdict in verdicts if verdict["collapsed"]]
    cells = [name, *numbers, " and ".join(dead) or "none", f"{training_seconds(run) / 60:.0f}"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Simulate and train what is missing, and print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--structures", type=Path, help="folder of structure files named by their PDB id")
    parser.add_argument("--rows", nargs="*", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--copies", type=int, default=200, help="of each of the 18 conformations")
    parser.add_argument("--epochs", type=int, help="instead of those of the preset")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--output", type=Path, default=Path("runs/subtomograms"))
    arguments = parser.parse_args()
    print(f"| | {' | '.join(COLUMNS)} | pose from z | pose from c ↓ | collapsed | minutes |")
    print("|---" * (len(COLUMNS) + 5) + "|")
    for name in arguments.rows:
        simulation, changes = ROWS[name]
        if arguments.epochs is not None:
            changes = changes | {"epochs": arguments.epochs}
        folder = "".join(letter if letter.isalnum() else "-" for letter in name)
        output = arguments.output / f"{folder}-{arguments.copies}-copies-seed-{arguments.seed}"
        if not (output / "report.html").exists():
            train(
                simulated(simulation, arguments),
                output,
                seed=arguments.seed,
                changes=changes,
                device=arguments.device,
                resume=True,
            )
        print(row_of(name, RunFolder.open(output)), flush=True)


if __name__ == "__main__":
    main()
