import dataclasses
import html
import re

import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt

from ddpm_lightning.report.rendering.figures import WrittenFigure
from ddpm_lightning.report.rendering.markdown import write_csv, write_markdown
from ddpm_lightning.report.table import Estimate, Table, Verdict

NASTY = "a|b *c* _d_ `e` <script>alert(1)</script> [x](y) $z$ &amp;"


def written(table: Table, tmp_path, title="T", command="c", figures=()) -> str:
    write_markdown(table, tmp_path / "report.md", title, command, list(figures))
    return (tmp_path / "report.md").read_text()


def shown(markdown: str) -> str:
    """The HTML that GitHub's dialect of Markdown gives."""
    return MarkdownIt("commonmark").enable("table").render(markdown)


def cells(markdown: str, table: int = 0) -> list[list[str]]:
    body = re.findall(r"<tbody>(.*?)</tbody>", shown(markdown), re.DOTALL)[table]
    return [
        [html.unescape(re.sub("<.*?>", "", cell)) for cell in re.findall(r"<td.*?>(.*?)</td>", line, re.DOTALL)]
        for line in re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)
    ]


def test_one_line_for_each_configuration_with_all_columns(eight, tmp_path):
    markdown = written(eight, tmp_path)
    header = re.findall(r"<th.*?>(.*?)</th>", shown(markdown))[:10]
    assert header[:5] == ["schedule", "loss_on", "sampler.steps", "KID (lenet)", "FID (lenet)"]
    assert header[7:] == ["n", "parameters", "images/s"]
    lines = cells(markdown)
    assert [line[:3] for line in lines] == [list(row.configuration.values()) for row in eight.rows]
    assert lines[0][7:] == ["3", "1.50 M", "812", "1 h 07 min"]
    assert len(cells(markdown, table=1)) == len(eight.effects)


def test_numbers_in_the_table_are_those_of_the_estimates(eight, tmp_path):
    for row, line in zip(eight.rows, cells(written(eight, tmp_path)), strict=True):
        mean, deviation, low, high = map(float, re.findall(r"[\d.]+", line[3]))
        estimate = row.estimates["kid_lenet"]
        expected = (estimate.mean, estimate.deviation, estimate.low, estimate.high)
        np.testing.assert_allclose((mean, deviation, low, high), expected, atol=5.01e-4)


def test_only_the_best_is_bold_and_ties_carry_a_mark(make_table, tmp_path):
    table = make_table({"schedule": ["a", "b"]}, metrics=["kid_lenet"])
    verdicts = [Verdict.BEST, Verdict.WORSE]
    rows = [
        dataclasses.replace(row, verdicts={"kid_lenet": one}) for row, one in zip(table.rows, verdicts, strict=True)
    ]
    bold = shown(written(dataclasses.replace(table, rows=rows), tmp_path))
    assert bold.count("<strong>") == 1
    assert "⁼" not in bold
    # The fixture's two rows are ties.
    ties = written(table, tmp_path)
    assert "**" not in ties
    assert [line[1].count("⁼") for line in cells(ties)] == [1, 1]


def test_special_characters_are_shown_literally(make_table, tmp_path):
    table = make_table({NASTY: [NASTY, "[16,16]", "unet_small"]}, metrics=["kid_lenet"])
    table = dataclasses.replace(table, notes=[NASTY])
    markdown = written(table, tmp_path, title=NASTY)
    page = shown(markdown)
    assert [line[0] for line in cells(markdown)] == [NASTY, "[16,16]", "unet_small"]
    assert f"<h1>{html.escape(NASTY)}</h1>" in page
    assert f"<li>{html.escape(NASTY)}</li>" in page
    assert "<script" not in page
    assert "unet_small" in markdown


def test_a_command_cannot_close_its_code_block(make_table, tmp_path):
    command = "a ``` b\n````\n# no heading"
    page = shown(written(make_table({}), tmp_path, command=command))
    assert html.escape(command) in page
    assert "<h1>no heading" not in page


def test_missing_values_are_dashes_and_never_nan(make_table, tmp_path):
    table = make_table({"schedule": ["a", "b"]}, seeds=(0,), metrics=["kid_lenet", "fid_lenet"])
    nan = float("nan")
    broken = dict.fromkeys(table.metrics, Estimate({0: nan}, nan, nan, nan, nan, ""))
    rows = [table.rows[0], dataclasses.replace(table.rows[1], estimates=broken, cost={})]
    effect = dataclasses.replace(table.effects[0], low=nan, high=nan)
    markdown = written(dataclasses.replace(table, rows=rows, effects=[effect]), tmp_path)
    assert not re.search(r"\bnan\b", markdown, re.IGNORECASE)
    assert cells(markdown)[1] == ["b", "–", "–", "1", "–", "–", "–"]  # noqa: RUF001
    assert "±" not in cells(markdown)[0][1]


def test_figures_are_shown_with_their_captions(make_table, tmp_path):
    figure = WrittenFigure(tmp_path / "samples.png", 7.0, "Samples", "Samples of seed_0_.")
    page = shown(written(make_table({}), tmp_path, figures=[figure]))
    assert '<img src="samples.png" alt="Samples"' in page
    assert "<p>Samples of seed_0_.</p>" in page


def test_csv_has_unrounded_numbers(eight, tmp_path):
    write_csv(eight, tmp_path / "report.csv")
    frame = pd.read_csv(tmp_path / "report.csv")
    assert frame["schedule"].tolist() == [row.configuration["schedule"] for row in eight.rows]
    for field, column in [("mean", "mean"), ("deviation", "sd"), ("low", "low"), ("high", "high")]:
        expected = [getattr(row.estimates["fid_lenet"], field) for row in eight.rows]
        assert frame[f"fid_lenet_{column}"].tolist() == pytest.approx(expected, rel=1e-15)
    assert frame["fid_lenet_n"].tolist() == [3] * 8
    assert frame["fid_lenet_verdict"].tolist() == ["tie"] * 2 + ["worse"] * 6
    assert frame["seeds"].tolist() == ["0 1 2"] * 8
    assert frame["parameters"].tolist() == [1.5e6] * 8


def test_csv_leaves_unknown_values_empty(make_table, tmp_path):
    table = make_table({"schedule": ["a", "b"]}, seeds=(0,), metrics=["kid_lenet"])
    nan = float("nan")
    unknown = {
        "estimates": {"kid_lenet": Estimate({}, nan, nan, nan, nan, "")},
        "verdicts": {"kid_lenet": Verdict.UNKNOWN},
    }
    rows = [table.rows[0], dataclasses.replace(table.rows[1], **unknown, cost={})]
    write_csv(dataclasses.replace(table, rows=rows), tmp_path / "report.csv")
    frame = pd.read_csv(tmp_path / "report.csv")
    assert frame["kid_lenet_sd"].isna().all()
    assert frame.loc[1, ["kid_lenet_mean", "wall_seconds"]].isna().all()
    assert frame.loc[1, "kid_lenet_n"] == 0
    assert frame.loc[1, "kid_lenet_verdict"] == "unknown"
