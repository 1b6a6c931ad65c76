"""The speed benchmark: the table of a tiny measurement, the command, and bad input."""

import json

import pytest

from dualcontrast.benchmark.machine_limit import operations
from dualcontrast.benchmark.peak_memory import PeakMemory
from dualcontrast.benchmark.procedures import AUTHORS, Procedure, Speeds
from dualcontrast.benchmark.quality_time import QualityTime, Reached
from dualcontrast.benchmark.speed_shapes import SHAPES, choose_shapes, generated_images
from dualcontrast.benchmark.speed_table import Measured, SpeedTable, as_markdown, speed
from dualcontrast.cli import main
from dualcontrast.errors import SettingError


def test_command_prints_and_writes_the_table(capsys, tmp_path):
    arguments = ["--quick", "--shapes", "mnist", "--device", "cpu", "--threads", "1", "--no-progress"]
    main(["benchmark", "speed", *arguments, "--output", str(tmp_path)])
    printed = capsys.readouterr().out
    written = (tmp_path / "speed.md").read_text(encoding="utf-8")
    assert printed.startswith(written.rstrip())
    found = json.loads((tmp_path / "speed.json").read_text(encoding="utf-8"))
    assert found["machine"]["threads"] == 1 and found["rates"]["float32"] > 1e8
    names = [measured["procedure"]["name"] for measured in found["measured"]]
    assert names == [AUTHORS, "reference", "default"]
    for measured in found["measured"]:
        (repeat,) = measured["repeats"]
        assert repeat["training"] > 0 and repeat["encoding"] > repeat["training"]
        # An interpreter with torch in it takes more than 50 MiB, and two steps on 28² pixels less than 4 GiB.
        assert 50 * 2**20 < measured["memory"]["before"] <= measured["memory"]["total"] < 4 * 2**30


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shapes": ["mnst"]}, "did you mean 'mnist'"),
        ({"shapes": []}, "name at least one of mnist, linemod, subtomogram"),
        ({"threads": 0}, "--threads 0"),
        ({"precision": "16"}, "--precision 16"),
        ({"device": "gpu"}, "--device gpu"),
        ({"repeats": 0}, "--repeats 0"),
    ],
)
def test_what_cannot_be_measured_is_refused_at_once(options, message):
    with pytest.raises(SettingError, match=message):
        speed(**options)


def test_unknown_shape_ends_the_command_with_one_line(capsys):
    with pytest.raises(SystemExit) as end:
        main(["benchmark", "speed", "--shapes", "mnist,spheres"])
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("error: unknown shape in --shapes 'spheres'")


def test_shapes_keep_their_order_and_come_once():
    assert [shape.name for shape in choose_shapes(["linemod", "mnist", "linemod"])] == ["linemod", "mnist"]
    assert choose_shapes(["all"]) == list(SHAPES.values())


def test_generated_images_are_smooth_and_seeded():
    images = generated_images(SHAPES["linemod"], 4)
    assert images.shape == (4, 3, 64, 64) and images.dtype == "uint8"
    assert (images == generated_images(SHAPES["linemod"], 4)).all()
    assert (images != generated_images(SHAPES["linemod"], 4, seed=1)).any()
    volumes = generated_images(SHAPES["subtomogram"], 2).astype("float64")
    assert volumes.mean(axis=(1, 2, 3, 4)) == pytest.approx([0, 0], abs=1e-5)
    assert volumes.std(axis=(1, 2, 3, 4)) == pytest.approx([1, 1], abs=1e-4)
    # Neighbours of white noise differ by 2 in the mean square.
    assert ((volumes[..., 1:] - volumes[..., :-1]) ** 2).mean() < 0.2


def test_operations_of_a_step_are_those_of_its_layers():
    """`reference` on 28² pixels: the layers that docs/method.md lists, two operations a multiplication."""
    procedure = Procedure(SHAPES["mnist"], "reference", "cpu", "32-true")
    training, encoding = procedure.operations_an_image(generated_images(procedure.shape, 200))
    first = 2 * 25 * 1 * 16 * 13**2
    rest = 2 * 25 * (16 * 32 * 6**2 + 32 * 64 * 2**2)
    head = 2 * 256 * 10
    encoder = first + rest + 4 * head
    assert encoding == encoder
    decoder = 2 * (2 * 10 * 256 + 3 * 512**2 + 512 * 784)
    # The image and its view are encoded and drawn: forward, and both gradients, but for that of the pixels.
    vae = 2 * (3 * encoder - first + 3 * decoder)
    # Two drawn images: no gradient of the decoder, and none of the heads that no loss looks at.
    pairs = 2 * (decoder + encoder + 2 * (rest + head) + first)
    # The view and the codes' cosines have no matrix products worth mentioning.
    assert training == pytest.approx(vae + pairs, rel=0.01)


def test_operations_of_a_matrix_product():
    import torch

    a, b = torch.ones(3, 5), torch.ones(5, 7)
    count, product = operations(lambda: a @ b)
    assert count == 2 * 3 * 5 * 7 and product.shape == (3, 7)


def measured(name: str, training: list[float], encoding: float) -> Measured:
    procedure = Procedure(SHAPES["mnist"], name, "cpu", "32-true")
    repeats = [Speeds(value, encoding) for value in training]
    return Measured(procedure, repeats, 1e8, 1e7, PeakMemory(300 * 2**20, 0))


def test_table_says_by_how_much_a_target_is_missed():
    machine = {
        "date": "2000-01-01",
        "gpu": None,
        "cpu": "abacus",
        "instructions": "none",
        "threads": 2,
        "torch": "0",
        "precision": "32-true",
    }
    # 10¹¹ operations a second and 10⁸ an image: no more than 1,000 images a second.
    table = SpeedTable(
        machine,
        {"float32": 1e11, "bfloat16": 1e12},
        [measured(AUTHORS, [100, 200, 50], 1000), measured("reference", [300, 400, 150], 4000)],
    )
    rows = [line.split(" | ") for line in as_markdown(table).splitlines() if "`reference`" in line]
    assert rows[0][1:] == [
        "300 (150–400)",
        # Repeat by repeat 3, 2 and 3.
        "3.0 (target 4: 25 % short)",
        "30 % (target 40 %: 25 % short)",
        "10.0",
        "300 MiB |",
    ]
    assert rows[1][1:] == ["4,000 (4,000–4,000)", "4.0 (target 3: met)", "40 %", "10.0 |"]


def test_time_to_quality_is_read_from_the_scores():
    scores = [(10, 0.80, 0.40), (20, 0.90, 0.35), (30, 0.93, 0.30), (40, 0.96, 0.21), (50, 0.965, 0.202)]
    points = [Reached(seconds, 0, *score) for seconds, *score in scores]
    quality = QualityTime(0.89, 0.31, points)
    # At 20 s, z still tells too much; from 40 s on nothing changes by more than 0.01.
    assert quality.reached is points[2] and quality.settled is points[3]
    assert "after 30 s" in quality.sentence and "after 40 s" in quality.sentence
    assert QualityTime(0.99, 0.31, points).reached is None
    assert "does not reach 0.99" in QualityTime(0.99, 0.31, points).sentence
