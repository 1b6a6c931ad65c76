"""`dualcontrast train`: train a method on images and fill a run folder."""

import sys
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from cyclopts import Parameter

EXAMPLES = """**Examples**

- A folder of images: `dualcontrast train images/ --output runs/first`
- Sub-folders are classes: `dualcontrast train images/ --output runs/named --folder-labels`
- MNIST with the paper's settings: `dualcontrast train mnist --output runs/paper --preset paper`
- An ablation of the paper: `dualcontrast train mnist --output runs/ablation --preset without_con_z`
- Another method: `dualcontrast train mnist --output runs/harmony --method harmony`
- Any other setting: `dualcontrast train mnist --output runs/far --set weights.independence=4`
- Go on after an interruption: `dualcontrast train mnist --output runs/paper --resume`
- Subtomograms at half their size, without noise beyond 20 Å: `dualcontrast train particles.star
  --output runs/half --box 32 --lowpass 20`
- On four GPUs, or on two nodes with four each: `dualcontrast train mnist --output runs/four --devices 4`;
  `srun --nodes 2 --ntasks-per-node 4 dualcontrast train mnist --output runs/eight`
- Three seeds, of which the best is pointed out: `dualcontrast train mnist --output runs/three --restarts 3`
- The settings that matter most, too: `dualcontrast train mnist --output runs/many --search`; or others:
  `--try weights.rotation=0,0.1,0.3`
- Options from a file: `dualcontrast train mnist --output runs/file --config settings.yaml`, which holds for
  example `epochs: 40` and `settings: {weights: {independence: 2}}`; flags override it
"""

Flag = Annotated[bool, Parameter(negative=())]


def train(
    data: str,
    *,
    output: Path,
    method: str | None = None,
    preset: str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    content_dim: int | None = None,
    transformation_dim: int | None = None,
    seed: int | None = None,
    restarts: int | None = None,
    search: Flag | None = None,
    tried: Annotated[tuple[str, ...], Parameter(name="--try", negative=())] = (),
    labels: Path | None = None,
    folder_labels: bool | None = None,
    datadir: Path | None = None,
    skip_bad: bool | None = None,
    tilt_range: tuple[float, float] | None = None,
    limit: int | None = None,
    test_fraction: float | None = None,
    normalisation: str | None = None,
    contrast: str | None = None,
    box: int | None = None,
    lowpass: float | None = None,
    mask_diameter: float | None = None,
    device: str | None = None,
    devices: str | None = None,
    nodes: int | None = None,
    precision: str | None = None,
    setting: Annotated[tuple[str, ...], Parameter(name="--set", negative=())] = (),
    config: Path | None = None,
    checkpoint_seconds: float = 60.0,
    resume: Flag = False,
    overwrite: Flag = False,
    evaluate: bool = True,
    progress: bool = True,
) -> None:
    """Train on images, then encode them, evaluate, and write a report.

    Parameters
    ----------
    data
        A folder of images, an array file, or the name of a data set (see `dualcontrast data list`).
    output
        The run folder.
    method
        Method to train: dualcontrast unless given; or harmony, simclr, simclr_generative, spatial_vae,
        two_latent_vae, vitae.
    preset
        Named settings of the method. All have default, and short for trainings of few epochs; dualcontrast
        has subtomogram, paper, reference, and the ablations without_con_c and without_con_z too. Unless
        given, subtomogram for volumes where there is one, and default for all else.
    epochs
        Passes over the training images. Unless given, those of the preset; default of dualcontrast takes more
        than its 30 where images are so few that 30 would be fewer than 2,000 steps.
    batch_size
        Images a step.
    learning_rate
        Highest learning rate.
    content_dim
        Length of the content code.
    transformation_dim
        Length of the transformation code.
    seed
        Seed of everything random; 0 unless given.
    restarts
        Train so many times, with this seed and the next ones, each into a folder of its own in the output
        folder, and rank the runs as `dualcontrast select` does.
    search
        Train with several values of the settings that matter most for the method, and rank the runs.
    tried
        Train with each of several values of a setting, as NAME=VALUE,VALUE, and rank the runs; can be given
        several times, for every combination.
    labels
        CSV file with an `id` column; labels are used for scores only, never for training.
    folder_labels
        Take the names of sub-folders as content labels.
    datadir
        Folder in which the files that a STAR file names are looked for first.
    skip_bad
        Leave out images that cannot be read or used, and list them in the run's skipped.csv.
    tilt_range
        First and last tilt in degrees, for example --tilt-range -60 60: pairs and reconstruction of
        subtomograms then mind the missing wedge. Not needed where a STAR file names CTF volumes.
    limit
        Use a random choice of this many training images, and of as many test images at the most.
    test_fraction
        Fraction of the images held out for scores, where the data set has no split of its own.
    normalisation
        How pixels are scaled: auto, unit (to [0, 1]) or standardize (zero mean, unit deviation per image).
    contrast
        How particles stand out: light, dark (inverted, so that they become light), auto (measured; the
        default for volumes) or as-is (the default for images).
    box
        Crop to this many pixels or voxels a side, in Fourier space.
    lowpass
        Leave out what is finer than this resolution in Å.
    mask_diameter
        Diameter of a soft spherical mask, in Å, or up to 1 as a share of the box; none unless given.
    device
        auto, cpu, cuda or mps.
    devices
        Number of GPUs of each node, or of processes on the CPU, that train together; auto is all GPUs. Unless
        given, 1, or as many processes as torchrun or srun has started.
    nodes
        Number of nodes; more than one are started by torchrun or srun.
    precision
        32-true, or bf16-mixed for mixed precision: on a GPU, or a CPU with instructions for bf16, steps take
        down to half of the time.
    setting
        Any other setting, as NAME=VALUE; can be given several times.
    config
        YAML file of these options; flags override it.
    checkpoint_seconds
        Shortest time between two checkpoints.
    resume
        Go on with the run in the output folder, or start it.
    overwrite
        Replace the run in the output folder.
    evaluate
        Encode, evaluate and report at the end.
    progress
        Show progress bars.
    """
    flags = {
        "method": method,
        "preset": preset,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "content_dim": content_dim,
        "transformation_dim": transformation_dim,
        "seed": seed,
        "restarts": restarts,
        "search": search,
        "labels": None if labels is None else str(labels),
        "folder_labels": folder_labels,
        "datadir": None if datadir is None else str(datadir),
        "skip_bad": skip_bad,
        "tilt_range": tilt_range,
        "limit": limit,
        "test_fraction": test_fraction,
        "normalisation": normalisation,
        "contrast": contrast,
        "box": box,
        "lowpass": lowpass,
        "mask_diameter": mask_diameter,
        "device": device,
        "devices": devices,
        "nodes": nodes,
        "precision": precision,
    }
    options = read_options(config, list(flags)) if config else {}
    options |= {name: value for name, value in flags.items() if value is not None}
    changes = {**options.pop("settings", {}), **dict(map(parse_setting, setting))}
    of_data = {
        name: options.pop(name)
        for name in ("labels", "folder_labels", "datadir", "skip_bad", "tilt_range", "limit", "test_fraction")
        if name in options
    }
    of_model = ("epochs", "batch_size", "learning_rate", "content_dim", "transformation_dim")
    changes |= {name: options.pop(name) for name in of_model if name in options}
    seeds, searched = options.pop("restarts", None), options.pop("search", False)

    from dualcontrast import pipeline, settings
    from dualcontrast.errors import SettingError
    from dualcontrast.training.loop import Stopped

    try:
        options |= {
            "changes": changes,
            "options": settings.from_plain(pipeline.DataOptions, of_data),
            "checkpoint_seconds": checkpoint_seconds,
            "resume": resume,
            "overwrite": overwrite,
            "evaluate": evaluate,
            "progress": progress,
        }
        if seeds is not None or searched or tried:
            _train_several(
                data, output, 1 if seeds is None else seeds, searched, dict(map(parse_values, tried)), options
            )
            return
        run = pipeline.train(data, output, **options)
    except SettingError as error:
        if config is None:
            raise
        raise SettingError(f"{error} (look at {config} and at the flags)") from None
    except Stopped as stop:
        again = f"dualcontrast train {data} --output {output} --resume"
        if seeds is not None or searched or tried:
            again = "the same command and --resume"
        print(f"stopped after step {stop.step:,}; the state is kept. Go on with:\n  {again}", file=sys.stderr)
        sys.exit(128 + stop.signal_number)
    if run.config["data"].get("skip_bad"):
        from dualcontrast.cli.results import print_skipped
        from dualcontrast.run_folder import SKIPPED

        print_skipped(run.path / SKIPPED)
    if evaluate:
        from dualcontrast.cli.results import print_results

        print_results(run)
    else:
        print(f"trained: {run.path}")


def _train_several(
    data: str, output: Path, seeds: int, searched: bool, values: dict[str, Any], options: dict[str, Any]
) -> None:
    """Train several times, and print the ranking."""
    from dualcontrast.cli.select import print_ranking
    from dualcontrast.run_folder import SELECTION
    from dualcontrast.trials import Trial, search_of, train_several

    def say(number: int, count: int, trial: Trial) -> None:
        print(f"training {number} of {count}: {output / trial.folder}", file=sys.stderr)

    if searched:
        values = search_of(options.get("method")) | values
    trained = train_several(data, output, restarts=seeds, values=values, on_trial=say, **options)
    print_ranking(trained.ranked)
    for folder, reason in trained.failed.items():
        print(f"did not end: {output / folder}: {reason}")
    print(f"\nRanking: {output / SELECTION}")


def read_options(path: Path, known: list[str]) -> dict[str, Any]:
    """Read options from a YAML file.

    Raises
    ------
    SettingError
        When the file cannot be read, or holds an option that does not exist or a value of another type.
    """
    import pydantic

    from dualcontrast.errors import SettingError
    from dualcontrast.settings import unknown_name
    from dualcontrast.yaml_files import read_yaml

    try:
        options = read_yaml(path)
    except ValueError as error:
        raise SettingError(f"{path}: cannot be read as YAML ({error}); mend that file") from None
    options = {} if options is None else options
    if not isinstance(options, dict) or not isinstance(options.get("settings", {}), dict):
        raise SettingError(f"{path}: holds no options; write lines such as `epochs: 40`")
    for name in options:
        if name not in (*known, "settings"):
            raise unknown_name(str(name), [*known, "settings"], f"option in {path}")
    hints = get_type_hints(train)
    for name in options.keys() & set(known):
        try:
            value = pydantic.TypeAdapter(hints[name]).validate_python(options[name])
        except pydantic.ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise SettingError(f"{path}: option '{name}' is {options[name]!r}; {reason.lower()}") from None
        options[name] = str(value) if isinstance(value, Path) else value
    return {name: value for name, value in options.items() if value is not None}


def parse_setting(text: str) -> tuple[str, Any]:
    """Split NAME=VALUE; the value is read as YAML, so that numbers are numbers."""
    from dualcontrast.errors import SettingError
    from dualcontrast.yaml_files import parse_yaml

    name, equals, value = text.partition("=")
    if not equals or not name:
        raise SettingError(
            f"--set {text}: write it as NAME=VALUE, for example --set weights.con_c_positive=0"
        )
    try:
        return name, parse_yaml(value)
    except ValueError as error:
        raise SettingError(f"--set {text}: the value cannot be read ({error}); mend it") from None


def parse_values(text: str) -> tuple[str, list[Any]]:
    """Split NAME=VALUE,VALUE; each value is read as YAML.

    Raises
    ------
    SettingError
        When it is written otherwise.
    """
    from dualcontrast.errors import SettingError

    name, equals, values = text.partition("=")
    if not equals or not name or not all(value.strip() for value in values.split(",")):
        raise SettingError(
            f"--try {text}: write it as NAME=VALUE,VALUE, for example --try weights.independence=1,4"
        )
    return name, [parse_setting(f"{name}={value.strip()}")[1] for value in values.split(",")]
