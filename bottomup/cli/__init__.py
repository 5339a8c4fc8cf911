"""The command `bottomup`: the first word says what to do. Nothing heavy is imported before it is known to be needed."""

import argparse
import dataclasses
import difflib
import io
import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

EXIT_CODES = """exit codes:
  0  all went well
  1  the output could not be written
  2  wrong usage: an option, a path, weights or annotations that do not exist or fit
  3  some files failed; the others are done
  130  interrupted; what was done until then is in DIR"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; `argv` without the program's name. Returns the exit code, see `EXIT_CODES`."""
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="backslashreplace"
            )  # file names in any script, on any terminal
    try:
        code = _run(words)
        sys.stdout.flush()  # here, where it may fail without harm
        return code
    except ValueError as error:  # the package's way to say that an argument or a file does not fit
        print(f"bottomup: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"bottomup: {error}", file=sys.stderr)
        return 1
    except SystemExit as stop:  # after the --help of a verb
        return int(stop.code or 0)


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
        return 0 if words else 2
    if words[0] in ("-V", "--version"):
        from bottomup import __version__

        print(f"bottomup {__version__}")
        return 0
    if words[0] in TRAINING_VERBS:
        from bottomup.cli.training import run

        return run(words[0], words[1:])
    verb = VERBS.get(words[0]) or _unknown_verb(words[0])
    parser = _Parser(
        prog=f"bottomup {words[0]}",
        description=verb.summary,
        epilog=verb.epilog,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_arguments(parser)
    return verb.run(parser.parse(words[1:]))


@dataclasses.dataclass(frozen=True)
class Verb:
    """One thing that the command does: its line in the overview, its arguments, and the function that does it."""

    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    epilog: str | None = None


class _Parser(argparse.ArgumentParser):
    """Says what was probably meant, in one line, instead of repeating the usage."""

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        for word in words:
            if word == "--":
                break
            option = word.split("=")[0]
            if (
                option.startswith("-")
                and option not in self._option_string_actions
                and not _is_number(word)
            ):
                close = difflib.get_close_matches(
                    option, self._option_string_actions, n=1, cutoff=0.5
                )
                meant = f"did you mean {close[0]}?" if close else f"see {self.prog} --help"
                self.error(f"unknown option {option}; {meant}")
        return self.parse_args(words)

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{self.prog.split()[-1]}: {message}")


def _overview() -> str:
    summaries = {name: verb.summary for name, verb in VERBS.items()} | TRAINING_VERBS
    lines = [f"  {name:<10}{summary}" for name, summary in summaries.items()]
    return "\n".join(
        [
            "usage: bottomup VERB ...",
            "",
            "Find every person in a picture and the joints of each, bottom-up.",
            "",
            *lines,
            "",
            "bottomup VERB --help explains a verb; bottomup --version prints the version.",
            "To begin:  bottomup predict --out out    (sample pictures; then open out/index.html)",
        ]
    )


def _unknown_verb(word: str) -> NoReturn:
    verbs = [*VERBS, *TRAINING_VERBS]
    close = difflib.get_close_matches(word, verbs, n=1, cutoff=0.5)
    if close:
        meant = f"did you mean bottomup {close[0]}?"
    elif os.path.exists(word):
        meant = f"did you mean bottomup predict {word} --out DIR?"
    else:
        meant = f"choose one of {', '.join(verbs)}"
    raise ValueError(f"unknown verb {word!r}; {meant}")


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _number(low: float, high: float, *, what: str) -> Callable[[str], float]:
    """An argument type: a number from low to high."""

    def parse(word: str) -> float:
        if not _is_number(word) or not low <= float(word) <= high:
            raise argparse.ArgumentTypeError(f"{word!r} is not {what} from {low:g} to {high:g}")
        return float(word)

    return parse


def _count(word: str) -> int:
    if not word.isascii() or not word.isdigit() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"{word!r} is not a whole number from 1")
    return int(word)


def _scale(word: str) -> float:
    if not _is_number(word):
        raise argparse.ArgumentTypeError(
            f"{word!r} is not a number; if it is a source, put it before --scales"
        )
    return _number(0.05, 8, what="a scale")(word)


def _add_predict(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "sources",
        nargs="*",
        metavar="SOURCE",
        help="picture, folder (searched with the folders in it) or 'glob'; the bundled samples if none is given",
    )
    add(
        "--out",
        required=True,
        metavar="DIR",
        help="where the results go; files of an earlier run are replaced",
    )
    add(
        "--weights",
        default="default",
        metavar="NAME|FILE",
        help="bundled or fetched weights, or a file",
    )
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps")
    add(
        "--mode",
        default="robust",
        choices=("robust", "official"),
        help="official: the numbers of the reference code",
    )
    add(
        "--size",
        type=_count,
        metavar="PIXELS",
        help="of the network's input; the weights know their own",
    )
    add(
        "--scales",
        type=_scale,
        nargs="+",
        default=[1.0],
        metavar="S",
        help="look at each picture at these scales",
    )
    add(
        "--flip",
        action="store_true",
        help="look at each picture mirrored too: better, and half as fast",
    )
    add(
        "--batch-size",
        type=_count,
        metavar="N",
        help="pictures per pass through the network (8; 1 on a CPU)",
    )
    threshold = _number(0, 1, what="a number")
    add(
        "--score-threshold",
        type=threshold,
        default=0.21,
        metavar="T",
        help="draw and count people from it (0.21)",
    )
    add(
        "--keypoint-threshold",
        type=threshold,
        default=0.1,
        metavar="T",
        help="draw joints from it (0.1)",
    )
    add(
        "--no-overlays", action="store_true", help="draw no pictures but the small ones of the page"
    )
    add(
        "--annotations", metavar="FILE", help="COCO file whose image ids to use, found by file name"
    )
    add(
        "--no-exif",
        action="store_true",
        help="leave pictures as they are stored, whatever their EXIF orientation",
    )


PREDICT_EPILOG = f"""DIR then holds:
  index.html     a page to look through the pictures
  overlays/      the pictures with people drawn on them
  results.json   COCO keypoint results, with low-scoring people too
  images.json    id, file name, width and height of each image
  failures.json  what could not be read, and why

{EXIT_CODES}"""


def _run_predict(arguments: argparse.Namespace) -> int:
    from bottomup.cli.predict import run

    return run(arguments)


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "results",
        metavar="RESULTS",
        help="results.json of bottomup predict, or any COCO results list",
    )
    parser.add_argument(
        "annotations", metavar="ANNOTATIONS", help="COCO or CrowdPose annotations with keypoints"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _run_evaluate(arguments: argparse.Namespace) -> int:
    from bottomup.evaluation.keypoints import evaluate

    figures = evaluate(arguments.results, arguments.annotations)
    if arguments.json:
        print(
            json.dumps(
                {name: None if math.isnan(value) else value for name, value in figures.items()},
                indent=2,
            )
        )
        return 0
    for name, value in figures.items():
        print(f"{name:<10}{'nobody to find' if math.isnan(value) else f'{value:.4f}':>8}")
    return 0


def _add_convert(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint",
        metavar="CKPT",
        help="an official HigherHRNet, MMPose 0.x or bottomup checkpoint",
    )
    parser.add_argument("out", metavar="OUT.safetensors", help="the file to write")


def _run_convert(arguments: argparse.Namespace) -> int:
    from bottomup.weights.store import convert

    print(convert(arguments.checkpoint, arguments.out))
    return 0


def _add_weights(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action", choices=("list", "fetch"), help="what there is, or fetch what others publish"
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="of the list")
    parser.add_argument(
        "--url",
        metavar="URL",
        help="fetch it from another place; its SHA-256 is checked all the same",
    )


def _run_weights(arguments: argparse.Namespace) -> int:
    from bottomup.cli.weights import run

    return run(arguments)


WEIGHTS_EPILOG = """Fetched weights go to the user's cache folder; predict, convert and fit then take
them by NAME. A transfer that broke off goes on where it ended. The official
HigherHRNet release lies on Google Drive and OneDrive: download it by hand, then
bottomup convert FILE OUT.safetensors. The licence is that of the project that
publishes the file; the data that it learned from has terms of its own."""


VERBS = {
    "predict": Verb("Find people in pictures.", _add_predict, _run_predict, PREDICT_EPILOG),
    "evaluate": Verb(
        "Average precision of results: COCO's ten figures, or CrowdPose's.",
        _add_evaluate,
        _run_evaluate,
    ),
    "convert": Verb(
        "Turn a checkpoint into a file that --weights takes.", _add_convert, _run_convert
    ),
    "weights": Verb(
        "List weights, and fetch those that others publish.",
        _add_weights,
        _run_weights,
        WEIGHTS_EPILOG,
    ),
}

TRAINING_VERBS = {
    "fit": "Train a network; configs/ has a recipe for each.",
    "validate": "Average precision of a network on the validation images of a recipe.",
    "test": "The same on its test images.",
}
"""Lightning's: they have a parser of their own, see `bottomup.cli.training`."""
