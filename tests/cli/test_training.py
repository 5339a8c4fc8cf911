import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bottomup.cli import main
from bottomup.cli.lightning_cli import fast_precision
from tests.support.commands import usage_error

pytestmark = pytest.mark.filterwarnings(
    "ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"
)


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["bottomup"])  # Lightning's command line changes it
    return tmp_path


@pytest.mark.parametrize("verb", ["fit", "validate", "test"])
@pytest.mark.parametrize(
    "words",
    [["--config", "synthetic"], ["--config=synthetic"], ["-c", "synthetic.yaml"]],
    ids=" ".join,
)
def test_a_recipe_is_found_by_its_name(verb, words, capsys):
    assert main([verb, *words, "--print_config"]) == 0
    assert "default_root_dir: runs/synthetic" in capsys.readouterr().out


def test_a_file_of_that_name_wins(empty_folder, capsys):
    (empty_folder / "synthetic").write_text("seed_everything: 7")
    assert main(["fit", "--config", "synthetic", "--print_config"]) == 0
    assert "seed_everything: 7" in capsys.readouterr().out


def test_later_configs_add_to_a_recipe(empty_folder, capsys):
    (empty_folder / "mine.yaml").write_text("seed_everything: 7")
    words = ["--config", "synthetic", "--config", "mine.yaml", "--print_config"]
    assert main(["fit", *words]) == 0
    text = capsys.readouterr().out
    assert "seed_everything: 7" in text
    assert "default_root_dir: runs/synthetic" in text


@pytest.mark.parametrize("verb", ["fit", "validate", "test"])
@pytest.mark.parametrize("words", [["--config", "synthetc"], ["--config=synthetc"]])
def test_an_unknown_name_is_wrong_usage(verb, words, capsys):
    text = usage_error(capsys, verb, *words)
    assert text.count("\n") == 1
    assert "did you mean synthetic?" in text


def test_an_unknown_name_does_not_wait_for_torch():
    code = "import sys; from bottomup.cli import main; code = main(['fit', '--config', 'zzz']); "
    code += "sys.exit(code if 'torch' not in sys.modules else 'torch')"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 2


def test_help_is_that_of_the_verb(capsys):
    assert main(["validate", "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: bottomup")
    assert "--config takes the name of a recipe or a file" in " ".join(text.split())


def test_results_go_to_the_current_folder(empty_folder, capsys):
    words = ["--trainer.max_steps=1", "--trainer.limit_val_batches=0", "--data.batch_size=1"]
    words += ["--data.num_workers=0", "--trainer.enable_progress_bar=false"]
    words += ["--data.crowd.width=64", "--data.crowd.height=64", "--model.network.width=8"]
    words += ["--trainer.accelerator=cpu", "--trainer.logger=false", "--trainer.callbacks=[]"]
    words += ["--model.network.input_size=64", "--trainer.enable_model_summary=false"]
    assert main(["fit", "--config", "synthetic", *words]) == 0, capsys.readouterr().err
    assert list(empty_folder.rglob("*.ckpt"))


@pytest.mark.parametrize("has", ["_is_avx512_bf16_supported", "_is_amx_tile_supported", None])
def test_cpus_train_in_bfloat16_where_they_have_instructions_for_it(has, monkeypatch):
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda name=name: name == has, raising=False)
    assert fast_precision("cpu") == ("bf16-mixed" if has else "32-true")


@pytest.mark.parametrize("has", [True, False])
def test_gpus_train_in_bfloat16_where_they_do_not_emulate_it(has, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has)
    assert fast_precision("auto") == ("bf16-mixed" if has else "16-mixed")
