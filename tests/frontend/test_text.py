"""Known Unicode cases, and what must hold for every character there is."""

# ruff: noqa: RUF001

import sys
import unicodedata

import pytest

from kd_lightning.frontend.text import SCORING_VERSION, joined, normalise, scoring_form, words

# language, as published, normalised
SENTENCES = [
    ("en", "Printing — WHICH, we’re told, isn't 'well-known'!", "printing which we're told isn't well known"),
    ("en", "The dogs' house;  ‘tis\tO`Brien´s…\n", "the dogs house tis o'brien's"),
    ("en", "It costs 10,000 dollars — or 50%?", "it costs 10 000 dollars or 50"),
    ("en", "ﬁve Ｗｉｄｅ cafés, cafe\u0301s, co\u00adoperate™ ❤️", "five wide cafés cafés cooperate"),
    ("de", "STRAẞE – Straße, Äpfel „Öl“", "straße straße äpfel öl"),
    ("fr", "L’ŒUVRE d'Émile : est-ce l'été ?", "l'œuvre d'émile est ce l'été"),
    ("tr", "IŞIK, İstanbul'da I\u0307ZMİR", "ışık istanbul'da izmir"),
    ("en", "İstanbul IT", "istanbul it"),
    ("ru", "«Ёлка» — это ЁЖ.", "ёлка это ёж"),
    ("uk", "М’ЯЧ, мʼяч", "м'яч м'яч"),
    ("el", "ΟΔΟΣ ΣΟΦΊΑΣ;", "οδος σοφίας"),
    ("ca", "Col·legi, paraŀlel.", "col·legi paral·lel"),
    ("es", "¿Qué? «col·legi»", "qué col legi"),
    ("zh-CN", "你好， 世界！我用Python 3。", "你好世界我用python 3"),
    ("ja", "ｶﾞｷﾞは「コーヒー」・時々", "ガギはコーヒー時々"),
    ("th", "สวัสดี ชาวโลก", "สวัสดีชาวโลก"),
    ("ko", "안녕, 세상!", "안녕 세상"),
    ("hi", "क्या हाल है? ज़रूर।", "क्या हाल है ज़रूर"),
    ("ar", "مُحَمَّدٌ، كـتـاب؟", "محمد كتاب"),
    ("fa", "می\u200cخواهم", "میخواهم"),
    ("vi", "Tiếng Việt", "tiếng việt"),
    ("en", " ' - … ' ", ""),
]  # fmt: skip


@pytest.mark.parametrize(("language", "published", "normalised"), SENTENCES)
def test_sentences_of_many_languages(language, published, normalised):
    assert normalise(published, language) == unicodedata.normalize("NFC", normalised)


# Frozen: a change here is a change of SCORING_VERSION.
SCORED = [
    ("en", "Don’t — WELL-known", "don't well known"),
    ("ru", "Ещё ёж", "еще еж"),
    ("be", "Ёсць", "ёсць"),
    ("fr", "Cœur et cætera", "coeur et caetera"),
    ("zh-CN", "你好，世界 OK了", "你 好 世 界 ok 了"),
    ("zh-TW", "二〇二四", "二 〇 二 四"),
    ("ja", "東京タワーへ", "東 京 タ ワ ー へ"),
    ("th", "ที่นี่", "ที่ นี่"),
    ("ko", "안녕 세상", "안녕 세상"),
    ("tr", "Iğdır İli", "ığdır ili"),
    ("de", "Groß", "groß"),
]


@pytest.mark.parametrize(("language", "text", "form"), SCORED)
def test_the_scoring_form_of_version_one(language, text, form):
    assert SCORING_VERSION == 1
    assert scoring_form(text, language) == unicodedata.normalize("NFC", form)


def test_only_what_comes_before_the_region_counts():
    assert normalise("I", "tr-TR") == normalise("I", "TR_tr") == "ı"
    assert normalise("I", "") == "i"


def test_words_of_unspaced_scripts_are_characters_with_their_marks_and_other_words_stay_whole():
    assert words("我用python三") == ["我", "用", "python", "三"]
    assert words("नमस्ते दुनिया") == ["नमस्ते", "दुनिया"]
    assert words(normalise("กำลัง", "th")) == ["ก\u0e4d", "า", "ลั", "ง"]
    assert joined("你 好 ok 了 ok ok") == "你好 ok 了 ok ok"


# All alphabets, and one in many of the rest (Han, Hangul, signs); unassigned and private ones are nobody's.
CODES = [
    code
    for code in (*range(0x3400), *range(0x3400, sys.maxunicode, 211))
    if unicodedata.category(chr(code)) not in ("Cn", "Co", "Cs")
]


@pytest.mark.parametrize("language", ["en", "tr", "fr", "zh-CN"])
def test_whatever_is_written_only_words_come_out_and_a_second_time_changes_nothing(language):
    for code in CODES:
        once = normalise(f"a{chr(code)}b {chr(code)}", language)
        assert all(unicodedata.category(letter)[0] in "LMN" for letter in set(once) - set(" '")), hex(code)
        assert once.split() == [word for word in once.split(" ") if word], hex(code)
        assert normalise(once, language) == once, hex(code)
        scored = scoring_form(once, language)
        assert scoring_form(scored, language) == scored, hex(code)
