"""What is installed is what is in the checkout."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from kd_lightning.experiment.compose import conf_folder

ROOT = Path(__file__).parents[1]


def test_a_checkout_finds_the_conf_beside_the_package():
    assert conf_folder() == ROOT / "conf"


@pytest.mark.slow
def test_a_wheel_brings_its_conf_and_its_commands(tmp_path):
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    inside = {
        path.relative_to(tmp_path / "site" / "kd_lightning") for path in (tmp_path / "site").rglob("*.yaml")
    }
    assert inside == {path.relative_to(ROOT) for path in (ROOT / "conf").rglob("*.yaml")}
    package = tmp_path / "site" / "kd_lightning"
    assert (package / "reports" / "page.html.jinja").is_file()
    assert (package / "reports" / "sort.js").is_file()
    assert (package / "deploy" / "card.md.jinja").is_file()
    scripts = {path.name for path in (package / "deploy" / "scripts").iterdir()}
    assert {"audio.py", "keyword.py", "recognition.py", "synthesis.py", "vocoding.py"} <= scripts
    command = f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n" + (
        "from kd_lightning.experiment.compose import conf_folder; print(conf_folder())"
    )
    found = subprocess.run(
        [sys.executable, "-c", command], check=True, capture_output=True, text=True, cwd=tmp_path
    )
    assert Path(found.stdout.strip()) == tmp_path / "site" / "kd_lightning" / "conf"
    entry_points = next((tmp_path / "site").glob("*.dist-info/entry_points.txt")).read_text()
    assert "kd-pipeline = kd_lightning.pipeline:main" in entry_points


# The extra "litert" goes with none but these, in an environment of its own.
WITH_LITERT = ("synthetic", "networks", "export", "litert")


@pytest.mark.parametrize("with_litert", [False, True])
def test_the_constraints_pin_every_direct_dependency(with_litert: bool):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = WITH_LITERT if with_litert else extras.keys() - {"litert"}
    constraints = ROOT / ("constraints-litert.txt" if with_litert else "constraints.txt")
    pinned = {}
    for line in constraints.read_text().splitlines():
        name, _, version = line.partition("==")
        pinned[name.lower().replace("_", "-")] = version
    listed = [*project["dependencies"], *(line for extra in wanted for line in extras[extra])]
    for requirement in map(Requirement, listed):
        if requirement.name != "kd_lightning":
            assert requirement.specifier.contains(pinned[requirement.name.lower().replace("_", "-")]), (
                requirement
            )
