"""The export verb: a checkpoint's model in files that others open."""

import sys
from pathlib import Path

from ddpm_lightning.atomic_files import check_new
from ddpm_lightning.runs.system_errors import explain_system_error
from ddpm_lightning.verbs.program import program_call, program_name
from ddpm_lightning.verbs.words import read_words

USAGE = """\
RUN out=DIR [format=safetensors|diffusers] [weights=ema|raw] [trust=PACKAGE,PACKAGE]

Writes a trained model to the new folder DIR.

  RUN      folder of a run (outputs/...), or a checkpoint; checkpoint=RUN is the same
  out      the folder to write; one that exists must be empty
  format   safetensors  model.safetensors and config.json, which ddpm_lightning.load(DIR) opens like a run
           diffusers    a pipeline for diffusers.DiffusionPipeline.from_pretrained(DIR); needs model=unet_diffusers
  weights  ema or raw; by default, those that the run is scored with
  trust    packages, besides ddpm_lightning, whose classes the run's config may name, such as your own network's"""
OPTIONS = ("checkpoint", "out", "format", "weights", "trust")
FORMATS = ("safetensors", "diffusers")


def main() -> None:
    """Parses the command line, writes the folder and prints how to use it."""
    try:
        words = read_words(sys.argv[1:], OPTIONS, f"{program_call()} {USAGE}")
        options = words.options
        runs = [*words.paths, *([options["checkpoint"]] if "checkpoint" in options else [])]
        if not runs:
            raise ValueError("name a run or a checkpoint, as in checkpoint=outputs/RUN")
        if len(runs) > 1:
            raise ValueError(f"name one run or checkpoint at a time, not {' and '.join(runs)}")
        if "out" not in options:
            raise ValueError("say which folder to write, as in out=my_model")
        kind = options.get("format", FORMATS[0])
        if kind not in FORMATS:
            raise ValueError(f"unknown format {kind!r}: choose from {', '.join(FORMATS)}")
        trust = tuple(options["trust"].split(",")) if "trust" in options else ()
        print(export(Path(runs[0]), Path(options["out"]), kind, options.get("weights"), trust))
    except (ValueError, OSError) as error:
        sys.exit(f"{program_name()}: {explain_system_error(error) or error}")


def export(run: Path, out: Path, kind: str, weights: str | None, trust: tuple[str, ...]) -> str:
    """Writes the folder and returns a line that says what it is and how to use it."""
    check_new(out)
    # Here, because --help and a misspelt option do not need torch.
    from ddpm_lightning.runs.load import build_model
    from ddpm_lightning.runs.saved_model import read_trained

    if trust:
        from ddpm_lightning.verbs.cli import import_from_current_folder

        import_from_current_folder()
    saved = read_trained(run, trust, weights)
    model = build_model(saved, trust=trust)  # whatever cannot be opened is not written either
    if kind == "diffusers":
        from ddpm_lightning.runs.export_diffusers import pipeline_steps, write_pipeline

        write_pipeline(model, out)
        call = f"num_inference_steps={pipeline_steps(model)}, use_clipped_model_output={model.sampler.clip}"
        return f'{out} is a pipeline: diffusers.DiffusionPipeline.from_pretrained("{out}")({call})'
    from ddpm_lightning.runs.exported import write_exported

    write_exported(saved, out)
    trusted = f", trust={list(trust)}" if trust else ""
    return (
        f"{out} has model.safetensors ({saved.weights} weights after {saved.step} steps) and config.json: "
        f'open it with ddpm_lightning.load("{out}"{trusted})'
    )
