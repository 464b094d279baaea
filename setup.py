"""What pyproject.toml has no words for: configs/ is, in a wheel, a folder of the package gdm."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["gdm*"]), "gdm.configs"],
    package_dir={"gdm.configs": "configs"},
)
