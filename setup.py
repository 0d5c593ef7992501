"""The part of the build that pyproject.toml cannot express: `conf/` travels inside the wheel."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigs(build_py):
    """Copies the YAML files into the package; an editable installation reads them where they are."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            conf = Path(self.build_lib, "ddpm_lightning", "conf")
            shutil.rmtree(conf, ignore_errors=True)
            shutil.copytree("conf", conf)


setup(cmdclass={"build_py": BuildWithConfigs})
