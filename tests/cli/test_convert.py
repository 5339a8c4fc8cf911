from bottomup.cli import main
from bottomup.weights.store import bundled, load_model
from tests.support.commands import usage_error


def test_a_converted_file_is_loaded(tmp_path, capsys):
    out = tmp_path / "out.safetensors"
    assert main(["convert", "mobile", str(out)]) == 0
    assert str(out) in capsys.readouterr().out
    assert load_model(out).skeleton == load_model(bundled()["mobile"]).skeleton


def test_a_file_that_is_no_checkpoint_is_wrong_usage(tmp_path, capsys):
    (tmp_path / "x.pth").write_text("text")
    assert "x.pth" in usage_error(
        capsys, "convert", str(tmp_path / "x.pth"), str(tmp_path / "out.safetensors")
    )
    assert not (tmp_path / "out.safetensors").exists()
