"""What the commands print."""

import re

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(params=["one process", "two processes"])
def devices(request, two_processes):
    return list(two_processes) if request.param == "two processes" else []


def test_the_commands_print_no_warnings_and_nothing_twice(shell, tiny_options, tiny_paths, tmp_path, devices):
    run = tmp_path / "run"

    def printed_by(verb, *overrides):
        result = shell(verb, *overrides, *devices)
        assert result.returncode == 0, result.stderr
        printed = result.stdout + result.stderr
        # Lightning shows a warning as "file.py:12: message".
        assert not re.search(r"warn|\.py:\d+|distributed", printed, re.IGNORECASE), printed
        assert "\x1b" not in printed and "\r" not in printed
        return printed

    printed = printed_by("train.py", *tiny_options, "trainer.log_every_n_steps=1", f"hydra.run.dir={run}")
    assert re.findall(r"training: step (\d/\d)", printed) == ["0/3", "1/3", "2/3", "3/3"]
    assert printed.count("Final scores") == 1
    checkpoint = f"checkpoint={run}"
    assert printed_by("evaluate.py", *tiny_paths, checkpoint, f"hydra.run.dir={tmp_path}/scored").count("Open ") == 1
    assert printed_by("sample.py", *tiny_paths, checkpoint, f"hydra.run.dir={tmp_path}/drawn").count("Open ") == 1
