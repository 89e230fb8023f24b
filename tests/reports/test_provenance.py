"""Where the runs come from, as the report says it: what was recorded, what differs, and nothing that was not said."""

import json

import pytest
from run_folders import SHARES, write_run
from test_page import HOSTILE, parsed, strict

from kd_lightning.reports import provenance as shown
from kd_lightning.reports.comparison import read_stages
from kd_lightning.reports.formats import UNKNOWN
from kd_lightning.reports.page import write_report
from kd_lightning.reports.provenance import provenance, section

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MADE = {
    "started": "2026-01-31T09:30:59+00:00",
    "command": "python -m kd_lightning.pipeline name=my_run",
    "commit": COMMIT,
    "versions": {"python": "3.11.9", "torch": "2.11.0", "kd_lightning": "0.1.0"},
}


def written(folder, **stages: dict):
    """Runs that recorded this, and the section about them."""
    for stage, made in stages.items():
        write_run(folder / stage, stage, SHARES[stage], cuts=20, results=made)
    runs, _ = read_stages(folder)
    return runs, section(provenance(runs), runs)


def test_stages_of_one_command_share_its_line_and_have_a_row_each(tmp_path):
    _, found = written(tmp_path, teacher=MADE, finetune=MADE)
    assert found.text == ["teacher, finetune: python -m kd_lightning.pipeline name=my_run"]
    (table,) = found.tables
    assert table.columns == ["stage", "started (UTC)", "python", "torch", "kd_lightning", "commit"]
    assert table.rows[1] == ["finetune", "2026-01-31 09:30", "3.11.9", "2.11.0", "0.1.0", "0123456789"]


def test_other_code_and_changed_code_are_said(tmp_path):
    _, found = written(tmp_path, teacher=MADE, finetune=MADE | {"commit": f"{COMMIT}-dirty"})
    assert found.tables[0].rows[1][-1] == "0123456789 dirty"
    assert "not as committed" in found.tables[0].caption
    code = "teacher 0123456789, finetune 0123456789 dirty"
    assert f"The stages were not trained by the same code: {code}." in found.text


def test_a_run_that_recorded_nothing_is_named_and_its_words_are_known(tmp_path):
    write_run(tmp_path / "baseline", "baseline", cuts=20, config={"overrides": ["name=a b", "seed=1"]})
    runs, found = written(tmp_path)
    assert found.tables == []
    assert found.text == [
        "baseline: a command with the words 'name=a b' seed=1",
        "Versions were not recorded by: baseline.",
    ]
    nothing = {"stage": "baseline", "started": None, "command": None, "commit": None, "versions": {}}
    assert provenance(runs) == [nothing]


def test_one_silent_stage_leaves_dashes_in_its_row(tmp_path):
    _, found = written(tmp_path, teacher=MADE, finetune={})
    assert found.tables[0].rows[1] == ["finetune", *[UNKNOWN] * 5]
    assert "Versions were not recorded by: finetune." in found.text


def test_the_config_is_shown_as_it_was_resolved(tmp_path):
    runs, found = written(tmp_path, teacher=MADE)
    (block,) = found.blocks
    lines = block.text.splitlines()
    assert block.title == "Config of teacher"
    assert "corpus:" in lines
    assert "  labelled_fraction: 1.0" in lines
    assert "  root: null" in lines
    for line in lines:
        key, _, value = line.strip().partition(": ")
        if not line.startswith(" ") and value:
            assert json.loads(value) == runs["teacher"].config[key]


def test_a_config_without_end_and_one_without_bottom_do_not_break_the_page(tmp_path, monkeypatch):
    monkeypatch.setattr(shown, "MOST", 300)
    deep: dict = {}
    for _ in range(400):
        deep = {"deeper": deep}
    write_run(tmp_path / "teacher", "teacher", cuts=20, config={"long": ["x"] * 10_000})
    write_run(tmp_path / "finetune", "finetune", cuts=20, config={"deep": deep})
    runs, _ = read_stages(tmp_path)
    long, _ = section(provenance(runs), runs).blocks
    assert len(long.text) < 400
    assert "more characters in config.json" in long.text

    def bottomless(*_):
        raise RecursionError

    monkeypatch.setattr(shown, "_lines", bottomless)
    assert "too deeply" in section(provenance(runs), runs).blocks[1].text


@pytest.mark.parametrize(
    "made", [HOSTILE, 3, [HOSTILE], {HOSTILE: 3, "torch": None}, {str(n): "1" for n in range(99)}]
)
def test_versions_that_are_none_are_not_recorded(tmp_path, made):
    runs, found = written(tmp_path, finetune=MADE | {"versions": made, "commit": [COMMIT]})
    (recorded,) = provenance(runs)
    assert recorded["commit"] is None
    assert len(recorded["versions"]) == (12 if isinstance(made, dict) and "1" in made else 0)
    assert bool(found.tables) == bool(recorded["versions"])


def test_hostile_records_stay_text(tmp_path):
    results = MADE | {
        "versions": {HOSTILE: HOSTILE},
        "commit": HOSTILE,
        "command": HOSTILE,
        "started": HOSTILE,
    }
    write_run(tmp_path / "run" / "finetune", "finetune", cuts=20, results=results, config={HOSTILE: HOSTILE})
    report = write_report(tmp_path / "run")
    text = (report / "index.html").read_text()
    assert parsed(text).tags.count("script") == 1
    assert "\x1b" not in text
    assert "<script" not in (report / "comparison.md").read_text()
    (found,) = strict((report / "comparison.json").read_text())["provenance"]
    assert found["command"] == HOSTILE
