import numpy as np
import pytest


def test_unreadable_features_are_an_error(make_run_with_features):
    run = make_run_with_features({}, 0)
    path = run.folder / "features.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="features.npz cannot be used"):
        run.load_features()
    np.savez_compressed(path, features=np.ones((3, 2)))
    with pytest.raises(ValueError, match="real_features is not a file"):
        run.load_features()
    path.unlink()
    with pytest.raises(FileNotFoundError):
        run.load_features()
