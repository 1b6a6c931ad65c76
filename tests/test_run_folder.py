"""Run folders: what is deleted when a run is replaced."""

import numpy as np

from dualcontrast.data.split import Split
from dualcontrast.run_folder import RunFolder


def test_replacing_a_run_deletes_its_classes_and_paths_and_nothing_else(tmp_path):
    split = Split(np.array(["a", "b"]), np.array(["c"]))
    run = RunFolder.create(tmp_path / "run", {"seed": 0}, split)
    for name in (
        "clusters/content/classes.csv",
        "clusters/content/maps/class-1.mrc",
        "traversals/z/001.mrc",
        "traversals/z/path.gif",
        "figures/traversal_content.gif",
        "clusters/content/class-1.star",
        "clusters/mine/notes.txt",
        "notes.txt",
    ):
        (run.path / name).parent.mkdir(parents=True, exist_ok=True)
        (run.path / name).write_text("kept?")
    RunFolder.create(run.path, {"seed": 1}, split, overwrite=True)
    assert (run.path / "config.yaml").read_text() == "seed: 1\n"
    left = {path.relative_to(run.path).as_posix() for path in run.path.rglob("*") if path.is_file()}
    assert left - {"config.yaml", "command.txt", "environment.json", "split.json"} == {
        "clusters/mine/notes.txt",
        "notes.txt",
    }
    assert not (run.path / "traversals").exists() and not (run.path / "clusters/content").exists()
