"""The verbs on one tiny run: what it leaves, scored again and sampled from."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ddpm_lightning.runs.find_checkpoint import find_checkpoint
from ddpm_lightning.runs.options import Role, role_of
from ddpm_lightning.runs.plain_config import leaves
from ddpm_lightning.runs.run_folder import RunFolder
from ddpm_lightning.verbs.evaluate import evaluate
from ddpm_lightning.verbs.sample import sample


class Finished(NamedTuple):
    """A run that `python train.py` made, and what it printed."""

    folder: Path
    printed: str

    @property
    def report(self) -> dict[str, Any]:
        return json.loads((self.folder / "metrics.json").read_text())

    def array(self, name: str) -> np.ndarray:
        with np.load(self.folder / f"{name}.npz") as file:
            return file[file.files[0]]


@pytest.fixture(scope="module")
def finished(shell: Callable, tiny_options: list[str], tmp_path_factory: pytest.TempPathFactory) -> Finished:
    output = tmp_path_factory.mktemp("outputs")
    result = shell(
        "train.py",
        *tiny_options,
        f"paths.output_dir={output}",
        "name=shared",
        "trainer.max_steps=10",
        "optimizer.lr=0.01",
        "ema.decay=0.5",  # so that the average and the raw weights draw different samples
        "seed=3",
    )
    assert result.returncode == 0, result.stderr
    return Finished(output / "default" / "shared", result.stdout)


@pytest.fixture
def evaluated(compose_verb, tiny_paths, finished, tmp_path) -> Callable[..., dict[str, Any]]:
    """`evaluated(*overrides)`: metrics.json of an evaluation of the finished run."""

    def run(*overrides: str, checkpoint: Path = finished.folder) -> dict[str, Any]:
        options = [*tiny_paths, "trainer.accelerator=cpu", f"checkpoint={checkpoint}", *overrides]
        evaluate(compose_verb("evaluate", *options, folder=tmp_path / "evaluation"))
        return json.loads((tmp_path / "evaluation" / "metrics.json").read_text())

    return run


@pytest.fixture
def sampled(compose_verb, tiny_paths, finished, tmp_path) -> Callable[..., Path]:
    """`sampled(*overrides)`: the folder with samples of the finished run; seed 3 is that of the run's own."""

    def run(*overrides: str, seed: int = 3) -> Path:
        folder = tmp_path / "-".join(["samples", *overrides])
        options = [*tiny_paths, "trainer.accelerator=cpu", f"checkpoint={finished.folder}", f"seed={seed}", *overrides]
        return sample(compose_verb("sample", *options, folder=folder))

    return run


def images_in(folder: Path) -> np.ndarray:
    with np.load(folder / "samples.npz") as file:
        return file["images"]


class TestTrain:
    def test_leaves_everything_that_a_report_needs(self, finished):
        names = ["config.yaml", "checkpoints/last.ckpt", "checkpoints/best.ckpt", "metrics.json", "samples.png",
                 "samples.npz", "features.npz", "train.log", "status"]  # fmt: skip
        assert [name for name in names if not (finished.folder / name).is_file()] == []
        assert list((finished.folder / "tensorboard").glob("events.out.tfevents.*"))
        assert list((finished.folder / "pictures").glob("*/step-0000010.png"))
        assert finished.array("samples").shape == (16, 1, 28, 28)
        assert finished.array("features").shape == (16, 128)
        assert [path.name for path in finished.folder.rglob(".*")] in ([], [".lock"])  # no temporary file stays

    def test_says_where_it_is_in_the_last_line(self, finished):
        last = finished.printed.rstrip().splitlines()[-1]
        assert last.startswith("Open ") and "tensorboard --logdir" in last
        opened = Path(last.removeprefix("Open ").split(",")[0])
        assert (Path(__file__).parents[2] / opened).resolve() == (finished.folder / "samples.png").resolve()

    def test_records_that_it_is_done_with_its_scores(self, finished):
        status = json.loads((finished.folder / "status").read_text())
        assert status["state"] == "done"
        fid = finished.report["values"]["fid_lenet_mnist"]
        assert status["scores"]["test/fid_lenet_mnist"] == pytest.approx(fid, rel=1e-5)

    def test_the_same_command_again_finds_it_done(self, finished, shell_here, tiny_options):
        files = [path for path in finished.folder.rglob("*") if path.is_file() and path.name != "train.log"]
        before = [path.stat().st_mtime_ns for path in files]
        options = ["name=shared", "trainer.max_steps=10", "optimizer.lr=0.01", "ema.decay=0.5", "seed=3"]
        output = f"paths.output_dir={finished.folder.parents[1]}"
        result = shell_here("train.py", *tiny_options, output, *options)
        assert result.returncode == 0, result.stderr
        assert "this run is done" in result.stdout + result.stderr
        assert [path.stat().st_mtime_ns for path in files] == before

    def test_the_same_name_with_other_options_is_refused(self, finished, shell_here, tiny_options):
        output = f"paths.output_dir={finished.folder.parents[1]}"
        result = shell_here("train.py", *tiny_options, output, "name=shared", "trainer.max_steps=10", "seed=4")
        assert result.returncode == 1
        assert "holds another run" in result.stderr

    @pytest.mark.parametrize("override", ["optimizer.lr=1", "schedule=linear", "seed=4"])
    def test_a_resumed_run_may_not_become_another_one(self, compose_verb, finished, override):
        from ddpm_lightning.verbs.train import train

        config = compose_verb("train", f"resume={finished.folder}", override, folder=finished.folder)
        with pytest.raises(ValueError, match="resume continues a run as it was configured; .* another run"):
            train(config)
        assert json.loads((finished.folder / "status").read_text())["state"] == "done"


DDIM = {"name": "ddim", "steps": 2, "grid": {"name": "uniform"}, "t_max": 0.98, "clip": True, "eta": 0.0}
DDPM = {key: value for key, value in DDIM.items() if key != "eta"} | {"name": "ddpm", "variance": "small"}
HEUN = {key: value for key, value in DDIM.items() if key != "eta"} | {
    "name": "heun", "churn": 0.0, "churn_min": 0.0, "churn_max": None, "churn_noise": 1.0
}  # fmt: skip


class TestEvaluate:
    def test_repeats_the_runs_own_scores(self, evaluated, finished):
        report = evaluated()
        assert report["values"] == pytest.approx(finished.report["values"], rel=1e-6)
        assert report["card"] == finished.report["card"]
        assert report["diagnostics"] == pytest.approx(finished.report["diagnostics"], rel=1e-6, nan_ok=True)

    def test_takes_a_file_as_well_as_a_folder(self, evaluated, finished):
        last = evaluated(checkpoint=finished.folder / "checkpoints" / "last.ckpt")
        assert last["values"] == pytest.approx(finished.report["values"], rel=1e-6)

    @pytest.mark.parametrize(
        ("overrides", "changed"),
        [
            (["sampler.steps=3"], {"sampler": DDIM | {"steps": 3}, "nfe": 3}),
            (["sampler.eta=1.0"], {"sampler": DDIM | {"eta": 1.0}}),
            (["grid=karras"], {"sampler": DDIM | {"grid": {"name": "karras", "rho": 7.0}}}),
            (["grid=karras", "grid.rho=3"], {"sampler": DDIM | {"grid": {"name": "karras", "rho": 3}}}),
            (["sampler=ddpm", "sampler.steps=2"], {"sampler": DDPM}),
            (["sampler=ddpm", "sampler.steps=2", "grid=log_snr"], {"sampler": DDPM | {"grid": {"name": "log_snr"}}}),
            (["sampler=heun", "sampler.steps=2"], {"sampler": HEUN, "nfe": 3}),
            (["metrics.num_samples=12"], {"num_generated": 12}),
            (["metrics.seed=4"], {"seed": 4}),
            (["weights=raw"], {"weights": "raw"}),
            (["metrics/features=lenet", "metrics.num_real=20"], {"num_real": 20}),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_changes_what_is_asked_and_nothing_else(self, evaluated, finished, overrides, changed):
        report = evaluated(*overrides)
        assert report["card"] == finished.report["card"] | changed
        fid = finished.report["values"]["fid_lenet_mnist"]
        assert report["values"]["fid_lenet_mnist"] != pytest.approx(fid, rel=1e-6)

    def test_what_a_group_refers_to_is_the_checkpoints(self, evaluated, finished):
        """`metrics=default` says `seed: ${seeds.samples}`, and evaluate.py has no seeds of its own."""
        small = [f"metrics.{option}" for option in ("num_samples=16", "num_real=16", "kid_subset_size=8")]
        assert (
            evaluated("metrics=default", "metrics/features=lenet", *small)["card"]["seed"]
            == finished.report["card"]["seed"]
        )

    def test_measures_likelihoods_in_place_of_samples(self, evaluated, finished, tmp_path):
        options = ["num_images=5", "bound.num_steps=3", "ode.steps=2"]
        report = evaluated("metrics=likelihood", "logger=tensorboard", *(f"metrics.{option}" for option in options))
        assert {"bits_per_dim_bound", "bits_per_dim_ode"} < report["values"].keys()
        card = report["card"]
        assert (card["num_images"], card["bound"]["num_steps"], card["ode"]["steps"]) == (5, 3, 2)
        assert (card["seed"], card["real_seed"]) == (3, 3)  # the checkpoint's
        assert report["diagnostics"] == pytest.approx(finished.report["diagnostics"], rel=1e-6, nan_ok=True)
        folder = tmp_path / "evaluation"
        assert not (folder / "samples.npz").exists()
        logged = EventAccumulator(str(folder / "tensorboard")).Reload().Tags()
        assert "likelihood" in logged["images"] and "test/bits_per_dim_bound" in logged["scalars"]

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("sampler.variance=0.5", r"sampler \(.*ddim\.DDIM\) has no option 'variance'; .* with sampler="),
            ("sampler.churn=1", r"sampler \(.*ddim\.DDIM\) has no option 'churn'; .* with sampler="),
            ("grid.rho=3", r".*grid.* \(.*UniformGrid\) has no option 'rho'; it has none\. Choose .* with grid="),
            ("guidance.scale=3", r"guidance \(.*unguided\) has no option 'scale'; it has none\. .* with guidance="),
            ("+sampler.noise.scale=0.5", r"sampler \(.*ddim\.DDIM\) has no option 'noise'; it has clip, eta, grid, "),
            ("+sampler.steps.number=5", r"sampler\.steps has no option 'number'; it has none$"),
            ("+metrics.num_smaples=8", r"metrics has no option 'num_smaples'; it has chunk_size, .*, weights$"),
        ],
    )
    def test_an_option_that_the_checkpoint_lacks_is_named(self, evaluated, override, message):
        with pytest.raises(ValueError, match=f"the checkpoint's {message}"):
            evaluated(override)

    def test_writes_the_config_that_held(self, evaluated, tmp_path):
        evaluated("sampler.steps=3")
        stored = RunFolder(tmp_path / "evaluation").read_config()
        assert stored["sampler"]["steps"] == 3
        # Places and callbacks refer to options that belong to the machine or may change on a resume.
        open_options = {option for option, value in leaves(stored) if "${" in str(value)}
        assert all(role_of(option) in (Role.PLACE, Role.OBSERVER) for option in open_options)
        assert "callbacks.generative_metrics.plan" in open_options

    def test_at_the_command_line(self, shell, tiny_paths, finished, tmp_path):
        result = shell("evaluate.py", *tiny_paths, f"checkpoint={finished.folder}", f"paths.output_dir={tmp_path}",
                       "trainer.accelerator=cpu")  # fmt: skip
        assert result.returncode == 0, result.stderr
        assert "test/fid_lenet_mnist" in result.stdout
        (written,) = tmp_path.glob("evaluate/*/metrics.json")
        assert json.loads(written.read_text())["values"] == pytest.approx(finished.report["values"], rel=1e-6)


class TestSample:
    def test_the_samples_are_those_that_were_scored(self, sampled, finished):
        images = images_in(sampled("num=16", "format=npz"))
        assert images.dtype == np.uint8
        # The run drew all 16 in one chunk, so does this.
        assert np.array_equal(images, finished.array("samples"))

    def test_an_image_does_not_depend_on_how_many_are_drawn(self, sampled):
        four, nine = (images_in(sampled(f"num={num}", "format=npz")).astype(int) for num in (4, 9))
        assert len(four) == 4 and len(nine) == 9
        assert abs(four - nine[:4]).max() <= 1  # another batch size may round differently

    def test_another_seed_or_the_raw_weights_give_other_images(self, sampled):
        first = images_in(sampled("num=4", "format=npz"))
        assert not np.array_equal(first, images_in(sampled("num=4", "format=npz", "weights=raw")))
        assert not np.array_equal(first, images_in(sampled("format=npz", "num=4", seed=4)))

    def test_a_grid_is_always_drawn(self, sampled):
        folder = sampled("num=4")
        assert Image.open(folder / "samples.png").size == (58 * 2 + 2, 58 * 2 + 2)
        names = [path.name for path in folder.iterdir() if path.name != ".lock"]
        assert sorted(names) == ["config.yaml", "samples.png", "status"]

    def test_the_folder_says_how_its_samples_were_made(self, sampled, finished):
        run = RunFolder(sampled("num=4", "sampler.steps=3", "grid=karras", "chunk_size=3"))
        config = run.read_config()
        assert config["sample"] == {
            "num": 4, "seed": 3, "label": None, "chunk_size": 3, "format": "grid", "trajectory": False,
        }  # fmt: skip
        assert config["checkpoint"] == {"path": str(find_checkpoint(finished.folder)), "step": 10}
        assert config["sampler"]["steps"] == 3 and config["sampler"]["grid"]["rho"] == 7.0
        assert config["model"] == RunFolder(finished.folder).read_config()["model"]
        assert run.read_status()["state"] == "done"

    def test_images_do_not_depend_on_how_many_are_computed_together(self, sampled):
        together, apart = (images_in(sampled("num=9", "format=npz", f"chunk_size={size}")) for size in (9, 2))
        assert abs(together.astype(int) - apart.astype(int)).max() <= 1  # another batch size may round differently
        assert len(np.unique(together, axis=0)) == 9

    def test_a_folder_holds_each_image_by_its_number(self, sampled):
        files = sorted((sampled("num=4", "format=folder") / "samples").iterdir())
        assert [file.name for file in files] == [f"{index:06d}.png" for index in range(4)]
        images = images_in(sampled("num=4", "format=npz"))
        assert np.array_equal(np.stack([np.asarray(Image.open(file)) for file in files]), images[:, 0])

    def test_a_trajectory_shows_every_node_and_ends_at_the_samples(self, sampled):
        folder = sampled("num=4", "trajectory=true", "sampler.steps=5")
        with Image.open(folder / "trajectory.gif") as animation:
            assert animation.n_frames == 6
            animation.seek(5)
            final = np.asarray(animation.convert("RGB")).astype(int)
        grid = np.asarray(Image.open(folder / "samples.png")).astype(int)
        assert final.shape == grid.shape
        assert abs(final - grid).mean() < 3  # a GIF has 256 colours

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("format=jpg", "choose from grid, npz, folder"),
            ("num=0", "num must be at least 1"),
            ("chunk_size=0", "chunk_size must be at least 1"),
            ("label=3", "label=3, but this model has no classes: leave label out"),
            ("sampler.steps=0", r"sampler\.steps must be at least 1, not 0"),
            ("guidance=classifier_free", r"guidance=classifier_free needs a class-conditional model"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, sampled, override, message):
        with pytest.raises(ValueError, match=message):
            sampled(override)

    def test_at_the_command_line(self, shell, tiny_paths, finished, tmp_path):
        result = shell("sample.py", *tiny_paths, f"checkpoint={finished.folder}", "num=4", "trainer.accelerator=cpu",
                       f"paths.output_dir={tmp_path}")  # fmt: skip
        assert result.returncode == 0, result.stderr
        last = result.stdout.rstrip().splitlines()[-1]
        assert last.startswith("Open ") and last.endswith("samples.png; beside it: config.yaml")
        assert len(list(tmp_path.glob("sample/*/samples.png"))) == 1
