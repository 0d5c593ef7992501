import base64
import dataclasses
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddpm_lightning.report.rendering.aligned_samples import read_aligned_samples
from ddpm_lightning.report.rendering.curves import Curve, Line, Panel, read_panels
from ddpm_lightning.report.rendering.html import write_html
from ddpm_lightning.report.table import Table

NASTY = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&amp;"


class Page(HTMLParser):
    """The elements of a page, as a browser's parser would find them, with the text directly in each."""

    def __init__(self, source: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), []))

    def handle_data(self, data):
        if self.elements:
            self.elements[-1][2].append(data)

    def all(self, tag, **attributes):
        return [
            (own, "".join(text).strip())
            for name, own, text in self.elements
            if name == tag and all(own.get(key.replace("_", "-")) == value for key, value in attributes.items())
        ]


@pytest.fixture
def write(tmp_path: Path):
    def write(table: Table, curves=None, title="T", command="c") -> str:
        path = tmp_path / "report.html"
        samples = read_aligned_samples(table)
        write_html(table, samples, read_panels(table) if curves is None else curves, path, title, command)
        return path.read_text()

    return write


def data_of(page: Page):
    ((_, text),) = page.all("script", type="application/json")
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_nothing_is_loaded_from_elsewhere(eight, write):
    source = write(eight)
    page = Page(source)
    assert not page.all("link")
    for _, attributes, _ in page.elements:
        assert (attributes.get("src") or "data:").startswith("data:")
        assert "href" not in attributes
    # The only address is the name of SVG's elements, which is never opened.
    assert set(re.findall(r"\w+://[^\s\"']+", source)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"fetch\(|XMLHttpRequest|import\(|@import|url\(", source)
    assert page.all("meta", http_equiv="Content-Security-Policy")[0][0]["content"].startswith("default-src 'none'")


def test_a_report_of_eight_configurations_is_below_a_megabyte(eight, write):
    assert len(write(eight)) < 1_000_000


def test_values_cannot_break_out_of_text_attributes_or_data(make_table, write):
    table = make_table({NASTY: [NASTY, "b"]}, seeds=(0, 1), logs=True)
    table = dataclasses.replace(table, notes=[NASTY])
    page = Page(write(table, title=NASTY, command=NASTY))
    assert len(page.all("script")) == 2
    assert not page.all("img", src="x")
    assert page.all("h1")[0][1] == NASTY
    assert page.all("code")[0][1] == NASTY
    assert page.all("fieldset")[0][0]["data-factor"] == NASTY
    assert page.all("input")[0][0]["value"] == NASTY
    assert data_of(page)["configurations"] == [{NASTY: NASTY}, {NASTY: "b"}]


def test_rows_hold_the_exact_keys_to_sort_by(eight, write):
    page = Page(write(eight))
    assert [attributes["data-row"] for attributes, _ in page.all("tr") if "data-row" in attributes] == list("01234567")
    keys = [attributes["data-key"] for attributes, _ in page.all("td")]
    columns = 3 + 4 + 1 + 3
    first = keys[:columns]
    assert first[:3] == ["cosine", "noise", "10"]
    assert [float(key) for key in first[3:7]] == [eight.rows[0].estimates[metric].mean for metric in eight.metrics]
    assert [float(key) for key in first[7:]] == [3, 1.5e6, 812.0, 4000.0]


@pytest.mark.parametrize(
    ("first", "order", "words"),
    [("kid_lenet", "ascending", "is an improvement. These"), ("recall_lenet", "descending", "(lenet) a positive one.")],
)
def test_the_page_says_which_way_is_better(make_table, write, first, order, words):
    source = write(make_table({"schedule": ["a", "b"]}, metrics=[first, "noise_mae"]))
    headings = [attributes["aria-sort"] for attributes, _ in Page(source).all("th")]
    assert headings[:3] == ["none", order, "none"]
    assert words in source


def test_samples_inside_are_those_of_the_runs(eight, write):
    images = Page(write(eight)).all("img")
    assert len(images) == 8
    content = base64.b64decode(images[2][0]["src"].removeprefix("data:image/png;base64,"))
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(content))), read_aligned_samples(eight).strips[2][0])


def test_colour_images_keep_their_colours(make_table, write):
    table = make_table({}, seeds=(0,))
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 8, 8), np.uint8)
    np.savez(table.rows[0].runs[0].folder / "samples.npz", images=images)
    (image,) = Page(write(table)).all("img")
    content = base64.b64decode(image[0]["src"].removeprefix("data:image/png;base64,"))
    picture = np.asarray(Image.open(io.BytesIO(content)))
    np.testing.assert_array_equal(picture[:, :8].transpose(2, 0, 1), images[0])


def test_curves_are_thinned_and_hold_their_run(eight, write):
    panels = data_of(Page(write(eight)))["panels"]
    assert [panel["title"] for panel in panels] == ["training loss", "validation loss", "validation KID (lenet)"]
    for panel in panels:
        assert [(line["row"], line["seed"]) for line in panel["lines"]] == [
            (row, s) for row in range(8) for s in range(3)
        ]
        assert all(0 < len(line["points"]) <= 300 for line in panel["lines"])


def test_values_that_are_no_numbers_are_gaps(make_table, write):
    curve = Curve(np.arange(3), np.array([1.0, np.nan, np.inf]))
    panels = data_of(Page(write(make_table({}), [Panel("loss", [Line(0, 0, curve)])])))["panels"]
    assert panels[0]["lines"][0]["points"] == [[0, 1.0], [1, None], [2, None]]


def test_unknown_scores_are_dashes_without_a_key(make_table, write):
    table = make_table({"schedule": ["a", "b"]}, seeds=(0,), metrics=["kid_lenet"])
    nan = float("nan")
    broken = dataclasses.replace(table.rows[1].estimates["kid_lenet"], mean=nan, values={0: nan})
    rows = [table.rows[0], dataclasses.replace(table.rows[1], estimates={"kid_lenet": broken}, cost={})]
    source = write(dataclasses.replace(table, rows=rows))
    assert not re.search(r"\bnan\b", source.partition("<script")[0], re.IGNORECASE)
    assert [attributes["data-key"] for attributes, _ in Page(source).all("td")][6:12] == ["b", "", "1", "", "", ""]


def test_bars_share_a_scale_within_a_column(eight, write):
    lines = [attributes for attributes, _ in Page(write(eight)).all("line") if attributes.get("class") is None]
    first_metric = [(float(line["x1"]), float(line["x2"])) for line in lines[: 4 * 8 : 4]]
    estimates = [row.estimates["kid_lenet"] for row in eight.rows]
    ends = np.array([(estimate.low, estimate.high) for estimate in estimates])
    scaled = 2 + 96 * (ends - ends.min()) / (ends.max() - ends.min())
    np.testing.assert_allclose(first_metric, scaled, atol=0.01)


def test_choices_of_a_factor_are_in_the_order_of_their_size(make_table, write):
    page = Page(write(make_table({"sampler.steps": ["100", "none", "25", "5"]})))
    assert [attributes["value"] for attributes, _ in page.all("input")] == ["5", "25", "100", "none"]
