"""Rules of a slot's container: compose file, environment files, and the decision what to do."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.signalbox.platform.plugins.module_utils import _compose as compose
from ansible_collections.signalbox.platform.plugins.module_utils import _container_environment as environment
from ansible_collections.signalbox.platform.plugins.module_utils import _container_module as container_module
from ansible_collections.signalbox.platform.plugins.module_utils._slot_environment import UnfilledPlaceholder
from ansible_collections.signalbox.platform.plugins.module_utils._slot_files import Keeping, SlotFiles
from ansible_collections.signalbox.platform.plugins.module_utils._slot_keeper import Keeper, SlotError, diff_of, explain

DIGEST = "sha256:" + "a" * 64
SLOT = compose.Slot("api", "blue", f"registry.lab:5000/api@{DIGEST}", "1.0.0", "10.0.0.1", 54000, 54000)
PATHS = compose.Paths("api", "blue")
COMMAND = compose.Command(("/bin/run",), ("--port", "$PORT"))
SECRET = "correct horse battery"


def container(status="running", configuration="x", **fields):
    labels = {f"{compose.LABEL}.managed": "true", f"{compose.LABEL}.configuration": configuration}
    return compose.Container("id1", SLOT.image, status, labels, **fields)


def test_service_is_hardened_and_bound_to_one_address():
    service = compose.service_of(SLOT, PATHS, COMMAND)
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True
    assert service["restart"] == "unless-stopped"
    assert service["image"].endswith(DIGEST)
    assert service["ports"][0]["host_ip"] == "10.0.0.1"
    assert service["mem_limit"] == service["memswap_limit"] == "512m"
    assert all(volume["read_only"] and volume["bind"] == {"create_host_path": False} for volume in service["volumes"])


def test_entry_becomes_the_images_own_command():
    service = compose.service_of(SLOT, PATHS, COMMAND)
    assert service["entrypoint"] == ["/bin/sh", compose.ENTRY_TARGET]
    assert service["command"] == ["/bin/run", "--port", "$PORT"]
    assert "env_file" not in service


def test_engine_environment_leaves_the_image_alone():
    service = compose.service_of(dataclasses.replace(SLOT, engine_environment=True), PATHS, COMMAND)
    assert service["env_file"] == [PATHS.compose_environment]
    assert "entrypoint" not in service
    assert service["volumes"] == []


def test_dollars_reach_the_container():
    project = compose.project_of(SLOT, compose.service_of(SLOT, PATHS, COMMAND), "x")
    assert project["services"]["app"]["command"][-1] == "$$PORT"


def test_compose_file_holds_no_environment():
    service = compose.service_of(SLOT, PATHS, COMMAND)
    mark = compose.fingerprint(service, {"PASSWORD": SECRET}, b"key")
    assert SECRET not in json.dumps(compose.project_of(SLOT, service, mark))


def test_fingerprint_depends_on_everything_and_on_the_key():
    service = compose.service_of(SLOT, PATHS, COMMAND)
    marks = {
        compose.fingerprint(service, {"A": "1"}, b"key"),
        compose.fingerprint(service, {"A": "2"}, b"key"),
        compose.fingerprint(service, {"A": "1"}, b"other"),
        compose.fingerprint({**service, "init": False}, {"A": "1"}, b"key"),
    }
    assert len(marks) == 4


def test_limits_the_kernel_lacks_are_left_out_with_a_warning():
    allowed, warnings = compose.EngineLimits(cpus=False, memory=True, pids=False).allow(compose.Resources())
    assert allowed == compose.Resources(0.0, "512m", 0)
    assert len(warnings) == 2
    assert compose.EngineLimits().allow(compose.Resources()) == (compose.Resources(), [])


@pytest.mark.parametrize(
    ("state", "current", "action"),
    [
        ("started", None, "create"),
        ("started", container(), "none"),
        ("started", container("restarting"), "none"),
        ("started", container("exited"), "start"),
        ("started", container("dead"), "replace"),
        ("started", container("paused"), "replace"),
        ("started", container(configuration="old"), "replace"),
        ("started", container("exited", "old"), "replace"),
        ("stopped", None, "none"),
        ("stopped", container(), "stop"),
        ("stopped", container("restarting"), "stop"),
        ("stopped", container("exited"), "none"),
        ("absent", None, "none"),
        ("absent", container("exited"), "remove"),
    ],
)
def test_plan(state, current, action):
    assert compose.plan(state, current, "x").action == action


NAMES = st.from_regex(r"\A[A-Z_][A-Z0-9_]{0,8}\Z").map(lambda name: f"T_{name}")
VALUES = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=30)


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_shell_file_reads_back(values):
    assert environment.from_shell(environment.to_shell(values)) == values


@pytest.mark.skipif(shutil.which("sh") is None, reason="needs a shell")
@pytest.mark.parametrize(
    "value", ["a$b${c}", "it's", 'say "x"', "back\\", "two\nlines", "#no", " lead ", "`x`", "", "é"]
)
def test_a_shell_reads_what_was_written(value):
    script = environment.to_shell({"T": value}) + 'printf %s "$T"'
    assert subprocess.run(["sh", "-c", script], capture_output=True, check=True).stdout.decode() == value


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("a$b", 'T="a\\$b"\n'),
        ('say "x"', 'T="say \\"x\\""\n'),
        ("back\\", 'T="back\\\\"\n'),
        ("two\nlines", 'T="two\\nlines"\n'),
    ],
)
def test_compose_file_escapes(value, line):
    assert environment.to_compose({"T": value}) == line


def test_environment_mistakes_come_together():
    with pytest.raises(environment.InvalidEnvironment) as caught:
        environment.normalise({"1A": "x", "B": None, "C": {"a": 1}, "D": "nul\0"})
    assert all(name in str(caught.value) for name in ("1A", "B is null", "C is not", "D holds"))
    assert environment.normalise({"A": True, "B": 5}) == {"A": "true", "B": "5"}


def test_public_and_short_values_are_not_struck_out():
    values = {"PASSWORD": SECRET, "APP": "agent-api", "DEBUG": "1"}
    assert environment.secret_values(values, ["agent-api-blue"]) == {SECRET}
    assert environment.redact(f"x {SECRET} y", {SECRET, "battery"}) == "x ******** y"


class Engine:
    """An engine with one container."""

    def __init__(self, current=None, images=(SLOT.image,)):
        self.current, self.images, self.calls = current, images, []

    def info(self):
        return compose.EngineLimits(), "/"

    def container(self, _name):
        return self.current

    def image_command(self, image):
        return COMMAND if image in self.images else None

    def start(self, name):
        self.calls.append(("start", name))

    def stop(self, name, _timeout):
        self.calls.append(("stop", name))
        self.current = dataclasses.replace(self.current, status="exited", exit_code=137)

    def remove(self, name):
        self.calls.append(("remove", name))

    remove_network = remove

    def remove_image(self, image):
        self.calls.append(("remove_image", image))
        return True


class Files:
    """Files in memory."""

    def __init__(self):
        self.paths, self.values, self.text, self.seals, self.kept = PATHS, {}, None, 0, None

    def has_fingerprint_key(self):
        return True

    def fingerprint_key(self):
        return b"key"

    def environment(self):
        return self.values

    def compose(self):
        return self.text

    def write_environment(self, values, _engine):
        self.values = values

    def write_compose(self, text):
        self.text = text

    def seal(self, _values, keeping):
        self.seals, self.kept = self.seals + 1, keeping

    def sealed(self, keeping):
        return self.kept == keeping

    def remove(self):
        return ["compose.json"] if self.text else []


class Puller:
    """Finds every image."""

    def ensure(self, _image):
        return COMMAND, False


def keeper(engine, check_mode=False, result=(0, "", "")):
    made = Keeper(engine, Files(), Puller(), None, check_mode)

    def run(command):
        made.engine.calls.append(command)
        labels = json.loads(made.files.text)["services"]["app"]["labels"]
        engine.current = compose.Container("new", SLOT.image, "running", labels)
        return result

    made.run = run
    return made


def test_started_twice_changes_once():
    made = keeper(Engine())
    first = made.started(SLOT, {"PASSWORD": SECRET}, Keeping())
    assert (first.changed, first.action, first.environment["added"]) == (True, "create", ["PASSWORD"])
    made.engine.calls.clear()
    second = made.started(SLOT, {"PASSWORD": SECRET}, Keeping())
    assert (second.changed, second.action) == (False, "none")
    assert made.engine.calls == []
    assert made.files.seals == 1


def test_a_copy_that_is_kept_otherwise_is_made_anew_and_the_container_left_alone():
    made = keeper(Engine())
    made.started(SLOT, {"PASSWORD": SECRET}, Keeping())
    made.engine.calls.clear()
    sources = {"PASSWORD": {"kind": "kv", "path": "p", "key": "k"}}
    vault = Keeping(604800, sources, {"PASSWORD": "${signalbox:PASSWORD}"})
    assert made.started(SLOT, {"PASSWORD": SECRET}, vault).changed
    assert (made.files.seals, made.engine.calls) == (2, [])
    assert not made.started(SLOT, {"PASSWORD": SECRET}, vault).changed
    assert made.started(SLOT, {"PASSWORD": SECRET}, Keeping()).changed


def test_what_stands_beside_the_copy_holds_no_value_and_knows_a_changed_template():
    sources = {"PASSWORD": {"kind": "kv", "path": "p", "key": "k"}}
    text = Keeping(60, sources, {"PASSWORD": "${signalbox:PASSWORD}", "OTHER": SECRET}).text(b"key")
    assert SECRET not in text
    assert json.loads(text)["sources"] == sources
    assert Keeping(60, sources, {"PASSWORD": "${signalbox:PASSWORD}", "OTHER": "2"}).text(b"key") != text
    assert Keeping(60, {}, {}).text(b"key") == ""


def test_a_sealed_copy_gets_its_limit_and_its_sources_and_loses_them(tmp_path, monkeypatch):
    commands = []

    def run(command, **options):
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, stdout=b"sealed")

    monkeypatch.setattr(subprocess, "run", run)
    files = SlotFiles(compose.Paths("api", "blue", str(tmp_path), str(tmp_path / "run")))
    (tmp_path / "api/blue").mkdir(parents=True)
    sources = {"PASSWORD": {"kind": "kv", "path": "p", "key": "k"}}
    vault = Keeping(60, sources, {"PASSWORD": "${signalbox:PASSWORD}"})
    files.seal({"PASSWORD": SECRET}, vault)
    assert [any(word.startswith("--not-after=@") for word in command) for command in commands] == [False, True]
    assert files.sealed(vault)
    assert not files.sealed(Keeping())
    assert all(SECRET not in path.read_text() for path in (tmp_path / "api/blue").iterdir())
    files.seal({"PASSWORD": SECRET}, Keeping())
    assert sorted(path.name for path in (tmp_path / "api/blue").iterdir()) == ["environment.sealed"]
    assert files.sealed(Keeping())


class Module:
    """The part of AnsibleModule that a delivery uses."""

    def __init__(self, **params):
        self.params, self.no_log_values = params, set()


def test_fetched_values_are_filled_in_and_struck_out():
    asked = []

    def ask(arguments, sources):
        asked.append((arguments, sources))
        return {"PASSWORD": "p@ss/word", "PIN": "1234"}

    module = Module(secret_sources={"PASSWORD": {"kind": "kv"}, "PIN": {"kind": "kv"}}, image="registry.lab:5000/api")
    template = {"URL": "db://${signalbox:url:PASSWORD}@db", "PIN": "${signalbox:PIN}", "IMAGE": "registry.lab:5000/api"}
    filled = container_module.delivered(module, template, ask)
    assert filled == {"URL": "db://p%40ss%2Fword@db", "PIN": "1234", "IMAGE": "registry.lab:5000/api"}
    assert asked == [(["fetch"], module.params["secret_sources"])]
    assert module.no_log_values == {"p@ss/word", "db://p%40ss%2Fword@db"}


def test_without_sources_nobody_is_asked_and_a_placeholder_is_refused():
    module = Module(secret_sources={})
    assert container_module.delivered(module, {"A": "1"}, None) == {"A": "1"}
    with pytest.raises(UnfilledPlaceholder, match="API_KEY"):
        container_module.delivered(module, {"A": "${signalbox:API_KEY}"}, None)


def test_changed_secret_replaces_and_shows_no_value():
    made = keeper(Engine())
    made.started(SLOT, {"PASSWORD": SECRET}, Keeping())
    outcome = made.started(SLOT, {"PASSWORD": SECRET + "2"}, Keeping())
    assert outcome.action == "replace"
    assert outcome.environment["changed"] == ["PASSWORD"]
    assert SECRET not in json.dumps(diff_of(outcome))
    assert not any(SECRET in str(call) for call in made.engine.calls)


def test_warm_container_is_started_without_compose():
    made = keeper(Engine())
    made.started(SLOT, {}, None)
    made.engine.current = dataclasses.replace(made.engine.current, status="exited")
    made.engine.calls.clear()
    assert made.started(SLOT, {}, None).action == "start"
    assert made.engine.calls == [("start", "api-blue")]


def test_check_mode_touches_nothing():
    made = keeper(Engine(images=()), check_mode=True)
    outcome = made.started(SLOT, {"A": "1"}, Keeping())
    assert outcome.changed
    assert made.engine.calls == []
    assert made.files.text is None


def test_a_strangers_container_is_left_alone():
    stranger = compose.Container("id", "x", "running", {})
    with pytest.raises(SlotError, match="the platform did not make"):
        keeper(Engine(stranger)).started(SLOT, {}, None)


def test_a_kill_on_stop_is_told():
    made = keeper(Engine(container()))
    outcome = made.stopped("api-blue", 2)
    assert outcome.changed
    assert "raise stop_timeout_seconds" in outcome.warnings[0]


def test_absent_keeps_or_removes_the_image():
    made = keeper(Engine(container("exited")))
    made.absent("api-blue", 1, keep_image=True)
    assert ("remove_image", SLOT.image) not in made.engine.calls
    made = keeper(Engine(container("exited")))
    made.absent("api-blue", 1, keep_image=False)
    assert ("remove_image", SLOT.image) in made.engine.calls


def test_a_failed_start_says_what_to_do():
    with pytest.raises(SlotError, match=r"holds 10\.0\.0\.1:54000"):
        keeper(Engine(), result=(1, "", "port is already allocated")).started(SLOT, {}, None)
    assert explain("something else", SLOT) == ""
