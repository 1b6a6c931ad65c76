import json

import numpy as np
import pytest

from blobs import DeadTransformation, Leaky, Mute, blob_source, make_run
from dualcontrast.data.labels import Factor, LabelTable
from dualcontrast.data.split import Split
from dualcontrast.errors import DataError, RunError
from dualcontrast.evaluation import evaluate as evaluate_module
from dualcontrast.evaluation.evaluate import evaluate, evaluate_run
from dualcontrast.evaluation.inference import read_prepared
from dualcontrast.evaluation.readings import lookup, readings
from dualcontrast.evaluation.words import collapse_sentences, next_steps, notes, overall


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run")


def test_a_perfect_method_has_perfect_scores(run):
    found = evaluate_run(run)
    assert found["d_score"]["content"]["from_content"] == 1
    assert found["d_score"]["content"]["from_transformation"] < 0.5
    assert found["d_score"]["transformation"]["from_transformation"] > 0.999
    assert found["d_score"]["transformation"]["from_content"] < 0.1
    assert found["d_score"]["content"]["factors"][0]["train_images"] == 200
    assert found["d_score"]["content"]["factors"][0]["test_images"] == 100
    assert found["clustering"]["gmm_accuracy"] == 1
    assert found["images"] == {"train": 200, "test": 100, "labelled": 300}
    assert overall(found)[0] == "good"


@pytest.mark.parametrize(
    "key",
    [
        "d_score.content.from_content",
        "d_score.content.from_transformation",
        "d_score.transformation.from_content",
        "d_score.transformation.from_transformation",
        "clustering.gmm_accuracy",
        "clustering.ari",
        "clustering.nmi",
        "diagnostics.content_invariance",
        "diagnostics.transformation_response",
        "diagnostics.rotation_readout.from_content",
        "diagnostics.rotation_readout.from_transformation",
        "diagnostics.swap_consistency.content",
        "diagnostics.swap_consistency.transformation",
        "diagnostics.cross_predictability.content_from_transformation.linear",
        "diagnostics.cross_predictability.transformation_from_content.nonlinear",
        "diagnostics.active_dimensions.content.by_variance",
        "diagnostics.reconstruction.mse",
        "diagnostics.reconstruction.relative",
    ],
)
def test_the_file_holds_every_key(key, evaluated):
    assert isinstance(lookup(evaluated, key), int | float)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("evaluated") / "run")
    evaluate_run(run)
    return json.loads((run.path / "evaluation.json").read_text())


def test_what_is_returned_is_what_is_written(run):
    assert evaluate_run(run) == run.evaluation


def test_an_evaluation_is_replaced_only_when_asked(run):
    (run.path / "evaluation.json").write_text("{}")
    with pytest.raises(RunError, match=r"evaluation\.json.*--overwrite"):
        evaluate_run(run)
    assert run.evaluation == {}
    evaluate_run(run, overwrite=True)
    assert "d_score" in run.evaluation


def test_images_without_labels_get_the_measures_that_need_none(tmp_path):
    found = evaluate_run(make_run(tmp_path / "run", labelled=False))
    assert found["d_score"]["content"]["from_content"] is None
    assert "no content labels" in found["d_score"]["content"]["reason"]
    assert found["clustering"]["ari"] is None
    assert found["clustering"]["reason"]
    assert found["diagnostics"]["rotation_readout"]["from_transformation"] > 0.9
    assert any("--labels" in step for step in next_steps(found, volumes=False))
    assert overall(found)[0] == "good"


def test_labels_can_be_given(run):
    ids = run.source.ids
    nonsense = LabelTable(ids, (Factor("coin", "content", np.random.default_rng(5).integers(2, size=300)),))
    found = evaluate_run(run, nonsense)
    assert [factor["name"] for factor in found["d_score"]["content"]["factors"]] == ["coin"]
    assert found["d_score"]["content"]["from_content"] < 0.7


def test_labels_of_other_particles_are_refused(run):
    strangers = LabelTable(np.array(["x", "y"]), (Factor("kind", "content", np.array([0, 1])),))
    with pytest.raises(RunError, match="none of the 2 ids"):
        evaluate_run(run, strangers)
    assert not (run.path / "evaluation.json").exists()


def test_labels_of_more_particles_than_the_run_has(run):
    split = Split(run.split.train[:100], run.split.test[:50])
    found = evaluate(run.method, run.codes, run.source, run.preparation, split)
    assert found["images"] == {"train": 100, "test": 50, "labelled": 150}
    assert found["diagnostics"]["images"] == 50


def test_few_held_out_images_are_said(run):
    split = Split(run.split.train, run.split.test[:5])
    found = evaluate(run.method, run.codes, run.source, run.preparation, split)
    assert found["diagnostics"]["held_out"] is False
    assert any("include training images" in note for note in notes(found))


def test_a_dead_code_is_not_praised(tmp_path):
    found = evaluate_run(make_run(tmp_path / "run", DeadTransformation()))
    level, verdict = overall(found)
    assert level == "poor"
    assert "z collapsed" in verdict
    assert found["verdict"][0] == verdict
    assert "COLLAPSED" in " ".join(collapse_sentences(found))
    leak = next(r for r in readings(found) if r.key == "d_score.content.from_transformation")
    # z tells nothing of the content, which would be a perfect score.
    assert leak.value == pytest.approx(found["d_score"]["content"]["chance"])
    assert (leak.level, leak.quality) == ("poor", 0)
    assert "z has collapsed" in leak.meaning


def test_codes_the_wrong_way_round_are_called_leaking(tmp_path):
    found = evaluate_run(make_run(tmp_path / "run", Leaky()))
    level, verdict = overall(found)
    assert level == "fair"
    assert "z still tells" in verdict
    assert "c still changes" in verdict


def test_a_code_that_does_not_survive_decoding_is_named(evaluated):
    poor = json.loads(json.dumps(evaluated))
    poor["diagnostics"]["swap_consistency"]["content"] = 0.2
    assert overall(poor) == (
        "fair",
        "Both codes are alive and little leaks between them, but c is not drawn faithfully by the decoder.",
    )


def test_a_method_without_a_decoder(tmp_path):
    found = evaluate_run(make_run(tmp_path / "run", Mute()))
    assert found["diagnostics"]["swap_consistency"]["content"] is None
    swap = next(r for r in readings(found) if r.key == "diagnostics.swap_consistency.content")
    assert swap.value is None
    assert "no decoder" in swap.meaning


def test_levels_follow_their_bounds(evaluated):
    for reading in readings(evaluated):
        assert reading.quality is not None
        fair, good = reading.bounds
        assert reading.level == (
            "good" if reading.quality >= good else "fair" if reading.quality >= fair else "poor"
        )


def test_advice_names_settings_that_exist(tmp_path):
    from dualcontrast.methods.dualcontrast import Weights

    found = evaluate_run(make_run(tmp_path / "run", Leaky()))
    found["method"] = "dualcontrast"
    for key in ("content_invariance", "rotation_readout", "reconstruction"):
        found["diagnostics"][key] = {
            "content_invariance": 2.0,
            "rotation_readout": {"from_content": 1.0, "from_transformation": 0.0},
            "reconstruction": {"mse": 1.0, "relative": 1.0},
        }[key]
    steps = next_steps(found, volumes=False)
    assert len(steps) == 4
    named = {
        word.split("=")[0] for step in steps for word in step.replace("`", " ").split() if "weights." in word
    }
    assert named
    assert {name.removeprefix("weights.") for name in named} <= set(vars(Weights()))


def test_a_dead_code_gets_no_advice_about_leaks(evaluated):
    """What is measured of it is poor because it is dead."""
    found = json.loads(json.dumps(evaluated)) | {"method": "dualcontrast"}
    found["diagnostics"]["collapse"]["content"] = {"collapsed": True, "why": "the decoder ignores it"}
    assert "poor" in [
        reading.level for reading in readings(found) if reading.key.endswith("groups.from_content")
    ]
    steps = " ".join(next_steps(found, volumes=False))
    assert "Bring c back" in steps
    assert "moves with the pose" not in steps and "knows the content" not in steps
    assert "reclassify" not in steps


def test_collapsed_subtomograms_are_sent_to_averages(evaluated):
    found = json.loads(json.dumps(evaluated)) | {"method": "dualcontrast"}
    assert "reclassify" not in " ".join(next_steps(found, volumes=True))
    found["diagnostics"]["collapse"]["content"] = {"collapsed": True, "why": "the decoder ignores it"}
    assert "dualcontrast reclassify RUN" in next_steps(found, volumes=True)[0]


def test_ids_that_are_not_in_the_data_are_named(run):
    with pytest.raises(DataError, match="no image with the id 'nobody'"):
        read_prepared(run.source, run.preparation, np.array(["p0001", "nobody"]))


def test_images_come_back_in_the_order_of_the_ids():
    source = blob_source(20)
    run_ids = source.ids[[7, 3, 11]]

    class Same:
        def check_source(self, source):
            pass

        def apply(self, images):
            return images

    np.testing.assert_array_equal(read_prepared(source, Same(), run_ids), source.images[[7, 3, 11]])  # type: ignore[arg-type]


def test_more_labelled_images_than_are_scored_are_a_fair_sample(run, monkeypatch):
    """The shares of the split and of the classes stay, and what is measured hardly moves."""
    whole = evaluate_run(run)
    monkeypatch.setattr("dualcontrast.evaluation.evaluate.MOST_SCORED", 150)
    seen = []
    score = evaluate_module.d_score
    monkeypatch.setattr(
        evaluate_module,
        "d_score",
        lambda codes, labels, *rest: (seen.append(labels), score(codes, labels, *rest))[1],
    )
    found = evaluate_run(run, overwrite=True)
    assert found["images"] == whole["images"] and found["scored"] == 150
    assert whole["scored"] == 300
    (labels,) = seen
    source = run.open_source().labels
    (shape,) = (factor.values for factor in labels.of_role("content"))
    (all_shapes,) = (factor.values for factor in source.of_role("content"))
    for value in np.unique(all_shapes):
        assert abs((shape == value).mean() - (all_shapes == value).mean()) < 0.02
    assert abs(np.isin(labels.ids, run.split.test).mean() - 1 / 3) < 0.02
    for key in ("d_score.content.from_content", "clustering.gmm_accuracy"):
        assert lookup(found, key) == 1
    assert any("a sample of 150 of the 300" in sentence for sentence in notes(found))
    assert not any("sample" in sentence for sentence in notes(whole))
    assert evaluate_run(run, overwrite=True) == found
