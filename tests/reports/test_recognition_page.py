"""The written report of recognisers: the same in every form, in colour, sign and sound, and deaf to hostile runs."""

import io
import json
import wave
from urllib.parse import unquote

import pytest
from recognition_folders import WRONG, spoken, write_pipeline, write_recogniser
from rich.console import Console
from test_page import HOSTILE, Reader, printed, strict

from kd_lightning.files import safe_name
from kd_lightning.reports import audio
from kd_lightning.reports.audio import audio_files, embedded
from kd_lightning.reports.comparison import compare, compare_runs, read_stages
from kd_lightning.reports.known_tasks import task_of
from kd_lightning.reports.page import write_report
from kd_lightning.reports.plots import metric_against_size
from kd_lightning.reports.recognition.utterances import beside_reference
from kd_lightning.reports.settings import compare_settings
from kd_lightning.reports.sweep import write_sweep_report
from kd_lightning.reports.terminal import print_sweep
from kd_lightning.reports.theme import LIGHT, themed


def write_audio(folder, cut: str, samples: int = 800) -> bytes:
    """A short wav in a run's folder."""
    path = folder / "audio" / f"{safe_name(cut)}.wav"
    path.parent.mkdir(exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(bytes(2 * samples))
    return path.read_bytes()


def parsed(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = write_pipeline(tmp_path_factory.mktemp("runs") / "my_run")
    for row in spoken(0)[:60]:
        write_audio(folder / "finetune", row["cut"])
    return write_report(folder)


def test_all_files_are_there_and_nothing_else(report):
    assert sorted(path.name for path in report.iterdir()) == [
        "comparison.json",
        "comparison.md",
        "index.html",
        "learning_curves.png",
        "wer_size.png",
    ]


def test_the_page_is_one_file_that_plays_what_the_run_kept(report):
    page = parsed((report / "index.html").read_text())
    comparison = strict((report / "comparison.json").read_text())
    kept = {row["cut"] for row in spoken(0)[:60]}
    sounds = [link for link in page.links if link.startswith("data:audio/wav;base64,")]
    assert len(sounds) == page.tags.count("audio")
    assert len(sounds) == sum(one["cut"] in kept for one in comparison["utterances"])
    assert 0 < len(sounds) < 20
    embedded_or_here = ("data:image/png;base64,", "data:audio/wav;base64,", "#")
    assert all(link.startswith(embedded_or_here) for link in page.links)
    assert page.tags.count("script") == 1
    assert "media-src data:" in (report / "index.html").read_text()


def test_errors_are_marked_by_colour_and_by_sign(report):
    text = (report / "index.html").read_text()
    assert '<td class="insertion" dir="auto">+ uh</td>' in text
    assert '<td class="deletion" dir="auto">\N{MINUS SIGN} ' in text
    assert '<td class="substitution" dir="auto">\N{NOT EQUAL TO} ' in text
    markdown = (report / "comparison.md").read_text()
    assert all(sign in markdown for sign in ("| + uh |", "| \N{MINUS SIGN} ", "| \N{NOT EQUAL TO} "))


def test_json_markdown_page_and_terminal_say_the_same(report):
    comparison = strict((report / "comparison.json").read_text())
    row = comparison["rows"][3]
    low, high = row["intervals"]["wer"]
    rate = f"{100 * row['metrics']['wer']:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
    gained = next(
        one for one in comparison["differences"] if (one["stage"], one["minus"]) == ("finetune", "baseline")
    )
    forms = (
        (report / "index.html").read_text(),
        (report / "comparison.md").read_text().replace("\\[", "[").replace("\\]", "]"),
        printed(comparison),
    )
    for text in forms:
        assert rate in text
        assert f"Gap recovered: {100 * comparison['gap_recovered']:.0f} %" in text
        assert f"finetune - baseline: {100 * gained['value']:+.1f}" in text
        assert "points of WER (negative is better)" in text
        assert "21.3 [19.0, 24.0]" in text  # of the export
        assert "6.4 M" in text  # multiply-accumulates per second
    assert "accuracy" not in "".join(forms)


def test_the_terminal_tables_fit_a_hundred_columns(report):
    text = printed(strict((report / "comparison.json").read_text()))
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    assert "Confused words" in text
    assert "WER by noise level" in text


def test_every_word_of_an_alignment_stands_below_the_one_that_was_said():
    found = {
        "cut": "clip", "speaker": "a", "seconds": 2.04, "noise": "5 to 15 dB",
        "reference": "the cat sat",
        "outputs": {"teacher": "the cat sat", "finetune": "a the hat"},
        "errors": {"teacher": 0, "finetune": 3},
    }  # fmt: skip
    shown = beside_reference(found)
    assert shown.title == "clip · speaker a · 2.0 s · 5 to 15 dB"
    assert shown.reference == ["", "the", "cat", "sat"]
    teacher, student = shown.lines
    assert [word.kind for word in teacher.words] == ["nothing", "hit", "hit", "hit"]
    assert [tuple(word) for word in student.words] == [
        ("+ a", "insertion"),
        ("the", "hit"),
        ("\N{NOT EQUAL TO} hat", "substitution"),
        ("\N{MINUS SIGN} sat", "deletion"),
    ]
    for line in shown.lines:
        assert sum(word.kind not in ("hit", "nothing") for word in line.words) == line.errors
    assert shown.table.rows[1] == ["finetune", "3", *(word.text for word in student.words)]


def test_hostile_texts_stay_text(tmp_path):
    folder = tmp_path / "runs" / "a<b>"
    cuts = ["../../etc/passwd", HOSTILE, "half \ud800 a pair", "x" * 5000]
    said = [f"the {HOSTILE} sat", '"><audio src=x onerror=alert(1)>', "a\tb\x00c  d", "</td></table> on"]
    for stage in ("teacher", "baseline", "finetune"):
        rows = [
            {
                "cut": cut,
                "reference": reference,
                "output": reference if stage == "teacher" else f"{HOSTILE} {reference[::-1]}",
                "speaker": cut,
                "snr": True,
                "seconds": "long",
            }
            for cut, reference in zip(cuts, said, strict=True)
        ]
        results = {"network": HOSTILE, "clip_seconds": 0, "macs": "many", "scoring_version": [1]}
        write_recogniser(folder / stage, stage, rows, {"classes": HOSTILE, "corpus": [1]}, results)
        with (folder / stage / "curves.csv").open("a") as curves:
            curves.write("10,validation/wer,1e308\n20,train/_$\\frac{,0.4\n")
    report = write_report(folder)
    text = (report / "index.html").read_text()
    page = parsed(text)
    assert page.tags.count("script") == 1
    assert "audio" not in page.tags
    assert "\x1b" not in text
    assert "&lt;script&gt;" in text
    markdown = (report / "comparison.md").read_text()
    assert "<script" not in markdown
    assert "<audio" not in markdown
    for table in markdown.split("\n\n"):
        if table.startswith("|"):
            assert len({line.replace("\\|", "").count("|") for line in table.splitlines()}) == 1
    assert "\x1b[31m" not in printed(strict((report / "comparison.json").read_text()))


def test_a_lone_recogniser_without_curves_or_noise_still_gives_a_page(tmp_path):
    rows = [row | {"snr": None, "speaker": "one"} for row in spoken(0.3, 8)]
    folder = write_recogniser(tmp_path / "one" / "baseline", "baseline", rows, results={"metrics": {"x": 1}})
    (folder / "curves.csv").unlink()
    text = (write_report(tmp_path / "one") / "index.html").read_text()
    parsed(text)
    assert "Where student and teacher differ most" not in text
    assert "Worst speakers" not in text


def test_names_of_audio_files_are_safe_and_never_the_same():
    cuts = ["a/b", "a_b", "a%2Fb", "..", "ü", "x" * 300, "x" * 301, "com mon.mp3", "\ud800", ""]
    names = [safe_name(cut) for cut in cuts]
    assert len(set(names)) == len(cuts)
    for cut, name in zip(cuts, names, strict=True):
        assert "/" not in name
        assert len(name) <= 200
        assert name.isascii()
        if len(cut) < 50:
            assert unquote(name, errors="surrogatepass") == cut


def test_audio_is_embedded_until_the_page_is_full(tmp_path, monkeypatch):
    content = write_audio(tmp_path, "first")
    write_audio(tmp_path, "large", 80_000)
    write_audio(tmp_path, "last")
    (tmp_path / "audio" / "text.wav").write_text("root:x:0:0")
    (tmp_path / "audio" / "flac.flac").write_bytes(b"fLaC")
    (tmp_path / "audio" / "endless.wav").symlink_to("/dev/zero")
    monkeypatch.setattr(audio, "MOST", 3 * len(content))
    folders, cuts = (
        [tmp_path / "none", tmp_path],
        ("first", "large", "text", "endless", "absent", "last", "flac"),
    )
    found, left_out = embedded({cut: audio_files(folders, cut) for cut in cuts})
    assert list(found) == ["first", "last", "flac"]
    assert left_out == ["large"]
    assert sum(map(len, found.values())) <= 3 * len(content)
    assert found["flac"] == "data:audio/flac;base64,ZkxhQw=="


def test_what_did_not_fit_is_said(tmp_path, monkeypatch):
    folder = write_pipeline(tmp_path / "my_run")
    runs, _ = read_stages(folder)
    comparison = compare_runs("my_run", runs)
    for one in comparison["utterances"]:
        content = write_audio(folder / "teacher", one["cut"])
    monkeypatch.setattr(audio, "MOST", 4 * len(content))
    section = task_of("recognition").sections(comparison, runs)[-1]
    assert sum(one.audio is not None for one in section.utterances) == 2
    assert any("plays 2 of these utterances; the audio of 18 more" in text for text in section.text)


@pytest.fixture
def sweep(tmp_path):
    """A sweep of two settings and three seeds."""
    folder, job = tmp_path / "multirun" / "2026-01-01" / "10-00-00", 0
    for setting, rates in (("none", (0.30, 0.32, 0.29)), ("sequence", (0.20, 0.21, 0.18))):
        for seed, rate in enumerate(rates):
            config = {"overrides": [f"transfer={setting}", f"seed={seed}"], "seed": seed}
            results = {"metrics": {"wer": rate, "cer": rate / 2}, "seed": seed}
            write_recogniser(folder / str(job), "distill", spoken(0.2, 4), config, results)
            job += 1
    return folder


def test_a_sweep_says_that_fewer_errors_are_better(sweep):
    found = compare_settings(sweep)
    rows = {row["setting"]: row for row in found["rows"]}
    assert found["metric"] == "wer"
    assert rows["transfer=none"]["metrics"]["wer"] == pytest.approx(0.91 / 3)
    difference = rows["transfer=sequence"]["difference"]
    assert difference["value"] == pytest.approx((0.59 - 0.91) / 3)
    assert difference["interval"][1] < 0
    assert difference["excludes_zero"] is True
    console = Console(file=io.StringIO(), width=100)
    print_sweep(found, console)
    text = " ".join(console.file.getvalue().split())
    assert "-10.7 [" in text
    assert max(map(len, console.file.getvalue().splitlines())) <= 100


def test_the_report_of_a_sweep_speaks_of_wer(sweep):
    report = write_sweep_report(sweep)
    comparison = json.loads((report / "comparison.json").read_text(), parse_constant=pytest.fail)
    assert comparison["task"] == "recognition"
    text = (report / "index.html").read_text()
    assert "WER % [95 %]" in text
    assert "CER" in text
    assert "negative is better" in text
    assert "accuracy" not in text


def test_the_worse_of_two_recognisers_is_drawn_above_the_better(tmp_path):
    for stage in WRONG:
        write_recogniser(tmp_path / stage, stage)
    comparison = compare(tmp_path)
    with themed(LIGHT):
        (axes,) = metric_against_size(comparison, task_of("recognition"), LIGHT).axes
    assert axes.get_ylabel() == "test WER (lower is better)"
    points = [line for line in axes.lines if line.get_marker() == "o"]
    drawn = [(point.get_xdata()[0], point.get_ydata()[0]) for point in points]
    assert drawn == [(row["size_bytes"], row["metrics"]["wer"]) for row in comparison["rows"]]
