"""Confidence by posteriors and other runs: the numbers, and the runs, files and options around them."""

import csv
import json
import shutil

import numpy as np
import pytest

from blobs import make_run
from dualcontrast import Codes, RunFolder
from dualcontrast.class_codes import write_class_codes
from dualcontrast.class_edits import merge_classes, write_edited
from dualcontrast.class_finding import cluster_run
from dualcontrast.cli.cluster import confidence_lines
from dualcontrast.clusters import Clusters
from dualcontrast.code_files import read_arrays
from dualcontrast.confidence import HOTTEST, RunClasses, combine
from dualcontrast.errors import RunError, SettingError
from dualcontrast.evaluation.calibration import expected_calibration_error
from dualcontrast.explorer.columns import columns_of
from dualcontrast.figures.class_section import class_section
from dualcontrast.run_folder import CODES

COUNT = 90
GROUP = np.arange(COUNT) % 3


def classes_of(labels, sure=0.9, ids=None, count=None):
    """Classes of a run that is `sure` of each of them."""
    labels = np.asarray(labels)
    count = count or labels.max() + 1
    expected = np.full((len(labels), count), (1 - sure) / max(1, count - 1))
    expected[np.arange(len(labels)), labels] = sure
    return RunClasses(
        np.array([f"p{n}" for n in range(len(labels))]) if ids is None else ids, labels, expected
    )


def test_permuted_names_in_another_order_agree_wholly(rng):
    labels = rng.integers(4, size=200)
    ours = classes_of(labels)
    order, places = rng.permutation(4), rng.permutation(200)
    other = classes_of(order[labels][places], ids=ours.ids[places])
    found = combine(ours, [other])
    np.testing.assert_array_equal(found.confidence.agreement, 1)
    assert found.shared == [200] and found.agreement == [1]
    # Runs that agree raise nothing: both are sure by 0.9.
    assert found.temperature == 1
    np.testing.assert_allclose(found.confidence.confidence, 0.9)


def test_agreement_counts_the_other_runs_that_have_the_particle():
    labels = np.array([0, 0, 0, 1, 1, 1])
    ours = classes_of(labels)
    second = classes_of([1, 1, 0, 0, 0, 0])
    third = classes_of([0, 1, 1, 1], ids=np.array(["p0", "p3", "p4", "stranger"]))
    found = combine(ours, [second, third])
    np.testing.assert_allclose(found.confidence.agreement, [1, 1, 0, 1, 1, 1])
    assert found.shared == [6, 3] and found.agreement == pytest.approx([5 / 6, 1])
    # p2 is with the others in the second run, and unknown to the third.
    missing = combine(ours, [third])
    np.testing.assert_allclose(missing.confidence.agreement, [1, np.nan, np.nan, 1, 1, np.nan])
    np.testing.assert_allclose(missing.confidence.confidence, 0.9)


def test_without_other_runs_it_is_the_expected_probability():
    found = combine(classes_of([0, 1, 1], sure=0.8), [])
    np.testing.assert_allclose(found.confidence.confidence, 0.8)
    np.testing.assert_allclose(found.confidence.expected, 0.8)
    assert np.isnan(found.confidence.agreement).all() and found.temperature == 1


def test_confidence_is_the_mean_of_softened_probabilities_and_on_average_the_agreement(rng):
    labels = rng.integers(3, size=400)
    ours = classes_of(labels, sure=0.95)
    others = []
    for share in (0.6, 0.8):
        stray = np.where(rng.uniform(size=400) < share, labels, (labels + rng.integers(1, 3, size=400)) % 3)
        others.append(classes_of(stray, sure=0.97))
    found = combine(ours, others)
    assert found.temperature > 1
    assert found.confidence.confidence.mean() == pytest.approx(found.confidence.agreement.mean(), abs=1e-4)
    by_hand = np.zeros(400)
    for run in (ours, *others):
        softened = run.expected ** (1 / found.temperature)
        by_hand += softened[np.arange(400), labels] / softened.sum(axis=1) / 3
    np.testing.assert_allclose(found.confidence.confidence, by_hand, atol=1e-4)


def test_a_class_that_another_run_has_not_is_not_believed_by_it():
    labels = np.repeat([0, 1, 2], 20)
    other = classes_of(np.where(labels == 2, 1, labels), sure=1.0)
    found = combine(classes_of(labels, sure=1.0), [other])
    np.testing.assert_array_equal(found.confidence.agreement, labels != 2)
    assert (
        found.confidence.confidence[labels == 2].max() < 0.5 < found.confidence.confidence[labels == 0].min()
    )


def test_runs_that_agree_less_than_chance_leave_no_confidence():
    ours = classes_of(np.repeat([0, 1], 10), sure=0.99)
    # All of the other run lies in one class, and half of it disagrees; softened as far as it goes.
    other = classes_of(np.zeros(20, dtype=int), sure=0.99, count=2)
    found = combine(ours, [other])
    assert 1 < found.temperature <= HOTTEST
    assert np.all((found.confidence.confidence >= 0) & (found.confidence.confidence <= 1))


def test_of_runs_that_differ_as_the_truth_does_the_confidence_is_calibrated():
    """Every particle has classes that it may be of; trainings and the truth are draws of these."""
    rng = np.random.default_rng(5)
    count, classes, runs = 8000, 4, 5
    possible = rng.dirichlet([0.15] * classes, size=count)
    drawn = (rng.uniform(size=(runs + 1, count, 1)) > possible.cumsum(axis=1)).sum(axis=2)
    truth, labels = drawn[0], drawn[1:]
    ours, *others = [classes_of(one, sure=0.99, count=classes) for one in labels]
    right = labels[0] == truth
    alone = combine(ours, []).confidence.confidence
    found = combine(ours, others).confidence.confidence
    assert expected_calibration_error(alone, right) > 0.15
    assert expected_calibration_error(found, right) < 0.05
    assert found.mean() == pytest.approx(right.mean(), abs=0.02)
    assert right[found > np.median(found)].mean() > right.mean() + 0.1


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three runs whose content codes are in three groups, each time in another place and order."""
    folder = tmp_path_factory.mktemp("restarts")
    made = [make_run(folder / name, count=COUNT) for name in ("first", "second", "third")]
    for seed, run in enumerate(made):
        write_codes(run, seed)
    return made


def write_codes(run: RunFolder, seed: int, stray: int = 0, keep: int = COUNT) -> None:
    """Codes in three groups, with posteriors; the first `stray` particles lie in a wrong one."""
    rng = np.random.default_rng(seed)
    ids = np.sort(run.codes.ids)
    group = np.where(np.arange(COUNT) < stray, (GROUP + 1) % 3, GROUP)
    corners = rng.permutation(np.array([[0.0, 0], [4, 0], [0, 4]]))
    content = corners[group] + rng.normal(0, 0.3, (COUNT, 2))
    order = rng.permutation(COUNT)[:keep] if keep < COUNT else rng.permutation(COUNT)
    Codes(
        ids[order],
        content[order].astype(np.float32),
        rng.normal(size=(COUNT, 1)).astype(np.float32)[order],
        np.full((len(order), 2), np.log(0.25), dtype=np.float32),
        np.full((len(order), 1), -2, dtype=np.float32),
    ).save(run.path / CODES)


def rows_of(clusters: Clusters, run: RunFolder) -> list[dict[str, str]]:
    with (run.path / "clusters" / clusters.name / "classes.csv").open() as handle:
        return list(csv.DictReader(handle))


def test_runs_in_another_order_agree_and_are_written(runs):
    run, second, third = runs
    clusters = cluster_run(run, count=3, others=[second.path, third])
    assert clusters.confidence is not None
    np.testing.assert_array_equal(clusters.confidence.agreement, 1)
    rows = rows_of(clusters, run)
    assert list(rows[0])[:4] == ["id", "class", "probability", "nearest_rank"]
    assert list(rows[0])[7:] == ["expected_probability", "agreement", "confidence"]
    assert all(float(row["agreement"]) == 1 for row in rows)
    assert [float(row["confidence"]) for row in rows] == clusters.confidence.confidence.tolist()
    # Posteriors reach from one group towards the next: what is certain of the mean is not of the particle.
    assert min(float(row["probability"]) for row in rows) > 0.999
    assert 0.5 < min(float(row["expected_probability"]) for row in rows) < 0.999
    record = json.loads((run.path / "clusters/content/clusters.json").read_text())
    assert record["settings"]["with"] == [str(second.path), str(third.path)]
    assert record["confidence"] == {
        "posteriors": [True, True, True],
        "temperature": 1.0,
        "shared": [COUNT, COUNT],
        "agreement": [1.0, 1.0],
    }
    loaded = Clusters.load(run, "content")
    assert loaded.confidence is not None
    for name in ("expected", "agreement", "confidence"):
        np.testing.assert_array_equal(getattr(loaded.confidence, name), getattr(clusters.confidence, name))


def test_particles_that_stray_in_another_run_are_less_sure(runs, tmp_path):
    other = make_run(tmp_path / "stray", count=COUNT)
    write_codes(other, 7, stray=12, keep=80)
    run, second, _ = runs
    clusters = cluster_run(run, count=3, others=[other, second], name="stray")
    assert clusters.confidence is not None and clusters.record["confidence"]["shared"] == [80, COUNT]
    strayed = np.arange(COUNT) < 12
    there = np.isin(clusters.ids, other.codes.ids)
    np.testing.assert_array_equal(clusters.confidence.agreement[strayed & there], 0.5)
    np.testing.assert_array_equal(clusters.confidence.agreement[strayed & ~there], 1)
    np.testing.assert_array_equal(clusters.confidence.agreement[~strayed], 1)
    confidence = clusters.confidence.confidence
    assert confidence[strayed & there].max() < 0.7 < confidence[~strayed].min()


def test_others_that_are_no_restarts_are_refused(runs, tmp_path):
    run, second, _ = runs

    def refused(others, message, error=RunError, **options):
        with pytest.raises(error, match=message):
            cluster_run(run, count=3, others=others, name="refused", **options)
        assert not (run.path / "clusters/refused").exists()

    refused([run], "is the run itself")
    shutil.copytree(runs[0].path, tmp_path / "copy")
    refused([tmp_path / "copy"], "has the same codes as .*first")
    refused([second, second], "has the same codes as .*second")
    refused([tmp_path / "nothing"], "not a run folder")
    few = make_run(tmp_path / "few", count=COUNT)
    write_codes(few, 3, keep=44)
    refused([few], "has 44 of the 90 particles of .*name a run on the same images")
    untrained = make_run(tmp_path / "untrained", count=COUNT)
    (untrained.path / CODES).unlink()
    refused([untrained], "finish the run with")
    dead = make_run(tmp_path / "dead", count=COUNT)
    codes = dead.codes
    Codes(codes.ids, np.ones_like(codes.content), codes.transformation).save(dead.path / CODES)
    refused([dead], "dead: content codes: every particle has the same code", SettingError)
    refused([], "--min-confidence 1.5", SettingError, min_confidence=1.5)
    refused([], "not from a STAR file", SettingError, min_confidence=0.5)
    refused([], "not from a STAR file", SettingError, confidence_column="rlnParticleFigureOfMerit")
    refused([], "give a label", SettingError, confidence_column="two words")


def test_a_method_without_posteriors_uses_its_codes_and_says_so(tmp_path):
    run = make_run(tmp_path / "run", count=COUNT)
    clusters = cluster_run(run, count=2)
    said = "\n".join(confidence_lines(clusters))
    assert "A method has no posterior" in said and "Agreement is not known" in said
    assert clusters.confidence is not None
    np.testing.assert_allclose(clusters.confidence.expected, clusters.classes.probability, atol=2e-6)
    np.testing.assert_array_equal(clusters.confidence.confidence, clusters.confidence.expected)
    assert {row["agreement"] for row in rows_of(clusters, run)} == {""}
    assert clusters.record["confidence"]["posteriors"] == [False]


def test_classes_of_earlier_versions_are_read_and_edited(runs):
    _, run, _ = runs
    new = cluster_run(run, count=3, name="old")
    path = run.path / "clusters" / "old"
    with (path / "classes.csv").open(newline="") as handle:
        rows = [row[:7] for row in csv.reader(handle)]
    with (path / "classes.csv").open("w", newline="") as handle:
        csv.writer(handle, lineterminator="\n").writerows(rows)
    record = json.loads((path / "clusters.json").read_text())
    for key in ("confidence", "calibration"):
        del record[key]
    for key in ("with", "min_confidence", "confidence_column"):
        del record["settings"][key]
    (path / "clusters.json").write_text(json.dumps(record))
    old = Clusters.load(run, "old")
    assert old.confidence is None
    np.testing.assert_array_equal(old.classes.names, new.classes.names)
    np.testing.assert_array_equal(old.classes.nearest_rank, new.classes.nearest_rank)
    assert "confidence (old)" not in columns_of(run, run.codes, None)
    assert "probability (old)" in columns_of(run, run.codes, None)
    class_section(run, old, only=False, generative=True)
    merged = merge_classes(old, ["1", "2"], "1", run.codes.select(old.ids).content)
    written = write_edited(run, merged, run.open_source())
    assert Clusters.load(run, written.name).confidence is None


def test_confidence_goes_along_with_edits_and_to_the_explorer_and_the_report(runs):
    run, second, _ = runs
    clusters = cluster_run(run, count=3, others=[second], name="seen")
    assert clusters.confidence is not None
    columns = columns_of(run, run.codes, None)
    by_id = dict(zip(clusters.ids.tolist(), clusters.confidence.confidence.tolist(), strict=True))
    assert columns["confidence (seen)"].values.tolist() == [by_id[each] for each in run.codes.ids.tolist()]
    assert columns["confidence (seen)"].is_measured and "agreement of runs (seen)" in columns
    merged = merge_classes(clusters, ["1", "2"], "1", run.codes.select(clusters.ids).content)
    loaded = Clusters.load(run, write_edited(run, merged, run.open_source()).name)
    assert loaded.confidence is not None
    np.testing.assert_array_equal(loaded.confidence.confidence, clusters.confidence.confidence)
    assert loaded.record["confidence"] == clusters.record["confidence"]
    how = class_section(run, clusters, only=False, generative=True).how
    assert (
        f"mean confidence is {clusters.confidence.confidence.mean():.2f}" in how and "by 1 other run." in how
    )


def test_calibration_is_recorded_where_there_are_labels(tmp_path):
    """Blobs of three masses, named by them; two labels are exchanged."""
    run = make_run(tmp_path / "run", count=COUNT)
    labels = run.source.labels
    assert labels is not None
    kind = next(factor for factor in labels.factors if factor.name == "kind")
    first, second = (int(np.flatnonzero(kind.values == name)[0]) for name in ("small", "large"))
    kind.values[[first, second]] = kind.values[[second, first]]
    clusters = cluster_run(run, count=3)
    found = clusters.record["calibration"]
    assert found["factor"] == "kind" and found["particles"] == COUNT
    assert found["confidence"]["accuracy"] == pytest.approx(88 / 90)
    # All are sure, and two in ninety wrong.
    assert clusters.confidence is not None and clusters.confidence.confidence.min() > 0.99
    assert found["confidence"]["ece"] == pytest.approx(2 / 90, abs=0.01)
    assert sum(one["count"] for one in found["confidence"]["bins"]) == COUNT
    unlabelled = make_run(tmp_path / "unlabelled", count=COUNT, labelled=False)
    assert cluster_run(unlabelled, count=3).record["calibration"] is None


@pytest.mark.parametrize("suffix", [".npz", ".parquet", ".zarr"])
def test_codes_with_classes(runs, tmp_path, suffix):
    run, second, _ = runs
    clusters = cluster_run(run, count=3, others=[second], conformations=2, name="codes", overwrite=True)
    assert clusters.confidence is not None
    path = write_class_codes(tmp_path / f"codes{suffix}", clusters, run.codes)
    codes = Codes.load(path)
    np.testing.assert_array_equal(codes.ids, clusters.ids)
    np.testing.assert_array_equal(codes.content, run.codes.select(clusters.ids).content)
    if suffix == ".parquet":
        import pandas as pd

        table = pd.read_parquet(path)
        there = {name: table[name].to_numpy() for name in table.columns}
    else:
        there = read_arrays(path)
    np.testing.assert_array_equal(there["class"].astype(str), clusters.classes.names)
    np.testing.assert_array_equal(there["confidence"], clusters.confidence.confidence)
    np.testing.assert_array_equal(there["agreement"], clusters.confidence.agreement)
