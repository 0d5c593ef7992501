from ddpm_lightning.report.rendering.write_report import write_report


def test_all_files_are_written_and_named(make_table, tmp_path):
    table = make_table({"schedule": ["cosine", "linear"]}, seeds=(0, 1), logs=True)
    written = write_report(table, tmp_path / "new" / "report", "Schedules", "python report.py sweep")
    assert all(path.is_file() and path.parent == tmp_path / "new" / "report" for path in written)
    assert [path.name for path in written] == [
        "report.md",
        "report.csv",
        "report.html",
        "samples.png",
        "intervals.png",
        "effects.png",
        "curves.png",
    ]
    # No temporary file, and no figure that the report does not show.
    assert set((tmp_path / "new" / "report").iterdir()) == set(written)
    markdown = written[0].read_text()
    assert "# Schedules" in markdown and "python report.py sweep" in markdown
    assert all(f"]({path.name})" in markdown for path in written[3:])


def test_a_single_run_without_samples_and_logs_is_reported(make_table, tmp_path):
    table = make_table({}, seeds=(0,), metrics=["kid_lenet"])
    (table.rows[0].runs[0].folder / "samples.npz").unlink()
    written = write_report(table, tmp_path, "One", "c")
    assert [path.name for path in written] == ["report.md", "report.csv", "report.html", "intervals.png"]


def test_the_same_report_twice_is_the_same_bytes(make_table, tmp_path):
    table = make_table({"schedule": ["cosine", "linear"]}, seeds=(0, 1), logs=True)
    first = [path.read_bytes() for path in write_report(table, tmp_path, "T", "c")]
    assert [path.read_bytes() for path in write_report(table, tmp_path, "T", "c")] == first
