import pytest
from comparison.methods import Method, parse_method, read_methods


def test_the_table(tmp_path):
    path = tmp_path / "table.yaml"
    path.write_text(
        "a: {command: \"{python} {here}/a.py --x 'b c'\", kind: top-down, boxes: true}\nb: run b"
    )
    methods = read_methods(path)
    assert methods["a"] == Method(
        "a", ("{python}", f"{tmp_path}/a.py", "--x", "b c"), "top-down", boxes=True
    )
    assert methods["b"].command == ("run", "b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a", "must map names"),
        ("a: {kind: other}", "needs a 'command'"),
        ("a: {command: x, colour: red}", "needs a 'command'"),
        ("a: {command: x, kind: sideways}", "kind must be one of"),
        ("../a: x", "names are made of letters"),
        ("a: x 'y", "cannot be split into words"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path, text, message):
    (tmp_path / "table.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_methods(tmp_path / "table.yaml")


def test_a_method_on_the_command_line():
    assert parse_method("mine=run it --a=b") == Method("mine", ("run", "it", "--a=b"))
    for text in ("mine", "mine=", "a b=c"):
        with pytest.raises(ValueError, match=r"mine|a b"):
            parse_method(text)
