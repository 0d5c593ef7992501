"""What a report reads of each run: its scores, and every option by which it may differ from the others."""

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ddpm_lightning.report.collect import collect
from ddpm_lightning.runs.config import RunConfig
from ddpm_lightning.runs.run_folder import RunFolder
from ddpm_lightning.sweep.status import SweepFolder

Write = Callable[..., RunFolder]


@pytest.fixture
def write(compose_verb: Callable, make_run: Callable, tmp_path: Path) -> Write:
    """`write("name", *overrides)`: a run as train.py with these overrides would leave it, trained or not."""

    def make(name: str, *overrides: str, state: str = "done", kid: float = 0.1) -> RunFolder:
        config = RunConfig.of_command(compose_verb("train", *overrides))
        run = RunFolder(tmp_path / "sweep" / name)
        run.write_config(config.stored)
        run.write_status(state)
        card = make_run({}, config.stored["seed"]).card
        scores = {
            "card": card.to_dict(),
            "values": {"kid_lenet_mnist": kid},
            "diagnostics": {"test/noise_mae": 0.5, "test/image_mae": 0.25},
            "cost": {"parameters": 9.0},
        }
        (run.path / "metrics.json").write_text(json.dumps(scores))
        return run

    return make


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    (tmp_path / "sweep").mkdir()
    return tmp_path / "sweep"


@pytest.fixture(autouse=True)
def no_warning() -> None:
    warnings.simplefilter("error")


def options(sweep: Path, *names: str) -> list[dict[str, str]]:
    """The named options of the runs; those that a run does not have are left out."""
    return [{name: run.options[name] for name in names if name in run.options} for run in collect([sweep])]


def test_a_run_comes_with_its_scores(write: Write, sweep: Path) -> None:
    run = write("a", "seed=3", kid=0.25)
    (collected,) = collect([sweep])
    assert (collected.folder, collected.seed) == (run.path, 3)
    assert collected.values == {"kid_lenet_mnist": 0.25}
    assert collected.diagnostics == {"noise_mae": 0.5, "image_mae": 0.25}
    assert collected.cost == {"parameters": 9.0}
    assert (collected.card.seed, collected.card.dataset) == (3, "mnist")


def test_scores_without_a_record_of_their_real_images_are_read(write: Write, sweep: Path) -> None:
    file = write("earlier").path / "metrics.json"
    scores = json.loads(file.read_text())
    del scores["card"]["real_images"]
    file.write_text(json.dumps(scores))
    write("now")
    earlier, now = collect([sweep])
    assert earlier.card == replace(now.card, real_images="not recorded")


def test_scores_with_a_card_of_an_earlier_version_are_read(write: Write, sweep: Path) -> None:
    file = write("earlier").path / "metrics.json"
    scores = json.loads(file.read_text())
    card = {name: value for name, value in scores["card"].items() if name not in ("seeds", "labels", "guidance", "nfe")}
    sampler = {"sampler": "ddim", "steps": 25, "eta": 0.0, "t_max": 0.98, "clip": True, "guidance_scale": None}
    file.write_text(json.dumps(scores | {"card": card | sampler}))
    write("now")
    earlier, now = collect([sweep])
    assert earlier.card.flat() == now.card.flat()


def test_runs_are_found_anywhere_in_the_order_of_their_names(write: Write, sweep: Path) -> None:
    for name in ("b", "a/deep", "c"):
        write(name)
    found = [run.folder.relative_to(sweep).as_posix() for run in collect([sweep])]
    assert found == ["a/deep", "b", "c"]
    assert [run.folder.name for run in collect([sweep / "c", sweep / "b", sweep / "b"])] == ["b", "c"]


class TestOptions:
    def test_a_group_by_its_choice_and_an_option_by_its_value(self, write: Write, sweep: Path) -> None:
        write("a", "schedule=linear", "optimizer.lr=1e-3", "model.channels=[16,16]", "+trainer.note='a=b'")
        names = ("schedule", "optimizer.lr", "model.channels", "trainer.note")
        assert options(sweep, *names) == [
            {
                "schedule": "linear",
                "optimizer.lr": "0.001",
                "model.channels": "[16, 16]",
                "trainer.note": "a=b",
            }
        ]

    def test_a_value_is_read_as_one_would_write_it(self, write: Write, sweep: Path) -> None:
        write("a", "dataset.flip=true", "loss_on.t_max=null", "model.dropout=0")
        names = ("dataset.flip", "loss_on.t_max", "model.dropout")
        assert options(sweep, *names) == [{"dataset.flip": "true", "loss_on.t_max": "null", "model.dropout": "0"}]

    def test_predict_is_filled_in_where_other_runs_set_it(self, write: Write, sweep: Path) -> None:
        write("a", "predict=noise", "loss_on=image")
        write("b", "loss_on=image")
        assert options(sweep, "predict", "loss_on") == [
            {"predict": "noise", "loss_on": "image"},
            {"predict": "image", "loss_on": "image"},
        ]

    def test_where_nobody_chose_what_is_predicted_it_is_no_option(self, write: Write, sweep: Path) -> None:
        write("a", "loss_on=image")
        assert options(sweep, "predict") == [{}]

    def test_each_of_the_four_seeds_is_an_option(self, write: Write, sweep: Path) -> None:
        write("a", "seeds.order=1")
        write("b", "seed=2")
        assert options(sweep, "seeds.order", "seeds.init") == [{"seeds.order": "1"}, {"seeds.order": "2"}]

    def test_groups_within_groups_too(self, write: Write, sweep: Path) -> None:
        write("a", "metrics/features=lenet", "dataset=fashion_mnist")
        assert options(sweep, "metrics/features", "dataset") == [
            {"metrics/features": "lenet", "dataset": "fashion_mnist"}
        ]

    def test_an_option_that_one_run_sets_is_read_of_all_that_have_it(self, write: Write, sweep: Path) -> None:
        write("a", "optimizer.lr=0.5", "sampler.eta=0.25")
        write("b")
        write("c", "sampler=ddpm")  # has no eta
        found = options(sweep, "optimizer.lr", "sampler.eta", "sampler")
        assert found[0] == {"optimizer.lr": "0.5", "sampler.eta": "0.25", "sampler": "ddim"}
        assert found[1].keys() == {"optimizer.lr", "sampler.eta", "sampler"}
        assert found[1]["sampler.eta"] == "0"
        assert found[2] == {"optimizer.lr": found[1]["optimizer.lr"], "sampler": "ddpm"}

    def test_what_is_the_default_is_no_difference(self, write: Write, sweep: Path) -> None:
        write("a", "loss=mse", "seed=0")
        write("b", "seed=1")
        first, second = collect([sweep])
        assert first.options == second.options

    def test_the_choices_of_a_recipe_are_read(self, write: Write, sweep: Path) -> None:
        write("a", "experiment=mnist_quick")
        write("b")
        first, second = collect([sweep])
        assert (first.options["loss_on"], second.options["loss_on"]) == ("velocity", "noise")
        # It may also set plain options, which no choice shows.
        assert first.options["experiment"] == "mnist_quick" and "experiment" not in second.options
        assert {name for name in first.options if first.options[name] != second.options.get(name)} == {
            "loss_on",
            "experiment",
        }

    def test_where_a_run_lives_and_its_seed_are_none(self, write: Write, sweep: Path, tmp_path: Path) -> None:
        write("a", "name=a", "seed=1", f"paths.data_dir={tmp_path}", "logger=none", "optimize.penalty=3")
        write("b", "seed=1", "trainer=cpu", "trainer.devices=1", "callbacks=generative_metrics")
        first, second = collect([sweep])
        assert first.options == second.options
        assert {name.split(".")[0] for name in first.options} & {"name", "seed", "paths", "logger", "optimize"} == set()

    def test_an_evaluation_has_its_own_and_its_trainings_options(self, write: Write, sweep: Path) -> None:
        trained = write("training", "loss=mae", "seed=1")
        for name, steps, at in (("few", 5, 100), ("many", 20, 200)):
            run = write(name, "loss=mae", "seed=1", f"sampler.steps={steps}")
            config = run.read_config() | {"checkpoint": {"path": str(trained.path), "step": at}}
            config["hydra"]["options"]["checkpoint"] = "runs/training"
            run.write_config(config)
        found = options(sweep, "loss", "sampler.steps", "checkpoint.step", "checkpoint")
        assert found[0] == {"loss": "mae", "sampler.steps": "5", "checkpoint.step": "100"}
        assert found[1] == {"loss": "mae", "sampler.steps": "20", "checkpoint.step": "200"}
        assert found[2].keys() == {"loss", "sampler.steps"}

    def test_a_run_without_a_record_of_its_command_has_none(self, write: Write, sweep: Path) -> None:
        run = write("a")
        run.write_config({key: value for key, value in run.read_config().items() if key != "hydra"})
        assert collect([sweep])[0].options == {}


class TestLeftOut:
    @pytest.mark.parametrize(
        "damage",
        [
            lambda text: text[: len(text) // 2],
            lambda text: "",
            lambda text: json.dumps({"values": {}}),
            lambda text: text.replace('"split"', '"spilt"'),
            lambda text: "[]",
        ],
        ids=["half", "empty", "without_a_card", "another_card", "a_list"],
    )
    def test_scores_that_cannot_be_read_are_named(self, write: Write, sweep: Path, damage: Callable) -> None:
        broken = write("broken")
        write("whole")
        file = broken.path / "metrics.json"
        file.write_text(damage(file.read_text()))
        with pytest.warns(UserWarning, match=rf"{file} is truncated or altered"):
            assert [run.folder.name for run in collect([sweep])] == ["whole"]

    def test_a_run_without_scores_is_named(self, write: Write, sweep: Path) -> None:
        bare = write("bare")
        write("scored")
        (bare.path / "metrics.json").unlink()
        with pytest.warns(UserWarning, match=rf"{bare.path} is left out: it has no metrics\.json"):
            assert [run.folder.name for run in collect([sweep])] == ["scored"]

    def test_runs_that_are_not_done_are_named(self, write: Write, sweep: Path) -> None:
        for name, state in (("a", "done"), ("b", "failed"), ("c", "running")):
            write(name, state=state)
        SweepFolder(sweep).write_plan(["a", "b", "c", "d"], [])
        found = r"left out because unfinished: b \(failed\), c \(interrupted\), d \(to do\)$"  # nobody works at c
        with pytest.warns(UserWarning, match=found):
            assert [run.folder.name for run in collect([sweep])] == ["a"]

    def test_without_any_finished_run_the_states_are_named(self, write: Write, sweep: Path) -> None:
        with pytest.raises(ValueError, match=rf"no finished run with scores in {sweep}: it contains no runs"):
            collect([sweep])
        write("a", state="failed")
        write("b", state="interrupted")
        with pytest.raises(ValueError, match=r"it contains a \(failed\), b \(interrupted\)$"):
            collect([sweep])
        (write("done").path / "metrics.json").unlink()
        with pytest.warns(UserWarning, match="metrics.json"), pytest.raises(ValueError, match="no finished run with"):
            collect([sweep])

    def test_a_folder_that_is_not_there_is_an_error(self, write: Write, sweep: Path) -> None:
        write("a")
        with pytest.raises(FileNotFoundError, match=f"there is no folder {sweep}/nothing"):
            collect([sweep, sweep / "nothing"])
