"""Images are streamed: the cache is built and trained on in far less memory than they take."""

import shutil
import subprocess
import sys

import pytest

MEMORY_SCRIPT = """
import sys, threading, time
import numpy as np, torch
from ddpm_lightning.data.cache.cache import cached_images
from ddpm_lightning.data.datamodule import ImageDataModule
from ddpm_lightning.data.sources.source import ImageSource
from ddpm_lightning.data.split import Resplit


class PatternSource(ImageSource):
    name, num_classes, image_shape, transform = "pattern", 0, (3, 64, 64), "none"
    pattern = np.random.default_rng(0).integers(0, 256, (256, 3, 64, 64), dtype=np.uint8)

    def fingerprint(self):
        return "pattern"

    def labels(self):
        return np.zeros(120_000, np.int64)

    def official_splits(self):
        return {}

    def read(self, rows, images):
        np.add(self.pattern[: len(rows)], rows.start // 256 % 256, out=images, casting="unsafe")
        return {}


def anonymous_megabytes():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon")) / 1024


def watch():
    while True:
        peak.append(anonymous_megabytes())
        time.sleep(0.02)


torch.ones(100, 100) @ torch.ones(100, 100)  # torch's own pools
before, peak = anonymous_megabytes(), []
threading.Thread(target=watch, daemon=True).start()
data = ImageDataModule(PatternSource(), Resplit(), batch_size=64, num_workers=0, seed=0, cache_dir=sys.argv[1])
data.prepare_data()
for number, batch in enumerate(data.train_dataloader()):
    (batch.images.float() / 127.5 - 1).mean()
    if number == 400:
        break
for batch in data.test_dataloader():
    pass
print(max(peak) - before)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_data_set(tmp_path):
    if sys.platform != "linux" or shutil.disk_usage(tmp_path).free < 4 * 2**30:
        pytest.skip("needs /proc and 4 GB of disk")
    ran = subprocess.run([sys.executable, "-c", MEMORY_SCRIPT, str(tmp_path)], capture_output=True, text=True)
    shutil.rmtree(tmp_path)  # 1.5 GB
    assert ran.returncode == 0, ran.stderr
    print(f"{float(ran.stdout):.0f} MB of anonymous memory for 1.5 GB of images")  # shown by pytest -s
    assert float(ran.stdout) < 500
