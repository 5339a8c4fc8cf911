"""What README.md and docs/ promise: links, paths, recipes, verbs, options, and code that runs."""

import functools
import itertools
import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml

from bottomup.cli import SUMMARIES, VERBS, main, training
from bottomup.cli.configs import recipes
from bottomup.weights.published import PUBLISHED

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
PAGES += sorted(ROOT.glob("docs/*.md"))
OF_TODAY = [page for page in PAGES if page.name != "moved_names.md"]  # it has the paths of before
SAMPLES = ROOT / "bottomup" / "samples"

PLACEHOLDER = re.compile(r"[A-Z]{2}|\.\.\.")  # FILE, NAME, scripts/...
LIGHTNING_OPTIONS = {"--config", "--ckpt_path", "--print_config", "--help", "--trainer.num_nodes"}


def name_of(page):
    return page.name


def blocks(text, languages):
    return re.findall(rf"^```(?:{languages})\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def spans(page):
    """The code within sentences and tables, each on one line."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]


def commands(page):
    """The words of every command of a page, in code blocks and within sentences."""
    lines = "".join(blocks(page.read_text(), "bash|sh")).replace("\\\n", " ").splitlines()
    starts = ("bottomup ", "python ", "scripts/", "torchrun ")
    lines += [span for span in spans(page) if span.startswith(starts)]
    found = [shlex.split(line, comments=True) for line in lines]
    found = [words[words.index("-m") + 1 :] if "-m" in words else words for words in found]
    starters = ("python", "srun")
    return [words[1:] if words[0] in starters else words for words in found if words]


def options(words):
    return {word.split("=")[0] for word in words if word.startswith("--")}


@functools.cache
def recipe_options():
    """Every setting of every recipe, as the command line writes it."""

    def flatten(value, prefix):
        yield prefix
        for key, inner in value.items() if isinstance(value, dict) else ():
            yield from flatten(inner, prefix if key == "init_args" else f"{prefix}.{key}")

    known = set(LIGHTNING_OPTIONS)
    for path in recipes().values():
        for key, value in yaml.safe_load(path.read_text()).items():
            known |= set(flatten(value, f"--{key}"))
    return known


def script_options(path):
    """The options that a script and the files that share its name or folder mention."""
    shared = [ROOT / "scripts" / "peers" / "contract.py"] if "peers" in path else []
    files = [*shared, *(ROOT / path).parent.glob(f"{Path(path).stem}*.py")]
    return {"--help"} | {o for f in files for o in re.findall(r"--[\w-]+", f.read_text())}


def known_options(words, capsys):
    """The options that the command of these words takes."""
    command, verb = words[0], words[1] if len(words) > 1 else ""
    if command == "scripts/demo.sh":
        command, verb = "bottomup", "predict"
    if command.startswith("scripts/"):
        return script_options(command)
    if verb in training.SUMMARIES:
        return recipe_options()
    main([verb, "--help"] if verb in VERBS else ["--help"])
    return set(re.findall(r"--[\w-]+", capsys.readouterr().out))


def test_readme_is_short():
    assert len(README.splitlines()) <= 120


def test_python_runs(tmp_path, monkeypatch, capsys):
    (tmp_path / "photos").mkdir()
    for copy in ("photo.jpg", "photos/one.jpg", "photos/two.jpg"):
        shutil.copy(SAMPLES / "park.jpg", tmp_path / copy)
    monkeypatch.chdir(tmp_path)
    (code,) = blocks(README, "python")
    exec(compile(code, "README.md", "exec"), {})
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert names == ["one.jpg", "two.jpg"]


def test_scripts_to_run_are_executable():
    run = [
        words[0]
        for block in blocks(README, "bash")
        for words in map(str.split, block.split("\n"))
        if words
    ]
    assert run
    for command in run:
        assert (ROOT / command).stat().st_mode & 0o100, command


@pytest.mark.parametrize("verb", sorted(set(re.findall(r"`bottomup (\w+)", README)) & set(VERBS)))
def test_verbs_explain_themselves(verb, capsys):
    assert main([verb, "--help"]) == 0
    assert verb in capsys.readouterr().out


def test_readme_names_every_verb():
    assert all(re.search(rf"\b{verb}\b", README) for verb in SUMMARIES)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\((?!http)([^)]+)\)", page.read_text()):
        target, _, anchor = link.partition("#")
        path = page.parent / target if target else page
        assert path.exists(), link
        if anchor:
            titles = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
            slugs = [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]
            assert anchor in slugs, link


@pytest.mark.parametrize("page", OF_TODAY, ids=name_of)
def test_paths_exist(page):
    folders = "bottomup|configs|docs|scripts|tests"
    words = [word for span in spans(page) for word in span.split()]
    words += [word for command in commands(page) for word in command]
    for word in words:
        is_path = re.match(rf"(?:{folders})/", word) and not PLACEHOLDER.search(word)
        assert not is_path or (ROOT / word).exists(), word


@pytest.mark.parametrize("page", OF_TODAY, ids=name_of)
def test_names_exist(page):
    """Verbs, recipes, published weights and methods of the comparison."""
    methods = yaml.safe_load((ROOT / "scripts" / "compare.yaml").read_text())
    for words in commands(page):
        if words[0] == "bottomup" and len(words) > 1 and not words[1].startswith("-"):
            assert words[1] in SUMMARIES or PLACEHOLDER.search(words[1]), words
        for before, word in itertools.pairwise(words):
            if PLACEHOLDER.search(word) or "." in word or word.startswith("-"):
                continue
            if before in ("--config", "configs"):
                assert word in recipes(), words
            if before == "fetch":
                assert word in PUBLISHED, words
        if "--methods" in words:
            chosen = words[words.index("--methods") + 1 :]
            assert all(name in methods or PLACEHOLDER.search(name) for name in chosen), words


@pytest.mark.parametrize("page", OF_TODAY, ids=name_of)
def test_options_exist(page, capsys):
    for words in commands(page):
        if options(words):
            assert options(words) <= known_options(words, capsys), words


def test_options_without_a_command_exist(capsys):
    known = recipe_options() | script_options("scripts/compare.py")
    for verb in VERBS:
        known |= known_options(["bottomup", verb], capsys)
    for page in OF_TODAY:
        for span in spans(page):
            assert not span.startswith("--") or options(span.split()) <= known, (page.name, span)


def test_map_names_every_file():
    text = (ROOT / "docs" / "how_it_works.md").read_text()
    text = text[text.index("## A map of the package") : text.index("### Beside the package")]
    for section in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        title = re.match(r"(\w+)/", section)
        folder = ROOT / "bottomup" / (title[1] if title else "")
        named = set(re.findall(r"`(\w+\.py)`", section))
        files = folder.rglob("*.py") if title else folder.glob("*.py")
        there = {path.name for path in files}
        assert named == there - {"__init__.py", "__main__.py"}, folder


def test_every_sample_states_its_origin():
    licences = (SAMPLES / "LICENSES.md").read_text()
    for sample in SAMPLES.glob("*.*"):
        assert sample.suffix == ".md" or sample.name in licences, sample.name
