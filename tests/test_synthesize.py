"""The speaking command, as a user types it: what it writes, prints, skips and refuses."""

import itertools
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
from safetensors.torch import load_file, save_file
from spoken_runs import speaking_run, write_voice

from kd_lightning import synthesize
from kd_lightning.frontend.sentences import split_sentences
from kd_lightning.teachers.finished_run import WEIGHTS

RATE = 16000
RATES = r"(\d+\.\d\d) s of speech, real-time factor \d+\.\d{3} on one thread, first heard after \d+ ms"
DECODER = (
    "student=tacotron2_small",
    "distiller=synthesis_decoder",
    *(f"student.network.{size}" for size in ("encoder_width=16", "attention_width=16", "decoder_width=16")),
    *(f"student.network.{size}" for size in ("prenet_width=8", "postnet_width=8", "max_frames_per_token=4")),
)
OTHER_MEL = ("frontend=mel_22k", "student=vocos_tiny")


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_voice(tmp_path_factory.mktemp("voice"))


@pytest.fixture(scope="module")
def texts(voice: Path) -> list[str]:
    """Sentences that the tokens can say, for they were learnt from them."""
    return [path.read_text() for path in sorted((voice / "train-clean-100").rglob("*.normalized.txt"))]


@pytest.fixture(scope="module")
def acoustic(voice: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return speaking_run(tmp_path_factory.mktemp("acoustic"), voice, "libritts_tts", "corpus.pitch=false")


@pytest.fixture(scope="module")
def vocoder(voice: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return speaking_run(tmp_path_factory.mktemp("vocoder"), voice, "libritts_vocoder")


Typed = Callable[..., int | str | None]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, acoustic: Path) -> Typed:
    """The status, or the message, with which the command ends for these words and the acoustic run."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> int | str | None:
        given = any(word.startswith("acoustic=") for word in words)
        monkeypatch.setattr("sys.argv", ["synthesize", *words, *([] if given else [f"acoustic={acoustic}"])])
        try:
            synthesize.main()
        except SystemExit as end:
            return end.code
        return None

    return run


@pytest.mark.parametrize("name", ["hello.wav", "new/hello.flac", "hello.OGG"])
def test_a_text_is_written_to_a_file(
    name: str, typed: Typed, vocoder: Path, texts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(f"text={texts[0]}", f"vocoder={vocoder}", "speaker=100", "seed=3", f"out={name}") is None
    out = capsys.readouterr()
    (line,) = out.out.splitlines()
    assert (found := re.fullmatch(rf"{name}: {RATES}", line)), line
    written = soundfile.info(name)
    assert written.samplerate == RATE
    assert written.channels == 1
    assert written.duration == pytest.approx(float(found[1]), abs=0.01)
    assert written.format.lower() == name.rpartition(".")[2].lower()


def test_a_text_is_prose_and_no_grammar(typed: Typed, texts: list[str]) -> None:
    first, second = (text.rstrip(".!?") for text in texts[:2])
    prose = f'{first}, "{second}" (${{x}}: [{first}]; {{{second}}}): {first}!'.replace("${x}", second)
    assert typed(f"text={prose}") is None
    assert Path("speech.wav").is_file()


def test_griffin_lim_speaks_where_nobody_else_does(typed: Typed, texts: list[str]) -> None:
    assert typed(f"text={texts[0]}") is None
    assert soundfile.info("speech.wav").samplerate == RATE


def test_two_thousand_words_are_read_to_the_end(
    typed: Typed, vocoder: Path, texts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = itertools.cycle(f"{', '.join(text.rstrip('.!?') for text in texts)}.".split())
    text = " ".join(itertools.islice(words, 2000))
    assert typed(f"text={text}", f"vocoder={vocoder}", "out=long.wav") is None
    (line,) = capsys.readouterr().out.splitlines()
    spoken = float(re.fullmatch(rf"long\.wav: {RATES}", line)[1])
    pauses = 0.2 * (len(split_sentences(text, 30)) - 1)
    assert soundfile.info("long.wav").duration == pytest.approx(spoken + pauses, abs=0.02)


def test_lines_of_a_file_are_said_and_what_cannot_be_said_is_counted(
    typed: Typed, vocoder: Path, texts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("lines.txt").write_text(f"{texts[0]}\n\nIt is 你.\n{texts[1]} {texts[2]}\n...\n", encoding="utf-8")
    assert typed("sentences=lines.txt", f"vocoder={vocoder}", "out=said") is None
    out = capsys.readouterr()
    assert sorted(path.name for path in Path("said").iterdir()) == ["lines_0001.wav", "lines_0004.wav"]
    *lines, counted = out.out.splitlines()
    assert [bool(re.fullmatch(rf"said/lines_\d+\.wav: {RATES}", line)) for line in lines] == [True, True]
    assert counted == "2 of 4 lines are in said, 2 were skipped"
    skipped = out.err.splitlines()
    assert skipped[0].startswith("lines_0003 was skipped: the voice 'en-us' cannot say '你' in")
    assert skipped[1] == "lines_0005 was skipped: there is nothing to say in '...'"
    Path("none.txt").write_text("...\n你\n", encoding="utf-8")
    assert typed("sentences=none.txt") == "ValueError: 0 of 2 lines are in speech, 2 were skipped"


def test_a_decoder_that_never_stops_is_stopped_and_reported(
    voice: Path, typed: Typed, texts: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = speaking_run(tmp_path / "runs", voice, "libritts_tts", "corpus.pitch=false", *DECODER)
    state = load_file(run / WEIGHTS)
    state["network.decoder.gate_layer.bias"] -= 9.0
    save_file(state, run / WEIGHTS)
    capsys.readouterr()
    assert typed(f"text={texts[0]}", f"acoustic={run}") is None
    assert f"speech.wav: cut off, the decoder came to no end: {texts[0]}" in capsys.readouterr().err
    # Four frames a token, at least a hundred.
    assert 100 * 200 <= soundfile.info("speech.wav").frames <= 4 * 200 * 60


@pytest.fixture(scope="module")
def other_mel(voice: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return speaking_run(tmp_path_factory.mktemp("other_mel"), voice, "libritts_vocoder", *OTHER_MEL)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], r'say what to speak: text="…", or sentences=<file>'),
        (["text=Hi", "sentences=s.txt"], r'say what to speak: text="…", or sentences=<file>'),
        (["text="], "there is nothing to say in ''"),
        (["text=We saw 你 and ∰."], r"the voice 'en-us' cannot say '你', '∰' in 'We saw 你 and ∰\.'"),
        (["Hello", "there"], "'Hello' is not key=value; put quotation marks around texts with spaces"),
        (["text=Hi", "speed=2"], "speed: there are text, sentences, acoustic, vocoder, speaker, out and seed"),
        (["text=Hi", "seed=many"], "seed=many is not a whole number"),
        (["text=Hi", "speaker=84"], "speaker=84: this network has learnt 100"),
        (["text=Hi", "out=speech.mp3"], r"out=speech\.mp3: name a file that ends in \.wav, \.flac, \.ogg"),
        (["text=Hi", "out=folder.wav"], r"out=folder\.wav is a folder: name a file"),
        (["sentences=said.txt", "out=all.wav"], r"out=all\.wav: with sentences= name a folder"),
        (["sentences=nowhere.txt"], r"sentences=nowhere\.txt is not a file"),
        (["sentences=latin.txt"], r"latin\.txt is not UTF-8 \(.* at byte 2\): save it as such"),
        (["sentences=empty.txt"], r"empty\.txt has no sentence"),
        (["text=Hi", "acoustic="], "say which: acoustic=<folder>"),
        (["text=Hi", "acoustic=nowhere"], "acoustic=nowhere is not a folder"),
        (["text=Hi", "acoustic=folder.wav"], r"folder\.wav is not a run: it has no config\.json"),
        (["text=Hi", "acoustic={vocoder}"], "acoustic=.* is of task=vocoding: name a run of task=synthesis"),
        (["text=Hi", "vocoder={acoustic}"], "vocoder=.* is of task=synthesis: name a run of task=vocoding"),
        (["text=Hi", "vocoder={other_mel}"], r"the vocoder speaks other mels \(hop_length: 256 there, 200 here; "
                                             "sample_rate: 22050 there, 16000 here; "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(
    words: list[str], said: str, typed: Typed, acoustic: Path, vocoder: Path, other_mel: Path
) -> None:
    Path("said.txt").write_text("Hi.\n")
    Path("empty.txt").write_text("\n \n")
    Path("latin.txt").write_bytes("Zwölf".encode("latin-1"))
    Path("folder.wav").mkdir()
    runs = {"acoustic": acoustic, "vocoder": vocoder, "other_mel": other_mel}
    before = sorted(Path().iterdir())
    message = typed(*(word.format(**runs) for word in words))
    assert re.match(rf"(ValueError|FileNotFoundError|NotADirectoryError): {said}", str(message)), message
    assert "\n" not in str(message)
    assert sorted(Path().iterdir()) == before


def test_help_says_how_it_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["synthesize", "--help"])
    synthesize.main()
    assert "real-time factor on one thread" in capsys.readouterr().out
