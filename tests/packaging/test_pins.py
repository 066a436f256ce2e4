"""pyproject.toml says what the lab needs, constraints.txt which versions, environment.yml installs them."""

import re
import sys
import tomllib
from collections import defaultdict
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PLATFORMS = (
    {"sys_platform": "linux", "platform_machine": "x86_64"},
    {"sys_platform": "darwin", "platform_machine": "arm64"},
)


def _pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def _pin_lines() -> list[str]:
    lines = (line.strip() for line in (ROOT / "constraints.txt").read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _pins() -> dict[str, list[Requirement]]:
    pins = defaultdict(list)
    for line in _pin_lines():
        requirement = Requirement(line)
        pins[canonicalize_name(requirement.name)].append(requirement)
    return pins


def _environment(python: str, platform: dict[str, str]) -> dict[str, str]:
    return {
        **default_environment(),
        "python_version": python,
        "python_full_version": f"{python}.9",
        **platform,
    }


def _wanted() -> list[Requirement]:
    project = _pyproject()["project"]
    extras = project["optional-dependencies"].values()
    return [
        Requirement(text)
        for text in [*project["dependencies"], *(text for extra in extras for text in extra)]
    ]


def test_constraints_hold_names_and_exact_versions_only():
    for line in _pin_lines():
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.+!]*( ; .+)?", line), line


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("platform", PLATFORMS, ids=lambda platform: platform["sys_platform"])
def test_every_requirement_has_one_pin_that_satisfies_it(python, platform):
    environment, pins = _environment(python, platform), _pins()
    for wanted in _wanted():
        valid = [
            p
            for p in pins[canonicalize_name(wanted.name)]
            if p.marker is None or p.marker.evaluate(environment)
        ]
        assert len(valid) == 1, f"{wanted.name} has {len(valid)} pins on Python {python}"
        (version,) = valid[0].specifier
        assert version.version in wanted.specifier, f"{wanted} is pinned at {version.version}"


def test_the_pins_are_closed():
    """What the pinned packages ask for is pinned as well, so installing without resolution misses nothing."""
    pins, environment = _pins(), default_environment()
    here = [r for group in pins.values() for r in group if r.marker is None or r.marker.evaluate(environment)]
    for pin in here:
        for text in metadata.requires(pin.name) or []:
            wanted = Requirement(text)
            name = canonicalize_name(wanted.name)
            if name == "opencv-python" or (wanted.marker and not wanted.marker.evaluate({"extra": ""})):
                continue
            assert name in pins, f"{pin.name} needs {wanted}, which has no pin"


def test_installed_versions_are_the_pinned_ones():
    environment = default_environment()
    for group in _pins().values():
        for pin in group:
            if pin.marker is None or pin.marker.evaluate(environment):
                installed = metadata.version(pin.name).split("+")[0]
                assert installed in pin.specifier, (
                    f"{pin.name} {installed} is installed, the pin is {pin.specifier}"
                )


def test_opencv_is_the_headless_build():
    assert "opencv-python" not in _pins()
    assert "opencv-python-headless" in _pins()


def test_environment_yml_gets_python_from_conda_and_the_pins_from_constraints():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *conda, pip = environment["dependencies"]
    names = {entry.split("=")[0]: entry.partition("=")[2] for entry in conda}
    assert set(names) == {"python", "pip"}
    assert f"{names['python']}.9" in SpecifierSet(_pyproject()["project"]["requires-python"])
    assert pip == {"pip": ["-r constraints.txt", "./.conda/opencv-python", "-e ."]}


def test_the_conda_stand_in_for_opencv_serves_who_asks_for_it():
    stand_in = tomllib.loads((ROOT / ".conda/opencv-python/pyproject.toml").read_text())["project"]
    assert stand_in["name"] == "opencv-python"
    assert stand_in["dependencies"] == ["opencv-python-headless"]
    for package in ("mmcv-lite", "mmengine"):
        asked = [Requirement(text) for text in metadata.requires(package) or []]
        assert all(stand_in["version"] in r.specifier for r in asked if r.name == "opencv-python")


def test_makefile_and_pyproject_agree_on_the_pythons():
    supported = SpecifierSet(_pyproject()["project"]["requires-python"])
    low, high = re.search(
        r"\((\d+, \d+)\) <= sys\.version_info\[:2\] <= \((\d+, \d+)\)", (ROOT / "Makefile").read_text()
    ).groups()
    assert (low.replace(", ", "."), high.replace(", ", ".")) == (PYTHONS[0], PYTHONS[-1])
    assert [f"3.{minor}" for minor in range(5, 30) if f"3.{minor}.9" in supported] == list(PYTHONS)
    assert f"{sys.version_info.major}.{sys.version_info.minor}" in PYTHONS
