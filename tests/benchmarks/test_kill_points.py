"""Every point at which a small distill stage can be cut, and real kills at random moments of one."""

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kills import DROPOUT, Killed, Points, results

from kd_lightning.stages import run_stage

MOMENTS = 6


def test_every_kill_point_is_survived(teacher_run, config_of, tmp_path, say):
    config = config_of("distill", DROPOUT, f"teacher.run={teacher_run}")

    def run(folder: Path, cut: tuple[str, int] | None = None) -> Points:
        with pytest.MonkeyPatch.context() as patch:
            points = Points(patch, folder, cut)
            run_stage(config | {"folder": str(folder)})
        return points

    places = run(tmp_path / "uncut").passed
    uncut = results(tmp_path / "uncut")
    every = [(name, nth + 1) for name, passed in places.items() for nth in range(passed)]
    lost = []
    for number, point in enumerate(every):
        folder = tmp_path / str(number)
        with pytest.raises(Killed):
            run(folder, point)
        run(folder)
        if results(folder) != uncut:
            lost.append(point)
    say(
        f"{len(every) - len(lost)} of {len(every)} kill points survived, in {len(places)} places: {', '.join(places)}"
    )
    assert not lost


def test_kills_at_random_moments_are_survived(teacher_run, quick_words, tmp_path, say):
    words = [*quick_words, DROPOUT, f"teacher.run={teacher_run}", f"paths.runs={tmp_path}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    def start(name: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "kd_lightning.train", "stage=distill", f"name={name}", *words]
        return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)

    def trained_seconds(name: str, limit: float = 600.0) -> float:
        """From the run's first file to its last, or until it is killed ``limit`` seconds after the first."""
        folder = tmp_path / name / "distill"
        with start(name) as process:
            while not (folder / "config.json").exists():
                assert process.poll() is None
                time.sleep(0.002)
            begin = time.monotonic()
            while not (folder / "metrics.json").exists():
                if time.monotonic() > begin + limit:
                    process.kill()
                    break
                assert process.poll() is None
                time.sleep(0.002)
            return time.monotonic() - begin

    whole = trained_seconds("uncut")
    uncut = results(tmp_path / "uncut" / "distill")
    draw = random.Random(0)
    moments: list[float] = []
    survived = 0
    while len(moments) < MOMENTS:
        moment, name = draw.uniform(0, whole), f"killed{len(moments)}"
        trained_seconds(name, moment)
        folder = tmp_path / name / "distill"
        if (folder / "metrics.json").exists():
            shutil.rmtree(folder)  # it was faster than the uncut one
            continue
        trained_seconds(name)
        moments.append(moment)
        survived += results(folder) == uncut
    shown = ", ".join(f"{moment:.2f}" for moment in moments)
    say(
        f"{survived} of {MOMENTS} processes killed by SIGKILL went on to the same end, "
        f"cut after {shown} of {whole:.1f} s"
    )
    assert survived == MOMENTS
