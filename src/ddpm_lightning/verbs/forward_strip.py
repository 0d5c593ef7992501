"""The forward process of an image under several schedules: `python -m ddpm_lightning.verbs.forward_strip`."""

import sys
from pathlib import Path

from ddpm_lightning.runs.own_yaml import conf_folder
from ddpm_lightning.runs.system_errors import explain_system_error
from ddpm_lightning.verbs.words import read_words

USAGE = """\
image=FILE [schedules=linear,cosine] [frames=11] [size=64] [out=FOLDER]

Writes FOLDER/forward_strip.png, and the same for TensorBoard: the image on its way into noise, a row for each schedule.

  image      an image file; its centre square is used
  schedules  choices of conf/schedule; by default all
  frames     columns, evenly spaced in t
  size       height and width of each picture, in pixels
  out        where to write; by default outputs/forward_strip"""
OPTIONS = ("image", "schedules", "frames", "size", "out")
DEFAULTS = {"frames": "11", "size": "64"}


def main() -> None:
    """Parses the command line and writes the picture."""
    call = f"{Path(sys.executable).name} -m ddpm_lightning.verbs.forward_strip"
    try:
        words = read_words(sys.argv[1:], OPTIONS, f"{call} {USAGE}")
        if words.paths:
            raise ValueError(f"write image={words.paths[0]}")
        if "image" not in words.options:
            raise ValueError("which image? Set image=FILE")
        write_strip(words.options)
    except (ValueError, OSError) as error:
        sys.exit(f"forward_strip: {explain_system_error(error) or error}")


def write_strip(options: dict[str, str]) -> None:
    """Draws and writes the picture, and prints where it is.

    Raises:
        ValueError: an option is out of range, or the image cannot be read.
    """
    from omegaconf import DictConfig, OmegaConf

    from ddpm_lightning.process_pictures.forward_strips import forward_strips
    from ddpm_lightning.process_pictures.image_file import read_image
    from ddpm_lightning.process_pictures.process_picture import Drawn
    from ddpm_lightning.runs.instantiate import instantiate
    from ddpm_lightning.runs.places import resolved_values
    from ddpm_lightning.verbs.sample_files import write_picture

    frames, size = (_at_least_two(name, options.get(name, default)) for name, default in DEFAULTS.items())
    files = {path.stem: path for path in sorted((conf_folder() / "schedule").glob("*.yaml"))}
    names = options["schedules"].split(",") if "schedules" in options else list(files)
    if unknown := [name for name in names if name not in files]:
        raise ValueError(f"unknown schedule {unknown[0]!r}: choose from {', '.join(files)}")
    picture = read_image(options["image"], (3, size, size))
    configs = {name: OmegaConf.load(files[name]) for name in names}
    schedules = {name: instantiate(resolved_values(DictConfig(config))) for name, config in configs.items()}
    folder = Path(options.get("out", "outputs/forward_strip"))
    folder.mkdir(parents=True, exist_ok=True)
    write_picture("forward_strip", Drawn(forward_strips(schedules, picture, frames)), folder)
    print(f"Open {folder}/forward_strip.png")


def _at_least_two(option: str, text: str) -> int:
    if not text.isdecimal() or int(text) < 2:
        raise ValueError(f"{option} must be a whole number of at least 2, not {text}")
    return int(text)


if __name__ == "__main__":
    main()
