"""Classes that are merged and renamed: members by id, ranks by distance, the original untouched."""

import numpy as np
import pytest

from blobs import make_run
from dualcontrast.class_edits import merge_classes, rename_class, write_edited
from dualcontrast.class_finding import cluster_run
from dualcontrast.clusters import Clusters, clusterings_of, delete_clusters, in_order
from dualcontrast.errors import SettingError
from dualcontrast.figures.class_section import class_section
from dualcontrast.figures.run_figures import class_colouring


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run", count=90)


@pytest.fixture
def clusters(run):
    return cluster_run(run, count=3, conformations=2, progress=False)


def test_a_merged_class_has_the_members_of_both_ranked_by_distance(run, clusters):
    codes = run.codes.select(clusters.ids).content
    merged = merge_classes(clusters, ["1", "3"], "shell", codes)
    assert merged.class_names == ["2", "shell"]
    members = merged.members("shell")
    assert set(members) == {*clusters.members("1"), *clusters.members("3")}
    of_members = run.codes.select(members).content
    distances = np.linalg.norm(of_members - of_members.mean(axis=0), axis=1)
    assert np.all(np.diff(distances) >= -1e-6)
    np.testing.assert_array_equal(merged.members("2"), clusters.members("2"))
    # Conformations stay what they were, numbered on.
    assert merged.conformation_names == ["2.1", "2.2", "shell.1", "shell.2", "shell.3", "shell.4"]
    assert set(merged.members("shell.3")) == set(clusters.members("3.1"))
    np.testing.assert_array_equal(merged.classes.probability, clusters.classes.probability)


def test_a_renamed_class_takes_its_conformations_along(clusters):
    renamed = rename_class(clusters, "2", "ribosome")
    assert renamed.class_names == ["1", "3", "ribosome"]
    np.testing.assert_array_equal(renamed.members("ribosome"), clusters.members("2"))
    np.testing.assert_array_equal(renamed.members("ribosome.1"), clusters.members("2.1"))


def test_figures_are_coloured_by_classes_whatever_they_are_called(clusters):
    ids = clusters.ids[::-1]
    numbers = class_colouring(clusters, ids).values
    assert numbers.dtype.kind == "i"
    named = class_colouring(rename_class(clusters, "2", "ribosome"), ids).values
    assert named.tolist() == ["ribosome" if number == 2 else str(number) for number in numbers.tolist()]


def test_names_that_cannot_be_are_refused(run, clusters):
    codes = run.codes.select(clusters.ids).content
    for change, why in (
        (lambda: merge_classes(clusters, ["1"], "x", codes), "at least two"),
        (lambda: merge_classes(clusters, ["1", "1"], "x", codes), "at least two"),
        (lambda: merge_classes(clusters, ["1", "9"], "x", codes), "no class '9'"),
        (lambda: merge_classes(clusters, ["1", "2"], "3", codes), "there already"),
        (lambda: rename_class(clusters, "1", "2"), "there already"),
        (lambda: rename_class(clusters, "9", "x"), "no class '9'"),
        (lambda: rename_class(clusters, "1", "a.b"), "use letters"),
        (lambda: rename_class(clusters, "1", "../x"), "use letters"),
        (lambda: rename_class(clusters, "1", ""), "use letters"),
    ):
        with pytest.raises(SettingError, match=why):
            change()


def test_edits_are_a_clustering_of_their_own(run, clusters):
    written = write_edited(run, rename_class(clusters, "1", "a"), run.source)
    assert written.name == "content-edited"
    again = write_edited(run, rename_class(written, "2", "b"), run.source)
    assert again.name == "content-edited"
    loaded = Clusters.load(run, "content-edited")
    assert loaded.class_names == ["3", "a", "b"]
    assert loaded.record["settings"]["edited_from"] == "content"
    assert loaded.record["classes"]["a"]["particles"] == len(clusters.members("1"))
    assert Clusters.load(run, "content").class_names == ["1", "2", "3"]
    # A second edit of the original does not write over the first.
    assert write_edited(run, rename_class(clusters, "1", "z"), run.source).name == "content-edited-2"
    # The report shows them under their names, and says that they were edited.
    section = class_section(run, loaded, only=False, generative=True)
    assert [row.name for row in section.rows] == ["3", "3.1", "3.2", "a", "a.1", "a.2", "b", "b.1", "b.2"]
    assert section.rows[3].particles == len(clusters.members("1"))
    assert "Classes of 'content' were then merged or renamed by hand" in section.how
    delete_clusters(run, "content-edited")
    assert clusterings_of(run) == ["content", "content-edited-2"]
    assert not (run.path / "clusters/content-edited").exists()


def test_numbers_come_by_value_and_before_names():
    assert in_order(["b", "10", "2", "a.2", "a.10", "2.1"]) == ["2", "2.1", "10", "a.2", "a.10", "b"]
