"""The written report: complete, self-contained, strict, readable, and deaf to what a hostile run says."""

import io
import json
import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

import pytest
from rich.console import Console
from run_folders import SHARES, write_export, write_run

from kd_lightning.reports import strict_json
from kd_lightning.reports.page import write_report
from kd_lightning.reports.terminal import print_comparison, print_report

HOSTILE = "<script>alert(1)</script>|[x](javascript:y)$\\frac{\x1b[31m"


class Reader(HTMLParser):
    """Tags, attributes and whether every opened element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href", "srcset")]
        if tag not in ("meta", "img", "source", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def parsed(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    return reader


def strict(text: str) -> dict:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    return json.loads(text, parse_constant=refuse)


def printed(comparison: dict) -> str:
    console = Console(file=io.StringIO(), width=100, force_terminal=False)
    print_comparison(comparison, console)
    return console.file.getvalue()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "my_run"
    for stage, share in SHARES.items():
        write_run(folder / stage, stage, share)
    write_export(folder / "finetune")
    return write_report(folder)


def test_all_files_are_there_and_nothing_else(report):
    assert report.name == "report"
    assert sorted(path.name for path in report.iterdir()) == [
        "accuracy_size.png",
        "comparison.json",
        "comparison.md",
        "confusion.png",
        "index.html",
        "learning_curves.png",
        "reliability.png",
    ]
    for path in report.glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")


def test_the_page_is_one_file_that_refers_to_itself_alone(report):
    text = (report / "index.html").read_text()
    page = parsed(text)
    assert page.tags.count("img") == 4
    assert page.links
    assert all(link.startswith(("data:image/png;base64,", "#section-", "#notes")) for link in page.links)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r"base64,[\w+/=]+", "", text))
    assert "prefers-color-scheme: dark" in text
    assert "width=device-width" in text


def test_the_policy_lets_the_one_script_run_that_sorts_tables(report):
    text = (report / "index.html").read_text()
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert "aria-sort" in script
    digest = b64encode(sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    assert "default-src 'none'" in text


def test_every_link_of_the_page_leads_to_a_part_of_it(report):
    text = (report / "index.html").read_text()
    targets = re.findall(r'href="#([^"]+)"', text)
    assert len(targets) >= 6
    assert all(text.count(f'id="{target}"') == 1 for target in targets)


def test_json_markdown_and_page_say_the_same(report):
    comparison = strict((report / "comparison.json").read_text())
    share = f"Gap recovered: {100 * comparison['gap_recovered']:.0f} %"
    assert share in (report / "comparison.md").read_text()
    assert share in (report / "index.html").read_text()
    assert share in printed(comparison)


def test_the_terminal_table_fits_a_hundred_columns(report):
    comparison = strict((report / "comparison.json").read_text())
    text = printed(comparison)
    assert max(map(len, text.splitlines())) <= 100
    row = next(line for line in text.splitlines() if line.strip().startswith("finetune   TCResNet"))
    accuracy = comparison["rows"][3]["metrics"]["accuracy"]
    assert f"{100 * accuracy:.1f} [" in row
    assert "…" not in text


def test_a_written_report_is_printed_from_its_folder(report):
    console = Console(file=io.StringIO(), width=100)
    print_report(report, console)
    assert "Gap recovered" in console.file.getvalue()


def test_the_same_runs_give_the_same_bytes(report):
    before = {path.name: path.read_bytes() for path in report.iterdir()}
    write_report(report.parent)
    assert {path.name: path.read_bytes() for path in report.iterdir()} == before


def test_hostile_names_stay_text(tmp_path):
    folder = tmp_path / "runs" / "a<b>"
    words = ["yes", "no", HOSTILE]
    results = {
        "network": HOSTILE,
        "notes": [HOSTILE],
        "params": "many",
        "macs": float("inf"),
        "latency_ms": 3,
    }
    config = {"task": HOSTILE, "corpus": {"_target_": HOSTILE, "labelled_fraction": [1]}}
    for stage, share in (("teacher", 0.9), ("finetune", 0.8)):
        write_run(folder / stage, stage, share, 60, words, 6, config=config, results=results)
        with (folder / stage / "curves.csv").open("a") as curves:
            curves.write("10,train/_$\\frac{,0.5\n20,train/_$\\frac{,0.4\n")
    write_export(folder / "finetune", format=HOSTILE, metrics={HOSTILE: 1.0, "accuracy": 0.5}, intervals=[1])
    report = write_report(folder)
    text = (report / "index.html").read_text()
    assert text.count("<script") == 1
    assert "&lt;script&gt;" in text
    assert "\x1b" not in text
    markdown = (report / "comparison.md").read_text()
    assert "<script" not in markdown
    assert "[x](" not in markdown.replace("\\[x\\](", "")
    for table in markdown.split("\n\n"):
        if table.startswith("|"):
            assert len({line.replace("\\|", "").count("|") for line in table.splitlines()}) == 1
    comparison = strict((report / "comparison.json").read_text())
    assert comparison["rows"][0]["params"] is None
    terminal = printed(comparison)
    assert "\x1b[31m" not in terminal


def test_a_lone_run_without_curves_or_scores_still_gives_a_page(tmp_path):
    folder = write_run(tmp_path / "one" / "baseline", "baseline", 0.8, 40, speakers=1)
    (folder / "curves.csv").unlink()
    lines = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    (folder / "predictions.jsonl").write_text(
        "".join(json.dumps(row | {"score": None}) + "\n" for row in lines)
    )
    report = write_report(tmp_path / "one")
    parsed((report / "index.html").read_text())
    comparison = strict((report / "comparison.json").read_text())
    assert comparison["gap_recovered"] is None
    assert any("one speaker" in note for note in comparison["notes"])


def test_json_has_no_nan():
    text = strict_json.to_json({"a": float("nan"), "b": [float("inf"), 1.5], "c": (1, None)})
    assert strict(text) == {"a": None, "b": [None, 1.5], "c": [1, None]}
