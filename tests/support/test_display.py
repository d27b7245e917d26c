"""Display of foreign texts: no terminal command, no spreadsheet formula, names in natural order."""

import pytest

from textvae.support.display import guarded, natural, one_line, shortened, visible, without_markup


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("a\rb\x08\x7f\0", "a\\x0db\\x08\\x7f\\x00"),
        ("tab\tand\nline", "tab\tand\nline"),
        ("naïve — 日本 👩‍👩‍👧 \u200f", "naïve — 日本 👩‍👩‍👧 \u200f"),
    ],
)
def test_control_characters_are_escapes(text, shown):
    assert visible(text) == shown


@pytest.mark.parametrize(
    ("text", "line"),
    [("a\nb", "a b"), ("a\r\nb\x0bc\u2028d", "a b c d"), ("a\tb\x1b", "a b\\x1b"), ("", "")],
)
def test_a_text_on_one_line(text, line):
    assert one_line(text) == line


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", '"=', '" =', " ="])
def test_a_formula_is_guarded(start):
    assert guarded(f"{start}1+1") == f"'{start}1+1"


@pytest.mark.parametrize("text", ["", "1-1", "a=b", "'=1", '"said" he', "日"])
def test_what_is_no_formula_stays(text):
    assert guarded(text) == text


@pytest.mark.parametrize(
    ("text", "width", "line"),
    [
        ("a  b\n c", 5, "a b c"),
        ("word word word word", 19, "word word word word"),
        ("word word word word", 18, "word word word …"),
        ("word word word word", 16, "word word word …"),
        ("word word word word", 15, "word word …"),
        ("a 0123456789", 8, "a 01234…"),
        ("日本語の長い文章", 5, "日本語の…"),
        ("", 5, ""),
    ],
)
def test_a_long_text_ends_in_an_ellipsis(text, width, line):
    assert shortened(text, width) == line
    assert len(line) <= width


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("good<br /><br>food", "good food"),
        ("&lt;a href=&quot;x&quot;&gt;Reuters&lt;/A&gt; - AT&amp;T", "Reuters - AT&T"),
        ("<!-- a\ncomment -->text", "text"),
        ("<script>alert(1)</script>", "alert(1)"),
        ("<s> the <unk> </s> 1<2 <3 a<b>c", "<s> the <unk> </s> 1<2 <3 a c"),
        ("x?a=1&para=2 R&D &nosuch; &#39;", "x?a=1&para=2 R&D &nosuch; '"),
        ("<h1\nclass='x'>Title</h1>", "Title"),
    ],
)
def test_markup_is_left_out_and_words_between_brackets_stay(text, words):
    assert without_markup(text) == words


@pytest.mark.parametrize(
    "names",
    [
        ["1", "2", "10", "a"],
        ["class 9", "class 010", "class 10", "Class 11"],
        ["a", "B", "c"],
        ["0: z", "1: a", "10: b", "word"],
        ["9" * 5_000, "1" + "0" * 5_000],
    ],
)
def test_names_are_sorted_as_people_do(names):
    backwards = names[::-1]
    assert sorted(backwards, key=natural) == names
