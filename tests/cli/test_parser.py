import pytest

from bottomup.cli.parser import Parser, did_you_mean
from tests.support.commands import usage_error


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["predict", "--out", "o", "--scale", "1"], "--scales"),
        (["predict", "--ouput", "o"], "--out"),
        (["predict", "--out", "o", "--keypoint-treshold=0.1"], "--keypoint-threshold"),
        (["predict", "--out", "o", "--zzzzzz"], "predict --help"),
        (["predict", "--out", "o", "-x"], "unknown option -x"),
        (["predict"], "required: --out"),
        (["predict", "--out", "o", "--scales", "0.5", "photo.jpg"], "before --scales"),
        (["predict", "--out", "o", "--scales", "0"], "from 0.05 to 8"),
        (["predict", "--out", "o", "--scales", "nan"], "from 0.05 to 8"),
        (["predict", "--out", "o", "--score-threshold", "1.5"], "from 0 to 1"),
        (["predict", "--out", "o", "--keypoint-threshold", "-1"], "from 0 to 1"),
        (["predict", "--out", "o", "--batch-size", "0"], "whole number"),
        (["predict", "--out", "o", "--mode", "best"], "robust"),
        (["evaluate", "only_one"], "ANNOTATIONS"),
    ],
)
def test_wrong_usage_is_one_line_that_says_what_was_meant(words, meant, capsys):
    text = usage_error(capsys, *words)
    assert meant in text
    assert len(text.splitlines()) == 1


def test_words_after_two_dashes_and_negative_numbers_are_no_options():
    parser = Parser("verb", "Summary.")
    parser.add_argument("words", nargs="*")
    assert parser.parse(["--", "-x", "--y"]).words == ["-x", "--y"]
    assert parser.parse(["-1.5"]).words == ["-1.5"]


def test_a_dash_alone_is_a_word():
    parser = Parser("verb", "Summary.")
    parser.add_argument("words", nargs="*")
    assert parser.parse(["-"]).words == ["-"]


def test_the_closest_names_are_given_first():
    names = ["alpha", "alphas", "beta"]
    assert did_you_mean("alphaz", names, otherwise="none") in (
        "did you mean alpha?",
        "did you mean alphas?",
    )
    both = did_you_mean("alphaz", names, otherwise="none", prefix="--", num_names=2)
    assert "--alpha" in both
    assert "--alphas" in both
    assert did_you_mean("zzz", names, otherwise="none") == "none"
