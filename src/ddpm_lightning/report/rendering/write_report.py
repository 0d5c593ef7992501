"""All files of a sweep's report."""

from pathlib import Path

from ddpm_lightning.report.rendering.aligned_samples import read_aligned_samples
from ddpm_lightning.report.rendering.curves import read_panels
from ddpm_lightning.report.rendering.figures import write_figures
from ddpm_lightning.report.rendering.html import write_html
from ddpm_lightning.report.rendering.markdown import write_csv, write_markdown
from ddpm_lightning.report.table import Table


def write_report(table: Table, folder: Path, title: str, command: str) -> list[Path]:
    """Writes `report.md`, `report.csv`, `report.html` and the figures, replacing an earlier report in the folder.

    Args:
        table: the result to report; samples and curves are read from the folders of its runs.
        folder: where to write; created if absent.
        title: the report's heading.
        command: the shell command that reproduces the report.

    Returns:
        the files written.
    """
    samples = read_aligned_samples(table)
    figures = write_figures(table, samples, read_panels(table), folder)
    pages = [folder / "report.md", folder / "report.csv", folder / "report.html"]
    write_markdown(table, pages[0], title, command, figures)
    write_csv(table, pages[1])
    write_html(table, samples, figures, pages[2], title, command)
    return [*pages, *(figure.path for figure in figures)]
