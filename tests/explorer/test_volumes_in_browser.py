"""The explorer in a real browser: what is there for volumes, and classes.

In a file of its own, so that another process may test it at the same time.
"""

from pathlib import Path

import pytest
import starfile

pytest.importorskip("playwright.sync_api", reason="playwright is not installed; see the extra `test`")

from playwright.sync_api import expect

import chromium
from dualcontrast import RunFolder
from dualcontrast.clusters import Clusters
from explored_runs import serving, volume_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def volumes(tmp_path_factory) -> Path:
    chromium.needed()
    return volume_run(tmp_path_factory.mktemp("explored"))


@pytest.fixture(scope="module")
def volumes_address(volumes):
    with serving(volumes) as address:
        yield address


def test_volumes_are_cut_turned_and_placed_in_their_tomogram(volumes_address, window):
    one = window(volumes_address)
    one.page.locator(".find-particle input").fill("TS_02/007")
    one.page.locator(".find-particle input").press("Enter")
    picture = one.page.locator(".particle-pictures img").first
    expect(picture).to_be_visible()
    sources = [picture.get_attribute("src")]
    draw = one.page.locator(".drawing select").first
    for way in ("one section", "surface"):
        draw.select_option(way)
        expect(picture).not_to_have_attribute("src", sources[-1])
        sources.append(picture.get_attribute("src"))
    level = one.page.locator(".drawing .noUi-handle").nth(1)
    level.focus()
    level.press("ArrowRight")
    expect(picture).not_to_have_attribute("src", sources[-1])
    expect(one.page.locator(".particle-facts")).to_contain_text("rlnDefocusU")
    title = one.page.evaluate(
        "() => [...Bokeh.documents[0].all_models].map((m) => m.text).find((t) => t?.startsWith?.('tomogram'))"
    )
    assert title.startswith("tomogram 02: 18 particles; this one at z = ")
    # The pointer on a point shows its picture.
    seen = one.map("content")
    one.page.mouse.move(*one.on_screen("content", seen["x"][0], seen["y"][0]))
    expect(one.page.locator(".bk-Tooltip img")).to_be_visible()


def test_classes_are_made_merged_named_taken_home_and_put_back(volumes, volumes_address, window, tmp_path):
    one = window(volumes_address)
    one.tab("Classes")
    one.page.locator(".new-low input").fill("2")
    one.page.locator(".new-low input").press("Enter")
    one.page.locator(".new-high input").fill("3")
    one.page.locator(".new-high input").press("Enter")
    one.page.locator(".new-name input").fill("mine")
    one.page.locator(".new-name input").press("Enter")
    one.press("cluster")
    one.says("done in")
    run = RunFolder.open(volumes)
    made = Clusters.load(run, "mine")
    assert set(made.record["fit"]["bic"]) == {"2", "3"}
    expect(one.page.locator(".colour-by select")).to_contain_text("class (mine)")

    one.page.locator(".clustering select").select_option("content")
    expect(one.page.locator(".class-counts")).to_contain_text("rlnTomoName")
    boxes = one.page.locator(".classes input[type=checkbox]")
    expect(boxes).to_have_count(3)
    boxes.nth(0).check()
    boxes.nth(1).check()
    one.page.locator(".class-name input").fill("shell")
    one.page.locator(".class-name input").press("Enter")
    one.press("merge")
    expect(boxes).to_have_count(2)
    before, edited = Clusters.load(run, "content"), Clusters.load(run, "content-edited")
    assert edited.class_names == ["3", "shell"]
    assert set(edited.members("shell")) == {*before.members("1"), *before.members("2")}
    assert (volumes / "clusters/content-edited/class-shell.star").is_file()

    one.page.locator(".classes label", has_text="shell").locator("input").check()
    one.press("select-classes")
    count = len(edited.members("shell"))
    expect(one.page.locator(".selected-count")).to_contain_text(f"{count} of 36")

    one.tab("Selections")
    one.page.locator(".export-kind select").select_option(label="STAR, all columns")
    one.page.locator(".export-name input").fill("shells")
    one.page.locator(".export-name input").press("Enter")
    one.press("export")
    with one.page.expect_download() as download:
        one.page.locator(".exported a", has_text="shells.star").click()
    path = tmp_path / "taken.star"
    download.value.save_as(path)
    whole = starfile.read(run.open_source().star_file, always_dict=True, parse_as_string=["rlnTomoName"])
    taken = starfile.read(path, always_dict=True, parse_as_string=["rlnTomoName"])
    expected = whole["particles"][whole["particles"]["rlnImageName"].isin(edited.members("shell"))]
    assert taken["particles"].equals(expected.reset_index(drop=True))
    assert taken["optics"].equals(whole["optics"])

    one.tab("Classes")
    one.press("decode")
    one.says("done in")
    with one.page.expect_download() as download:
        one.page.locator(".class-maps a", has_text="class-shell.mrc").click()
    assert Path(download.value.path()).stat().st_size > 32**3
    one.press("undo")
    one.press("undo")
    expect(one.page.locator(".message")).to_contain_text("editing the classes")
    assert "content-edited" not in [path.name for path in (volumes / "clusters").iterdir()]
    assert Clusters.load(run, "content").class_names == ["1", "2", "3"]
