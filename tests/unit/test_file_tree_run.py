"""file_tree as a play runs it: real ansible-playbook, local connection, a destination of the test's own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ansible_collections.signalbox.platform.plugins.module_utils import _file_tree as rules
from ansible_collections.signalbox.platform.plugins.module_utils._file_tree_host import Host
from ansible_collections.signalbox.platform.plugins.module_utils._file_tree_run import Run

CHECKOUT = Path(__file__).resolve().parents[2]
BINARY = bytes(range(256)) * 8 + b"\r\n{{ not_a_template }}"
SECRET = "tr0ub4dor-of-the-tree"
OWNER = "root" if os.geteuid() == 0 else str(os.geteuid())
GROUP = "root" if os.geteuid() == 0 else str(os.getegid())


class Play:
    """A directory with a playbook, templates/ and files/ beside it."""

    def __init__(self, base: Path) -> None:
        self.base, self.dest, self.manifests = base / "play", base / "dest", base / "manifests"
        self.base.mkdir()
        self.options: dict = {"name": "t", "rules": [{"match": "*", "owner": OWNER, "group": GROUP}]}
        self.variables: dict = {}

    def write(self, path: str, content: str | bytes) -> None:
        target = self.base / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.encode())

    def task(self) -> dict:
        options = {"dest": str(self.dest), "manifest_directory": str(self.manifests), **self.options}
        return {"name": "Tree", "signalbox.platform.file_tree": options, "register": "result"}

    def run(self, *arguments: str, tasks: list | None = None, fails: bool = False) -> subprocess.CompletedProcess:
        save = {"ansible.builtin.copy": {"content": "{{ result | to_json }}", "dest": str(self.base / "result")}}
        save.update(name="Save", check_mode=False, diff=False, no_log=True)
        vars_ = {"ansible_python_interpreter": sys.executable, **self.variables}
        play = {"hosts": "localhost", "gather_facts": False, "vars": vars_}
        play["tasks"] = tasks or [self.task(), save]
        self.write("play.yml", json.dumps([play]))
        done = subprocess.run(
            [
                str(Path(sys.executable).parent / "ansible-playbook"),
                "-i",
                "localhost,",
                "-c",
                "local",
                "play.yml",
                *arguments,
            ],
            cwd=self.base,
            env={
                **os.environ,
                "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
                "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",  # shows messages in full
                "ANSIBLE_NOCOLOR": "1",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode != 0) is fails, done.stdout + done.stderr
        return done

    def result(self, *arguments: str) -> dict:
        self.run(*arguments)
        return json.loads((self.base / "result").read_text())

    def tree(self) -> dict:
        """Everything below dest: path -> content, link target or None for a directory."""
        found: dict = {}
        for path in sorted(self.dest.rglob("*")):
            name = str(path.relative_to(self.dest))
            found[name] = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        return found

    def paths(self, names: list) -> list:
        return [str(self.dest / name) for name in names]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    return Play(tmp_path)


AWKWARD = {
    "trim": "a\n{% for x in [1, 2] %}\n  {{ x }}\n{% endfor %}\nz\n",
    "lstrip": "  {% if true %}\n  x\n  {% endif %}\n",
    "no-newline": "last line without end",
    "newlines": "x\n\n\n",
    "empty": "",
    "only-control": "{% set x = 1 %}",
    "none": "{{ none }}",
    "number": "{{ 42 }}",
    "list": "{{ [1, 'a'] }}",
    "mapping": "{{ {'a': nested.value} }}\n",
    "true": "{{ true }}",
    "unicode": "grüße 🚂 {{ 'é' }} \u2028\n",
    "crlf": "a\r\nb\r\n",
    "tabs": "\t{{ 'a\\tb' }}\\n\n",
    "header": "#jinja2: trim_blocks:False, variable_start_string:'[%', variable_end_string:'%]'\n"
    "{% if true %}\n[% who %] {{ x }}\n{% endif %}\n",
    "lstrip-header": "#jinja2: lstrip_blocks: True\n  {% if true %}\n  x\n  {% endif %}\n",
    "managed": "# {{ ansible_managed }}\n",
    "where": "{{ template_host }} {{ template_path }}\n{{ template_uid }} {{ template_fullpath }}\n",
    "mtime": "{{ template_mtime }}\n",
    "nested": "{{ lazy }} {{ nested.value }} {{ nested['list'] | join(',') }}\n",
    "lookup": "{{ lookup('ansible.builtin.file', 'looked-up.txt') }}"
    " {{ lookup('ansible.builtin.template', 'part.txt') }}\n",
    "include": "{% include 'part.txt' %}{% include 'near.txt' %}\n",
    "import": "{% from 'macros' import shout with context %}{{ shout('x') }}\n",
    "raw": "{% raw %}{{ keep }}{% endraw %}\n",
    "comment": "{# gone #}\nkept\n",
    "json": "{{ nested | to_nice_json }}\n",
    "yaml-like": "{{ '[1, 2]' }}",
    "omit-default": "{{ missing | default('d') }}\n",
    "untrusted": "{{ untemplated }}\n",
    "suffix.conf.j2": "{{ who }}\n",
}
VARIABLES = {
    "who": "me",
    "nested": {"value": "v{{ 1 + 1 }}", "list": ["b", "a"]},
    "lazy": "{{ nested.value }}!",
}


@pytest.mark.parametrize("managed", [None, "managed by {{ who }} {{ template_path | basename }}"])
def test_equals_builtin_template(play: Play, managed: str | None) -> None:
    play.variables = {**VARIABLES, **({"ansible_managed": managed} if managed else {})}
    for name, text in AWKWARD.items():
        play.write("templates/tree/etc/" + name, text)
    play.write("templates/part.txt", "part of {{ who }}\n")
    play.write("templates/tree/etc/near.txt", "near {{ who }}\n")
    play.write("templates/macros", "{% macro shout(x) %}{{ x | upper }} {{ who }}{% endmacro %}")
    play.write("files/looked-up.txt", "looked up")
    play.options["src"] = "tree"
    other = play.base / "other"
    other.mkdir()
    names = [*AWKWARD, "near.txt"]
    fact = {"name": "Fact", "ansible.builtin.command": "echo '{{ \"{{\" }} who }}'", "register": "command"}
    builtin = {
        "name": "Reference",
        "ansible.builtin.template": {"src": "tree/etc/{{ item }}", "dest": str(other) + "/{{ item }}"},
        "loop": names,
        "vars": {"untemplated": "{{ command.stdout }}"},
    }
    play.run(tasks=[fact, builtin, {**play.task(), "vars": {"untemplated": "{{ command.stdout }}"}}])
    for name in names:
        ours = (play.dest / "etc" / name.removesuffix(".j2")).read_bytes()
        expected = (other / name).read_bytes()
        if name == "where":  # the suffix differs by intent: both tell the destination they were given
            expected = expected.replace(str(other).encode(), str(play.dest / "etc").encode())
        assert ours == expected, name


def test_include_relative_to_the_tree_and_exclude(play: Play) -> None:
    play.write("templates/etc/app/a.conf", "{% include 'etc/_shared/head' %}{% include '_near' %}")
    play.write("templates/etc/_shared/head", "head of {{ template_path }} ")
    play.write("templates/etc/app/_near", "near")
    play.options["exclude"] = ["*/_*"]
    play.run()
    assert play.tree() == {"etc": None, "etc/app": None, "etc/app/a.conf": b"head of etc/app/a.conf near"}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a\n\nb {{ missing_one }}\n", "etc/x line 3: 'missing_one' is undefined"),
        ("a\n{% for i in missing_one %}\n{% endfor %}", "etc/x line 2: 'missing_one' is undefined"),
        ("a\n{{ nested.absent }}\n", "etc/x line 2: object of type 'dict' has no attribute 'absent'"),
        ("a\n{% if %}\n", "etc/x line 2: Syntax error"),
        ("a\n{% include 'etc/part' %}\n", "etc/part line 2: 'missing_two' is undefined"),
    ],
)
def test_a_template_error_names_file_and_line(play: Play, text: str, place: str) -> None:
    play.variables = {"nested": {"a": 1}}
    play.write("templates/etc/x", text)
    play.write("templates/etc/part", "1\n{{ missing_two }}" if "include" in text else "")
    assert str(play.base / "templates" / place) in play.run(fails=True).stdout
    assert not play.dest.exists()


def test_files_are_copied_byte_by_byte_links_stay_links(play: Play) -> None:
    play.write("files/usr/bin.dat", BINARY)
    play.write("files/etc/name.j2", "{{ stays }}")
    play.write("files/var/empty/.gitkeep", "")
    play.write("templates/etc/real", "x")
    (play.base / "files/etc/link").symlink_to("../usr/bin.dat")
    (play.base / "templates/etc/dangling").symlink_to("/nowhere/{{ x }}")
    (play.base / "templates/etc/dirlink").symlink_to("../usr")
    play.run()
    assert play.tree() == {
        "etc": None,
        "etc/dangling": "/nowhere/{{ x }}",
        "etc/dirlink": "../usr",
        "etc/link": "../usr/bin.dat",
        "etc/name.j2": b"{{ stays }}",
        "etc/real": b"x",
        "usr": None,
        "usr/bin.dat": BINARY,
        "var": None,
        "var/empty": None,
    }
    again = play.result("--diff")
    assert again["changed"] is False
    assert again["changed_paths"] == []


def test_a_role_ships_its_own_directories_only(play: Play) -> None:
    """A role without templates/ does not fall through to the playbook's."""
    play.write("templates/etc/playbook", "never")
    play.write("roles/r/files/etc/role", "role")
    play.write("roles/r/tasks/main.yml", json.dumps([play.task()]))
    play.run(tasks=[{"name": "Role", "ansible.builtin.import_role": {"name": "r"}}])
    assert play.tree() == {"etc": None, "etc/role": b"role"}


def test_modes_by_rule_and_extra(play: Play) -> None:
    play.write("templates/etc/a", "a")
    play.write("templates/etc/run.sh", "a")
    both = {"owner": OWNER, "group": GROUP}
    play.options["rules"] = [
        {"match": "*/run.sh", "mode": "0755", **both},
        {"match": "*/etc/*", "mode": "0640", **both},
        {"match": "*", **both},
    ]
    play.options["extra"] = [
        {"path": "etc/generated", "content": "g\n", "mode": "0600"},
        {"path": "/etc/link", "link": "a"},
        {"path": "var/private", "directory": True, "mode": "0700"},
    ]
    play.run()
    modes = {name: "%04o" % (os.lstat(play.dest / name).st_mode & 0o7777) for name in play.tree() if name != "etc/link"}
    assert modes == {
        "etc": "0755",
        "etc/a": "0640",
        "etc/generated": "0600",
        "etc/run.sh": "0755",
        "var": "0755",
        "var/private": "0700",
    }
    os.chmod(play.dest / "etc/a", 0o666)
    os.chmod(play.dest / "var/private", 0o755)
    before = os.stat(play.dest / "etc/a").st_mtime_ns
    mended = play.result("--diff")
    assert mended["changed_paths"] == play.paths(["etc/a", "var/private"])
    assert mended["diff"][0]["before"] == {"mode": "0666"}
    assert os.stat(play.dest / "etc/a").st_mtime_ns == before
    assert play.result()["changed"] is False


def test_check_mode_predicts_what_the_run_does(play: Play) -> None:
    play.write("templates/etc/keep", "k")
    play.write("templates/etc/old/gone", "g")
    play.write("templates/etc/change", "1")
    assert play.result("--check")["changed"] is True
    assert not play.dest.exists()
    assert not play.manifests.exists()
    play.run()
    (play.base / "templates/etc/old/gone").unlink()
    play.write("templates/etc/change", "2")
    play.write("templates/etc/sub/new", "n")
    before = play.tree()
    keep = os.stat(play.dest / "etc/keep").st_mtime_ns
    predicted = play.result("--check", "--diff")
    assert play.tree() == before
    done = play.result("--diff")
    for key in ("changed", "changed_paths", "removed_paths", "diff"):
        assert predicted[key] == done[key], key
    assert done["changed_paths"] == play.paths(["etc/change", "etc/sub", "etc/sub/new"])
    assert done["removed_paths"] == play.paths(["etc/old/gone", "etc/old"])
    assert os.stat(play.dest / "etc/keep").st_mtime_ns == keep
    assert play.result("--check")["changed"] is False


def test_removes_only_what_it_placed(play: Play) -> None:
    play.write("templates/etc/app.d/ours", "o")
    play.write("templates/etc/app.d/edited", "e")
    play.write("templates/etc/app.d/replaced", "r")
    play.write("templates/etc/stays", "s")
    (play.dest / "etc/app.d").mkdir(parents=True)
    (play.dest / "etc/app.d/foreign").write_text("f")
    play.run()
    (play.dest / "etc/app.d/edited").write_text("by somebody")
    (play.dest / "etc/app.d/replaced").unlink()
    (play.dest / "etc/app.d/replaced").mkdir()
    for name in ("ours", "edited", "replaced"):
        (play.base / "templates/etc/app.d" / name).unlink()
    done = play.result("--diff")
    assert done["removed_paths"] == play.paths(["etc/app.d/edited", "etc/app.d/ours"])
    assert [item["before"] for item in done["diff"]] == ["by somebody", "o"]
    assert sorted(play.tree()) == ["etc", "etc/app.d", "etc/app.d/foreign", "etc/app.d/replaced", "etc/stays"]
    assert play.result()["changed"] is False


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another owner")
def test_without_a_name_nothing_is_removed(play: Play) -> None:
    del play.options["name"]
    play.write("templates/a", "a")
    play.write("templates/b", "b")
    play.run()
    (play.base / "templates/b").unlink()
    assert play.result()["changed"] is False
    assert sorted(play.tree()) == ["a", "b"]
    assert not play.manifests.exists()


def test_validate_failure_changes_nothing(play: Play) -> None:
    play.write("templates/etc/a", "good")
    root = "{root}" + str(play.dest)
    play.options["validate"] = [
        {"command": ["grep", "-q", "good", root + "/etc/a"]},
        {"command": ["test", "-e", root + "/etc/foreign"]},
        {"command": ["test", "!", "-e", root + "/etc/leaving"]},
    ]
    (play.dest / "etc").mkdir(parents=True)
    (play.dest / "etc/foreign").write_text("f")
    play.run()
    before, manifest = play.tree(), (play.manifests / "t.json").read_bytes()
    play.write("templates/etc/a", "bad")
    play.write("templates/etc/new", "n")
    out = play.run(fails=True).stdout
    assert "grep -q good" in out
    assert '"rc": 1' in out
    assert "nothing was replaced" in out
    assert (play.tree(), (play.manifests / "t.json").read_bytes()) == (before, manifest)


def test_validate_sees_links_and_leaving_files_as_they_will_be(play: Play) -> None:
    play.write("templates/etc/conf", "new")
    play.write("templates/etc/leaving", "l")
    play.options["extra"] = [{"path": "etc/link", "link": str(play.dest / "etc/conf")}]
    play.run()
    (play.base / "templates/etc/leaving").unlink()
    play.write("templates/etc/conf", "newer")
    root = "{root}" + str(play.dest)
    play.options["validate"] = [
        {"command": ["grep", "-q", "newer", root + "/etc/link"]},
        {"command": ["test", "!", "-e", root + "/etc/leaving"]},
    ]
    assert play.result()["removed_paths"] == play.paths(["etc/leaving"])


def test_a_missing_validator_fails_the_run_but_not_the_check(play: Play) -> None:
    play.write("templates/a", "a")
    play.options["validate"] = [{"command": ["signalbox-no-such-program", "{root}"]}]
    assert play.result("--check")["changed"] is True
    assert "no program signalbox-no-such-program" in play.run(fails=True).stdout
    assert not play.dest.exists()


def test_secrets_do_not_show(play: Play) -> None:
    play.variables = {"token": SECRET}
    play.write("templates/etc/secret", "key {{ token }}\n")
    play.options["rules"] = [
        {"match": "*/secret*", "secret": True, "owner": OWNER, "group": GROUP},
        *play.options["rules"],
    ]
    play.options["extra"] = [{"path": "etc/secret2", "content": "{{ token }}"}]
    outputs = [play.run("-vvvvv", "--diff", tasks=[play.task()]) for _ in range(2)]
    assert "secret content is not shown" in outputs[0].stdout
    play.variables = {"token": SECRET + "2"}
    outputs.append(play.run("-vvv", "--diff", tasks=[play.task()]))
    (play.base / "templates/etc/secret").unlink()
    play.write("templates/etc/other", "o")
    outputs.append(play.run("-vvv", "--diff", tasks=[play.task()]))
    payload = rules.encode([rules.Entry("/x")], [])[:6]
    for done in outputs:
        assert SECRET not in done.stdout + done.stderr
        assert payload not in done.stdout + done.stderr
    assert oct(os.stat(play.dest / "etc/secret2").st_mode)[-3:] == "600"


@pytest.mark.parametrize("kind", ["link out", "file", "dangling"])
def test_refuses_a_parent_that_leads_elsewhere(play: Play, tmp_path: Path, kind: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    play.write("templates/etc/app/a", "a")
    play.dest.mkdir()
    if kind == "file":
        (play.dest / "etc").write_text("a file")
    else:
        (play.dest / "etc").symlink_to(outside if kind == "link out" else tmp_path / "absent")
    assert "etc" in play.run(fails=True).stdout
    assert list(outside.iterdir()) == []


def test_follows_a_parent_link_inside_dest(play: Play) -> None:
    play.write("templates/lib/a", "a")
    (play.dest / "usr/lib").mkdir(parents=True)
    (play.dest / "lib").symlink_to("usr/lib")
    play.run()
    assert (play.dest / "usr/lib/a").read_text() == "a"
    assert (play.dest / "lib").is_symlink()
    assert play.result()["changed"] is False


def test_refuses_two_sources_for_one_path(play: Play) -> None:
    play.write("templates/etc/a.j2", "a")
    play.write("files/etc/a", "b")
    assert "given twice" in play.run(fails=True).stdout


def test_large_tree(play: Play) -> None:
    noise = os.urandom(3_000_000)
    play.write("files/a", noise)
    play.write("files/b", noise[::-1])
    play.run()
    assert (play.dest / "a").read_bytes() == noise
    assert (play.dest / "b").read_bytes() == noise[::-1]


# Below: the host's side alone, with failures that a play cannot bring about.


def entries(dest: Path, contents: dict) -> list:
    made = [rules.Entry(str(dest / name), owner=OWNER, group=GROUP, content=text) for name, text in contents.items()]
    rule = rules.Rule("*", OWNER, GROUP)
    return rules.complete(made, str(dest), [rule])


def execute(dest: Path, manifests: Path, contents: dict) -> Run:
    run = Run(entries(dest, contents), str(dest), "t", str(manifests))
    with run.lock(writing=True):
        run.plan()
        run.execute()
    return run


def snapshot(dest: Path) -> dict:
    return {
        str(path.relative_to(dest)): (
            path.is_file() and path.read_bytes(),
            os.stat(path).st_mtime_ns,
            os.stat(path).st_mode,
        )
        for path in sorted(dest.rglob("*"))
        if not path.is_dir()
    }


def test_a_failure_midway_puts_everything_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dest, manifests = tmp_path / "dest", tmp_path / "manifests"
    old = {f"e/{n}": b"old %d" % n for n in range(6)}
    execute(dest, manifests, old)
    os.chmod(dest / "e/1", 0o600)
    before, manifest = snapshot(dest), (manifests / "t.json").read_bytes()
    swap, count = Host._swap, []

    def failing(self: Host, change: object, temporary: str, undo: object) -> str:
        count.append(1)
        if len(count) == 4:
            raise OSError("disk on fire")
        return swap(self, change, temporary, undo)

    monkeypatch.setattr(Host, "_swap", failing)
    new = {f"e/{n}": b"new %d" % n for n in range(5)}
    with pytest.raises(OSError, match="on fire"):
        execute(dest, manifests, {**new, "e/new": b"n", "f/new": b"n"})
    assert len(count) == 4
    assert snapshot(dest) == before
    assert not (dest / "f").exists()
    assert (manifests / "t.json").read_bytes() == manifest
    monkeypatch.undo()
    execute(dest, manifests, new)
    assert {name: item[0] for name, item in snapshot(dest).items()} == new


KILLED = """
import sys, time, os
sys.path.insert(0, sys.argv[1])
sys.path.insert(0, sys.argv[2])
import pathlib, test_file_tree_run as t
real = os.rename
def slow(a, b):
    real(a, b)
    print("renamed", flush=True)
    time.sleep(0.02)
os.rename = slow
base = pathlib.Path(sys.argv[3])
t.execute(base / "dest", base / "manifests", {f"e/{n}": b"new" * 1000 for n in range(5, 40)})
"""


@pytest.mark.parametrize("renames", [1, 2, 10, 25])
def test_killed_midway_leaves_old_or_new_and_the_next_run_mends(tmp_path: Path, renames: int) -> None:
    dest, manifests = tmp_path / "dest", tmp_path / "manifests"
    execute(dest, manifests, {f"e/{n}": b"old" for n in range(20)})
    (dest / "e/foreign").write_bytes(b"foreign")
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", KILLED, str(CHECKOUT / ".collections"), here, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for _ in range(renames):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.wait()
    time.sleep(0.01)
    found = {path.name: path.read_bytes() for path in (dest / "e").iterdir() if not path.name.startswith(".")}
    for name, content in found.items():
        allowed = {b"foreign"} if name == "foreign" else {b"old", b"new" * 1000}
        assert content in allowed, name
    final = {f"e/{n}": b"final" for n in (1, 2)}
    execute(dest, manifests, final)
    left = {str(path.relative_to(dest)): path.read_bytes() for path in dest.rglob("*") if path.is_file()}
    assert left == {**final, "e/foreign": b"foreign"}


def test_removal_does_not_follow_a_parent_that_became_a_link_out(tmp_path: Path) -> None:
    dest, manifests, outside = tmp_path / "dest", tmp_path / "manifests", tmp_path / "outside"
    execute(dest, manifests, {"a/ours": b"o", "b": b"b"})
    (dest / "a").rename(outside)
    (dest / "a").symlink_to(outside)
    run = execute(dest, manifests, {"b": b"b"})
    assert run.removed == ()
    assert (outside / "ours").read_bytes() == b"o"
