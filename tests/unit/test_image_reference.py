"""Image references, pulls and accounts: the rules without a registry."""

from __future__ import annotations

import json

import pytest

from ansible_collections.signalbox.platform.plugins.module_utils import _htpasswd as htpasswd
from ansible_collections.signalbox.platform.plugins.module_utils import _image_pull as image_pull
from ansible_collections.signalbox.platform.plugins.module_utils import _image_reference as reference
from ansible_collections.signalbox.platform.plugins.module_utils._compose import Command

DIGEST = "sha256:" + "b" * 64


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag", "digest"),
    [
        ("nginx", "docker.io", "library/nginx", "", ""),
        ("nginx:1.27", "docker.io", "library/nginx", "1.27", ""),
        ("team/api:1", "docker.io", "team/api", "1", ""),
        ("registry.example.com/api", "registry.example.com", "api", "", ""),
        ("registry.lab:5000/team/api:1.0.0", "registry.lab:5000", "team/api", "1.0.0", ""),
        ("localhost/api:1", "localhost", "api", "1", ""),
        (f"10.0.0.5:5000/api@{DIGEST}", "10.0.0.5:5000", "api", "", DIGEST),
        (f"r.io/api:1@{DIGEST}", "r.io", "api", "1", DIGEST),
    ],
)
def test_parse(text, registry, repository, tag, digest):
    parsed = reference.parse(text)
    assert (parsed.registry, parsed.repository, parsed.tag, parsed.digest) == (registry, repository, tag, digest)


@pytest.mark.parametrize("text", ["", "Upper/case", "r.io/api:bad tag", "r.io/api@sha256:12", "r.io/a//b", "r.io/"])
def test_parse_refuses(text):
    with pytest.raises(reference.InvalidReference):
        reference.parse(text)


def test_a_slot_needs_a_digest():
    with pytest.raises(reference.InvalidReference, match="image_info"):
        reference.parse_pinned("r.io/api:1")
    assert reference.parse_pinned(f"r.io/api@{DIGEST}").wanted == DIGEST


def test_hub_answers_under_another_name():
    assert reference.parse("nginx").api_host == "registry-1.docker.io"
    assert reference.parse("r.io/api:1").pinned(DIGEST) == f"r.io/api@{DIGEST}"


def test_close_tags():
    assert reference.close_tags("1.0.1", ["1.0.0", "1.1.0", "latest"])[:2] == ["1.0.0", "1.1.0"]
    assert reference.close_tags("1.0.0", ["v1.0.0"]) == ["v1.0.0"]
    assert reference.close_tags("xyz", ["1.0.0"]) == []


def test_choose_platform():
    manifests = [
        {"digest": "a", "platform": {"os": "linux", "architecture": "arm64"}},
        {"digest": "b", "platform": {"os": "linux", "architecture": "amd64"}},
        {"digest": "c", "platform": {"os": "unknown", "architecture": "unknown"}},
    ]
    assert reference.choose_platform(manifests, "amd64") == "b"
    assert reference.choose_platform(manifests, "s390x") is None
    assert reference.platforms(manifests) == ["linux/amd64", "linux/arm64"]


@pytest.mark.parametrize(
    ("output", "permanent"),
    [
        ("unauthorized: authentication required", True),
        ("manifest unknown", True),
        ("x509: certificate signed by unknown authority", True),
        ("write /var: no space left on device", True),
        ("dial tcp 10.0.0.5:5000: connect: connection refused", False),
        ("net/http: TLS handshake timeout", False),
        ("toomanyrequests: slow down", False),
        ("something new", False),
    ],
)
def test_only_what_can_pass_is_tried_again(output, permanent):
    assert image_pull.explain(output).permanent is permanent


class Engine:
    """An engine that has the image after the pull."""

    def __init__(self):
        self.images = set()

    def image_command(self, image):
        return Command(("x",)) if image in self.images else None

    def info(self):
        return None, "/"


IMAGE = f"r.io/api@{DIGEST}"


@pytest.fixture(autouse=True)
def private_directory(monkeypatch, tmp_path):
    monkeypatch.setattr(image_pull, "RUNTIME_DIRECTORY", str(tmp_path / "run"))
    return tmp_path / "run"


def test_pull_is_tried_again_and_leaves_no_login(private_directory):
    engine, slept, seen = Engine(), [], []

    def run(command, environment):
        seen.append(command)
        with open(f"{environment['DOCKER_CONFIG']}/config.json", encoding="utf-8") as stream:
            assert "r.io" in json.load(stream)["auths"]
        if len(seen) < 3:
            return 1, "", "connection refused"
        engine.images.add(IMAGE)
        return 0, "", ""

    login = image_pull.Login("r.io", "user", "password-1")
    puller = image_pull.Puller(engine, run, login, sleep=slept.append)
    assert puller.ensure(IMAGE) == (Command(("x",)), True)
    assert puller.ensure(IMAGE) == (Command(("x",)), False)
    assert len(seen) == 3
    assert len(slept) == 2
    assert "password-1" not in str(seen) + repr(login)
    assert list(private_directory.iterdir()) == []


def test_a_refused_login_is_not_tried_again():
    seen = []

    def run(command, _environment):
        seen.append(command)
        return 1, "", "unauthorized"

    with pytest.raises(image_pull.ImageError, match="check user and password"):
        image_pull.Puller(Engine(), run).ensure(IMAGE)
    assert len(seen) == 1


def test_room_is_asked_for_first():
    with pytest.raises(image_pull.ImageError, match="MiB free"):
        image_pull.Puller(Engine(), None, download_bytes=10**18).ensure(IMAGE)
    assert image_pull.required_bytes(100, 50) == 200


def test_a_pull_has_a_time_limit_for_all_attempts_together(private_directory):
    seen, clock = [], iter([0.0, 100.0, 590.0])

    def run(command, _environment):
        seen.append(command[:3])
        return (1, "", "connection refused") if len(seen) == 1 else (124, "", "")

    puller = image_pull.Puller(
        Engine(), run, timeout_seconds=600, sleep=lambda _seconds: None, clock=lambda: next(clock)
    )
    with pytest.raises(image_pull.ImageError, match="did not arrive in time"):
        puller.ensure(IMAGE)
    assert seen == [["timeout", "--kill-after=10", "500"], ["timeout", "--kill-after=10", "10"]]


def test_backoff_grows_and_is_bounded():
    assert [image_pull.backoff_seconds(attempt, 1.0) for attempt in (1, 2, 3)] == [2, 4, 8]
    assert image_pull.backoff_seconds(20, 1.0) == 30
    assert image_pull.backoff_seconds(1, 0.0) == 1


def _hash(password):
    return f"#{password}"


def _fits(password, hashed):
    return hashed == f"#{password}"


def test_accounts_keep_hashes_that_fit():
    first = htpasswd.decide("old:#x\n", {"a": "1", "b": "2"}, _hash, _fits)
    assert (first.added, first.changed, first.removed) == (["a", "b"], [], ["old"])
    assert not htpasswd.decide(first.text, {"a": "1", "b": "2"}, _hash, _fits).any
    assert htpasswd.decide(first.text, {"a": "9", "b": "2"}, _hash, _fits).changed == ["a"]


@pytest.mark.parametrize("users", [{"a:b": "x"}, {"a b": "x"}, {"": "x"}, {"a": ""}, {"a": "é" * 37}])
def test_accounts_refuse_what_would_be_cut_off(users):
    with pytest.raises(htpasswd.InvalidUser):
        htpasswd.check(users)
