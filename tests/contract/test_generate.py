from __future__ import annotations

import generate
import pytest


def test_a_table_shows_nested_options_choices_and_markup():
    options = {
        "web_users": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "description": ["Users of V(a|b),", "see O(web_port)."],
            "options": {"name": {"type": "str", "required": True, "choices": ["a", "b"], "description": "Name."}},
        },
    }
    assert generate.table(options).splitlines()[2:] == [
        "| `web_users` | list of dict | `[]` | Users of `a\\|b`, see `web_port`. |",
        "| `web_users[].name` | str | **required** | Name. One of `a`, `b`. |",
    ]


def test_a_long_default_is_referred_to():
    assert generate.default_of({"default": ["x" * 80]}) == "see [defaults](defaults/main.yml)"


def test_entry_points_are_named_where_there_are_several():
    specs = {"main": {"short_description": "Serve"}, "remove": {"short_description": "Remove"}}
    text = generate.tables(specs)
    assert "Entry point `main`: Serve" in text
    assert "Entry point `remove`: Remove" in text
    assert "Entry point" not in generate.tables({"main": {}})


def test_what_surrounds_the_markers_stays():
    text = "# Web\n<!-- variables -->\nold\n<!-- /variables -->\nend\n"
    assert generate.replace_block(text, "new\n") == "# Web\n<!-- variables -->\nnew\n<!-- /variables -->\nend\n"


@pytest.mark.parametrize("text", ["", "<!-- variables -->", "<!-- /variables -->\n<!-- variables -->"])
def test_missing_markers_are_named(text):
    with pytest.raises(ValueError, match="needs the line"):
        generate.replace_block(text, "new\n")


def test_check_says_what_is_stale_and_writes_nothing(tmp_path, capsys):
    role = tmp_path / "roles/web"
    (role / "meta").mkdir(parents=True)
    (role / "meta/argument_specs.yml").write_text("argument_specs: {main: {options: {}}}\n")
    (role / "README.md").write_text("<!-- variables -->\n<!-- /variables -->\n")
    assert generate.main([str(tmp_path), "--check"]) == 1
    assert "is stale" in capsys.readouterr().out
    assert generate.main([str(tmp_path)]) == 0
    assert generate.main([str(tmp_path), "--check"]) == 0
    assert "No variables." in (role / "README.md").read_text()
