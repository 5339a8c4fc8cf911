import torch

from bottomup.cli import main
from bottomup.weights.store import bundled, load_model, read_description
from tests.support.commands import usage_error


def test_a_converted_file_is_loaded(tmp_path, capsys):
    out = tmp_path / "out.safetensors"
    assert main(["convert", "mobile", str(out)]) == 0
    assert str(out) in capsys.readouterr().out
    assert load_model(out).skeleton == load_model(bundled()["mobile"]).skeleton


def test_averaged_weights_are_asked_for(tmp_path, capsys):
    state = load_model("mobile").state_dict()
    described = {"bottomup": read_description("mobile"), "state_dict": state}
    torch.save(
        described | {"ema_state_dict": {k: v * 0 for k, v in state.items()}}, tmp_path / "a.ckpt"
    )
    out = tmp_path / "out.safetensors"
    assert main(["convert", "--ema", str(tmp_path / "a.ckpt"), str(out)]) == 0
    assert "ema tensors taken" in capsys.readouterr().out
    assert not any(weight.any() for weight in load_model(out).parameters())


def test_a_file_that_is_no_checkpoint_is_wrong_usage(tmp_path, capsys):
    (tmp_path / "x.pth").write_text("text")
    assert "x.pth" in usage_error(
        capsys, "convert", str(tmp_path / "x.pth"), str(tmp_path / "out.safetensors")
    )
    assert not (tmp_path / "out.safetensors").exists()
