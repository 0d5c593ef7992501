import base64
import dataclasses
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddpm_lightning.report.rendering.aligned_samples import read_aligned_samples
from ddpm_lightning.report.rendering.curves import read_panels
from ddpm_lightning.report.rendering.figures import write_figures
from ddpm_lightning.report.rendering.html import write_html
from ddpm_lightning.report.table import Table

NASTY = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&amp;"


class Page(HTMLParser):
    """The elements of a page, as a browser's parser finds them, each with the text directly in it."""

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
    """`write(table)`: the source of the table's page, with all figures the table has."""

    def write(table: Table, title="T", command="c") -> str:
        path = tmp_path / "report.html"
        samples = read_aligned_samples(table)
        figures = write_figures(table, samples, read_panels(table), tmp_path)
        write_html(table, samples, figures, path, title, command)
        return path.read_text()

    return write


def content_of(image: dict[str, str]) -> bytes:
    return base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))


def strips_of(page: Page) -> list[np.ndarray]:
    images = [attributes for attributes, _ in page.all("img") if attributes["alt"].startswith("Samples of")]
    return [np.asarray(Image.open(io.BytesIO(content_of(image)))) for image in images]


def test_the_page_loads_nothing(eight, write):
    source = write(eight)
    page = Page(source)
    assert not page.all("link")
    for _, attributes, _ in page.elements:
        assert (attributes.get("src") or "data:").startswith("data:")
        assert "href" not in attributes
    assert "://" not in source
    assert not re.search(r"fetch\(|XMLHttpRequest|import\(|@import|url\(", source)
    assert page.all("meta", http_equiv="Content-Security-Policy")[0][0]["content"].startswith("default-src 'none'")


def test_a_page_of_eight_configurations_is_below_a_megabyte(eight, write):
    assert len(write(eight)) < 1_000_000


def test_every_figure_is_in_the_page_with_alt_and_caption(eight, write, tmp_path):
    page = Page(write(eight))
    images = {content_of(attributes): attributes for attributes, _ in page.all("img")}
    captions = [text for _, text in page.all("figcaption")]
    alts = {
        "intervals.png": "Scores with 95 % intervals",
        "effects.png": "Main effects with 95 % intervals",
        "cost_quality.png": "Scores against the number of sampling steps",
        "curves.png": "Training curves",
    }
    for name, alt in alts.items():
        image = images[(tmp_path / name).read_bytes()]
        assert image["alt"] == alt
    assert "Scores, best KID (lenet) first." in captions
    assert len(captions) == len(images) == 8 + len(alts)


def test_figures_that_a_table_lacks_are_not_in_its_page(make_table, write):
    page = Page(write(make_table({}, seeds=(0,))))
    assert [attributes["alt"] for attributes, _ in page.all("img")] == [
        "Scores with 95 % intervals",
        "Samples of all runs",
    ]
    assert "Curves" not in [text for _, text in page.all("h2")]


def test_values_cannot_break_out_of_text_or_attributes(make_table, write):
    table = make_table({NASTY: [NASTY, "b"]}, seeds=(0, 1), logs=True)
    table = dataclasses.replace(table, notes=[NASTY])
    page = Page(write(table, title=NASTY, command=NASTY))
    assert len(page.all("script")) == 1
    assert not page.all("img", src="x")
    assert page.all("h1")[0][1] == NASTY
    assert page.all("code")[0][1] == NASTY
    assert page.all("legend")[0][1] == NASTY
    assert page.all("input")[0][0]["value"] == NASTY
    assert page.all("td")[0][0]["data-key"] == NASTY


def test_rows_have_exact_values_to_sort_by(eight, write):
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
    [
        ("kid_lenet", "ascending", "Lower is better."),
        ("recall_lenet", "descending", "Higher is better for recall (lenet), lower for the others."),
    ],
)
def test_the_page_says_which_direction_is_better(make_table, write, first, order, words):
    source = write(make_table({"schedule": ["a", "b"]}, metrics=[first, "noise_mae"]))
    headings = [attributes["aria-sort"] for attributes, _ in Page(source).all("th")]
    assert headings[:3] == ["none", order, "none"]
    assert words in source


def test_samples_in_the_page_are_those_of_the_runs(eight, write):
    strips = strips_of(Page(write(eight)))
    assert len(strips) == 8
    np.testing.assert_array_equal(strips[2], read_aligned_samples(eight).strips[2][0])


def test_colour_images_keep_their_colours(make_table, write):
    table = make_table({}, seeds=(0,))
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 8, 8), np.uint8)
    np.savez(table.rows[0].runs[0].folder / "samples.npz", images=images)
    (strip,) = strips_of(Page(write(table)))
    np.testing.assert_array_equal(strip[:, :8].transpose(2, 0, 1), images[0])


def test_unknown_scores_are_dashes_and_sorted_last(make_table, write):
    table = make_table({"schedule": ["a", "b"]}, seeds=(0,), metrics=["kid_lenet"])
    nan = float("nan")
    broken = dataclasses.replace(table.rows[1].estimates["kid_lenet"], mean=nan, values={0: nan})
    rows = [table.rows[0], dataclasses.replace(table.rows[1], estimates={"kid_lenet": broken}, cost={})]
    source = write(dataclasses.replace(table, rows=rows))
    assert not re.search(r"\bnan\b", re.sub(r'data:[^"]*', "", source.partition("<script")[0]), re.IGNORECASE)
    assert [attributes["data-key"] for attributes, _ in Page(source).all("td")][6:12] == ["b", "", "1", "", "", ""]


def test_choices_of_a_factor_are_sorted_by_size(make_table, write):
    page = Page(write(make_table({"sampler.steps": ["100", "none", "25", "5"]})))
    assert [attributes["value"] for attributes, _ in page.all("input")] == ["5", "25", "100", "none"]
