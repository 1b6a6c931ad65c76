"""Several processes train as one does: the same terms, gradients and weights; and a lost one is noticed."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from rank_cases import CASES, SINGLE, compute, operations
from safetensors.numpy import load_file

from dualcontrast import pipeline
from dualcontrast.errors import SettingError
from dualcontrast.run_folder import RunFolder
from dualcontrast.training.engine import check_devices
from dualcontrast.training.loop import Stopped
from toy_images import bars

pytestmark = pytest.mark.slow

WORKER = Path(__file__).with_name("rank_cases.py")
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
# Nothing that is gathered may be as large as an image.
# Or the logits of the clusters of `default`; an image has 256 pixels and more.
LONGEST_CODE = 50


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory) -> Path:
    """Start two processes once, and let them compute every case."""
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, str(WORKER)]
    processes = [
        subprocess.Popen(
            [*command, str(number), "2", str(folder), *CASES, "operations"],
            env=ENVIRONMENT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    return folder


@pytest.fixture
def default_type():
    kept = torch.get_default_dtype()
    yield
    torch.set_default_dtype(kept)


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_have_the_terms_gradients_and_buffers_of_one(two_ranks, case, default_type):
    expected = compute(case)
    found = [load_file(two_ranks / f"{case} {number}.safetensors") for number in range(2)]
    # Pixels stay where they are: no method gathers more than codes.
    assert all(int(rank.pop("longest row gathered")) <= LONGEST_CODE for rank in found)
    tolerance = 1e-4 if case in SINGLE else 1e-9
    for kind in ("terms", "gradient", "buffer"):
        names = [n for n in expected if kind == next((k for k in ("gradient", "buffer") if k in n), "terms")]
        largest = max((np.abs(expected[name]).max(initial=0) for name in names), default=0)
        for rank in found:
            assert rank.keys() == expected.keys()
            for name in names:
                np.testing.assert_allclose(rank[name], expected[name], 0, tolerance * largest, err_msg=name)


def test_what_no_rule_is_known_for_is_gathered(two_ranks):
    expected = operations()
    for number in range(2):
        found = load_file(two_ranks / f"operations {number}.safetensors")
        for name, values in expected.items():
            np.testing.assert_allclose(found[name], values, 1e-12, 1e-12, err_msg=name)


def test_what_cannot_be_done_is_refused(two_ranks):
    for number in range(2):
        small_batch, *in_place = json.loads((two_ranks / f"refusals {number}.json").read_text())
        assert "2 devices need as many images in a batch" in small_batch
        assert all("cannot be trained on several devices" in m and "--devices 1" in m for m in in_place)


# ---- whole trainings

# A small rate: Adam makes of the last bits of small gradients whole steps, which then grow.
SETTINGS = {"epochs": 4, "batch_size": 9, "learning_rate": 1e-4}


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    # 160 train, in batches of 8 and 9: not all can be halved.
    path = tmp_path_factory.mktemp("data") / "bars.npy"
    np.save(path, bars(200, (16, 16))[0])
    return path


def in_this_process(images: Path, run: Path, **options) -> None:
    pipeline.train(
        images,
        run,
        method="two_latent_vae",
        device="cpu",
        evaluate=False,
        progress=False,
        changes=SETTINGS,
        checkpoint_seconds=0,
        **options,
    )


@pytest.fixture(scope="module")
def alone(images, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "alone"
    in_this_process(images, run)
    return run


def arguments(images: Path, run: Path, *options: str) -> list[str]:
    settings = [f"--{name.replace('_', '-')}={value}" for name, value in SETTINGS.items()]
    fixed = ["--method=two_latent_vae", "--device=cpu", "--no-evaluate", "--no-progress"]
    return ["train", str(images), f"--output={run}", "--checkpoint-seconds=0", *fixed, *settings, *options]


def start(command: list[str], **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *command],
        env=ENVIRONMENT | environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def assert_same(run: Path, alone: Path) -> None:
    expected, found = (load_file(folder / "weights.safetensors") for folder in (alone, run))
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, 0, 1e-5, err_msg=name)
    rows = [RunFolder.open(folder).metrics for folder in (alone, run)]
    assert [row["step"] for row in rows[0]] == [row["step"] for row in rows[1]]
    for one, two in zip(*rows, strict=True):
        assert one["terms"] == pytest.approx(two["terms"], rel=1e-4)


def stopped_on_the_way(images: Path, run: Path) -> None:
    """Train alone for an epoch, and leave a checkpoint."""
    with pytest.MonkeyPatch.context() as patch:
        append = RunFolder.append_metrics

        def ask_to_stop(folder, row):
            append(folder, row)
            os.kill(os.getpid(), signal.SIGTERM)

        patch.setattr(RunFolder, "append_metrics", ask_to_stop)
        with pytest.raises(Stopped):
            in_this_process(images, run)


def test_under_torchrun(images, alone, tmp_path):
    run = tmp_path / "run"
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "dualcontrast"]
    process = start([*launcher, *arguments(images, run)])
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert output == f"trained: {run}\n"
    assert_same(run, alone)


def test_connections_end_before_python_does(tmp_path):
    # Otherwise their threads abort about one process in six, whatever it wanted to end with.
    script = tmp_path / "asked_to_stop.py"
    script.write_text(
        "import atexit, torch.distributed as dist\n"
        # The end of the line with the line: two processes write.
        "left = lambda: 'connected\\n' if dist.is_initialized() else 'left\\n'\n"
        "atexit.register(lambda: print(left(), end='', flush=True))\n"
        "from dualcontrast.training.launch import make_fabric\n"
        "make_fabric('cpu', devices=2)\n"
        "assert dist.is_initialized()\n"
        "raise SystemExit(143)\n"
    )
    process = start([str(script)])
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 143, errors
    assert output.split() == ["left", "left"]


@pytest.fixture
def unused_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def wait_for_step(run: Path, step: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 300
    while not run.exists() or not any(row["step"] >= step for row in RunFolder(run).metrics):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[1]
        time.sleep(0.005)


def test_two_tasks_of_slurm_of_which_one_is_asked_to_stop_and_resumed_alone(
    images, alone, tmp_path, unused_port
):
    run = tmp_path / "run"
    of_all = {"SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2", "SLURM_NTASKS_PER_NODE": "2"}
    of_all |= {"SLURM_NNODES": "1", "SLURM_NODEID": "0", "SLURM_NODELIST": "localhost", "SLURM_JOB_ID": "1"}
    of_all |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": unused_port}
    command = ["-m", "dualcontrast", *arguments(images, run)]
    tasks = [start(command, **of_all, SLURM_PROCID=str(i), SLURM_LOCALID=str(i)) for i in range(2)]
    wait_for_step(run, 18, tasks[0])
    tasks[1].send_signal(signal.SIGTERM)
    outputs = [task.communicate(timeout=300) for task in tasks]
    assert [task.returncode for task in tasks] == [143, 143], outputs
    assert ["--resume" in errors for _, errors in outputs] == [True, False]
    in_this_process(images, run, resume=True)
    assert_same(run, alone)


def test_begun_alone_and_resumed_by_two_of_which_one_is_lost_and_resumed_alone(images, alone, tmp_path):
    run = tmp_path / "run"
    stopped_on_the_way(images, run)
    process = start(["-m", "dualcontrast", *arguments(images, run, "--devices=2", "--resume")])
    wait_for_step(run, 30, process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) == 1
    os.kill(int(children[0]), signal.SIGKILL)
    lost = time.monotonic()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2, errors
    assert time.monotonic() - lost < 30
    assert "another process of this training has ended" in errors and "--resume" in errors
    assert not (run / "weights.safetensors").exists()
    in_this_process(images, run, resume=True)
    assert_same(run, alone)


# ---- on how many devices


@pytest.fixture
def plain_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("SLURM_", "TORCHELASTIC")):
            monkeypatch.delenv(name)
    return monkeypatch


def test_one_device_unless_asked(plain_environment):
    assert check_devices("cpu", None, None) == (1, 1)
    assert check_devices("cpu", "auto", None) == (1, 1)
    assert check_devices("cpu", "3", 1) == (3, 1)


def test_what_torchrun_started_counts(plain_environment):
    for name, value in (("TORCHELASTIC_RUN_ID", "x"), ("LOCAL_WORLD_SIZE", "2"), ("WORLD_SIZE", "6")):
        plain_environment.setenv(name, value)
    assert check_devices("cpu", None, None) == check_devices("cpu", "auto", None) == (2, 3)
    with pytest.raises(SettingError, match="torchrun has started 2 processes on each of 3 nodes"):
        check_devices("cpu", 4, None)


def test_what_srun_started_counts(plain_environment):
    for name, value in (("SLURM_STEP_NUM_TASKS", "8"), ("SLURM_NNODES", "2"), ("SLURM_NTASKS_PER_NODE", "4")):
        plain_environment.setenv(name, value)
    assert check_devices("cpu", None, None) == (4, 2)
    with pytest.raises(SettingError, match="srun has started 4 processes on each of 2 nodes"):
        check_devices("cpu", 4, 1)
    # Tasks that are trainings by themselves.
    assert check_devices("cpu", 1, 1) == (1, 1)
    plain_environment.delenv("SLURM_NTASKS_PER_NODE")
    with pytest.raises(SettingError, match="--ntasks-per-node"):
        check_devices("cpu", None, None)


def test_a_batch_script_without_srun_is_one_process(plain_environment):
    plain_environment.setenv("SLURM_NTASKS", "4")
    plain_environment.setenv("SLURM_JOB_ID", "1")
    assert check_devices("cpu", None, None) == (1, 1)


@pytest.mark.parametrize(
    ("devices", "nodes", "message"),
    [("two", 1, "--devices two"), (0, 1, "--devices 0"), (1, 0, "--nodes 0"), (1, 2, "torchrun or srun")],
)
def test_numbers_that_cannot_be(plain_environment, devices, nodes, message):
    with contextlib.suppress(KeyError):
        plain_environment.delenv("MASTER_ADDR")
    with pytest.raises(SettingError, match=message):
        check_devices("cpu", devices, nodes)
