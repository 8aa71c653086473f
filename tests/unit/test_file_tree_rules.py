"""Rules of file_tree, without any host."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.signalbox.platform.plugins.module_utils import _file_tree as tree
from ansible_collections.signalbox.platform.plugins.module_utils import _file_tree_plan as plan


@pytest.mark.parametrize(
    ("dest", "relative", "expected"),
    [
        ("/", "etc/a", "/etc/a"),
        ("/srv/x/", "etc/a", "/srv/x/etc/a"),
        ("/srv//x", "/etc//a", "/srv/x/etc/a"),
        ("/", "etc/..a", "/etc/..a"),
    ],
)
def test_destination(dest: str, relative: str, expected: str) -> None:
    assert tree.destination(dest, relative) == expected


@pytest.mark.parametrize("relative", ["", "/", ".", "..", "../etc/passwd", "etc/../../x", "etc/./x", "a\0b"])
def test_destination_refuses(relative: str) -> None:
    with pytest.raises(tree.FileTreeError):
        tree.destination("/srv", relative)


def test_destination_refuses_relative_root() -> None:
    with pytest.raises(tree.FileTreeError, match="not an absolute path"):
        tree.destination("srv", "a")


@given(st.text(alphabet="ab./", max_size=12))
def test_destination_never_leaves_dest(relative: str) -> None:
    try:
        path = tree.destination("/srv/x", relative)
    except tree.FileTreeError:
        return
    assert path.startswith("/srv/x/")
    assert not {"", ".", ".."} & set(path[1:].split("/"))


@pytest.mark.parametrize(("value", "expected"), [("0640", 0o640), ("640", 0o640), ("4755", 0o4755), ("02750", 0o2750)])
def test_mode(value: str, expected: int) -> None:
    assert tree.parse_mode(value, "x") == expected


@pytest.mark.parametrize("value", [416, 640, "u=rw", "0888", "", "12", None, True])
def test_mode_refuses_what_is_ambiguous(value: object) -> None:
    with pytest.raises(tree.FileTreeError, match="quoted octal"):
        tree.parse_mode(value, "x")


RULES = tree.parse_rules(
    [
        {"match": "/etc/redis/users.acl", "group": "redis", "mode": "0640", "secret": True},
        {"match": "/etc/redis/private/*", "secret": True},
        {"match": "/etc/redis/*", "group": "redis", "mode": "0640"},
        {"match": "/etc/redis", "group": "redis", "directory_mode": "2750"},
        {"match": "/usr/local/bin/*", "mode": "0755"},
    ]
)


@pytest.mark.parametrize(
    ("path", "kind", "group", "mode", "secret"),
    [
        ("/etc/redis/users.acl", "file", "redis", 0o640, True),
        ("/etc/redis/private/key", "file", "root", 0o600, True),
        ("/etc/redis/redis.conf", "file", "redis", 0o640, False),
        ("/etc/redis/deep/er.conf", "file", "redis", 0o640, False),  # * matches a slash too
        ("/etc/motd", "file", "root", 0o644, False),
        ("/usr/local/bin/x", "file", "root", 0o755, False),
        ("/etc", "directory", "root", 0o755, False),
        ("/etc/redis", "directory", "redis", 0o2750, False),
        ("/etc/redis/deep", "directory", "redis", 0o750, False),
        ("/etc/redis/private/deep", "directory", "root", 0o700, True),
    ],
)
def test_first_rule_wins(path: str, kind: str, group: str, mode: int, secret: bool) -> None:
    entry = tree.entry_from_rules(RULES, path, kind)
    assert (entry.owner, entry.group, entry.mode, entry.secret) == ("root", group, mode, secret)


@pytest.mark.parametrize(("path", "enforced"), [("/etc/redis", True), ("/etc/redis/deep", False), ("/etc", False)])
def test_only_a_literal_rule_governs_a_directory_that_exists(path: str, enforced: bool) -> None:
    entry = tree.entry_from_rules(RULES, path, "directory")
    assert entry.enforce is enforced
    found = plan.Observed("directory", "other", "other", 0o777)
    assert (plan.change_for(entry, found) is not None) is enforced


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"mode": "0644"}, "match is required"),
        ({"match": "/x", "mod": "0644"}, "unknown key mod"),
        ({"match": "/x", "mode": 420}, "quoted octal"),
    ],
)
def test_rule_mistakes(rule: dict, message: str) -> None:
    with pytest.raises(tree.FileTreeError, match=message):
        tree.parse_rules([rule])


@pytest.mark.parametrize(
    ("item", "kind", "mode", "secret"),
    [
        ({"path": "/etc/a", "content": ""}, "file", 0o644, False),
        ({"path": "/etc/a", "content": "x", "secret": True}, "file", 0o600, True),
        ({"path": "/etc/redis/a", "content": "x"}, "file", 0o640, False),
        ({"path": "/etc/redis/users.acl", "content": "x", "mode": "0400"}, "file", 0o400, True),
        ({"path": "/etc/a", "link": "../b"}, "link", 0o644, False),
        ({"path": "/var/lib/a", "directory": True, "mode": "0700"}, "directory", 0o700, False),
    ],
)
def test_extra(item: dict, kind: str, mode: int, secret: bool) -> None:
    entry = tree.entry_from_extra(item, "/", RULES, 0)
    assert (entry.kind, entry.mode, entry.secret, entry.enforce) == (kind, mode, secret, True)


@pytest.mark.parametrize(
    "item",
    [
        {"content": "x"},
        {"path": "a"},
        {"path": "a", "content": "x", "link": "y"},
        {"path": "../a", "content": "x"},
        {"path": "a", "content": "x", "state": "present"},
    ],
)
def test_extra_mistakes(item: dict) -> None:
    with pytest.raises(tree.FileTreeError):
        tree.entry_from_extra(item, "/", [], 0)


def test_complete_adds_parents_in_order_and_stops_at_dest() -> None:
    done = tree.complete([tree.Entry("/srv/x/b/c"), tree.Entry("/srv/x/a")], "/srv/x", [])
    assert [entry.path for entry in done] == ["/srv/x", "/srv/x/a", "/srv/x/b", "/srv/x/b/c"]
    assert [entry.kind for entry in done] == ["directory", "file", "directory", "file"]


def test_complete_refuses_duplicates_and_files_as_parents() -> None:
    with pytest.raises(tree.FileTreeError, match="given twice"):
        tree.complete([tree.Entry("/a"), tree.Entry("/a")], "/", [])
    with pytest.raises(tree.FileTreeError, match="also the parent"):
        tree.complete([tree.Entry("/a"), tree.Entry("/a/b")], "/", [])


@given(st.lists(st.binary(max_size=300), max_size=6))
def test_payload_round_trip(contents: list) -> None:
    entries = [tree.Entry(f"/é/{n}", content=content, mode=0o600 + n) for n, content in enumerate(contents)]
    entries.append(tree.Entry("/l", tree.LINK, target="../t"))
    assert tree.decode(tree.encode(entries, [["a", "{root}"]])) == (entries, [["a", "{root}"]])


def test_payload_damaged() -> None:
    import base64
    import zlib

    blob = zlib.decompress(base64.b64decode(tree.encode([tree.Entry("/a", content=b"abc")], [])))
    with pytest.raises(tree.FileTreeError, match="damaged"):
        tree.decode(base64.b64encode(zlib.compress(blob + b"x")).decode())


FILE = tree.Entry("/a", content=b"x")
AS_WANTED = plan.Observed("file", "root", "root", 0o644, "", b"x")


@pytest.mark.parametrize(
    ("found", "replaced", "attributes"),
    [
        (plan.Observed(), True, ()),
        (plan.Observed("file", "root", "root", 0o644, "", b"y"), True, ()),
        (plan.Observed("file", "www", "root", 0o600, "", b"x"), False, ("owner", "mode")),
        (plan.Observed("file", "root", "www", 0o644, "", b"y"), True, ("group",)),
        (plan.Observed("link", "root", "root", 0o777, "b"), True, ()),
    ],
)
def test_change(found: plan.Observed, replaced: bool, attributes: tuple) -> None:
    change = plan.change_for(FILE, found)
    assert change is not None
    assert (change.replace, change.attributes) == (replaced, attributes)


def test_no_change() -> None:
    assert plan.change_for(FILE, AS_WANTED) is None
    assert plan.change_for(tree.Entry("/l", "link", target="t"), plan.Observed("link", "x", "x", 0o777, "t")) is None


@pytest.mark.parametrize(("kind", "found"), [("file", "directory"), ("directory", "file"), ("file", "other")])
def test_change_refuses_another_kind(kind: str, found: str) -> None:
    with pytest.raises(tree.FileTreeError, match="move it away"):
        plan.change_for(tree.Entry("/a", kind), plan.Observed(found))


@pytest.mark.parametrize(
    ("before", "after", "secret", "shown"),
    [
        (b"a\n", b"b\n", False, True),
        (b"a\n", b"b\n", True, False),
        (b"a\0", b"b", False, False),
        (b"\xff", b"b", False, False),
        (b"", b"x" * (plan.MAX_DIFF_BYTES + 1), False, False),
    ],
)
def test_content_diff(before: bytes, after: bytes, secret: bool, shown: bool) -> None:
    item = plan.content_diff("/a", before, after, secret)
    assert ("after" in item) is shown
    assert ("prepared" in item) is not shown


def test_manifest_round_trip_and_mistakes() -> None:
    manifest = plan.Manifest("n", "/", plan.placed([FILE, tree.Entry("/l", "link", target="t")]), ("/d",))
    assert plan.load_manifest(manifest.dump(), "n", "/") == manifest
    with pytest.raises(tree.FileTreeError, match="belongs to dest"):
        plan.load_manifest(manifest.dump(), "n", "/srv")
    for damaged in (b"", b"{}", b"[]", b"\xff", manifest.dump()[:40]):
        with pytest.raises(tree.FileTreeError, match="damaged"):
            plan.load_manifest(damaged, "n", "/")


@pytest.mark.parametrize(
    ("mark", "found", "ours"),
    [
        ({}, plan.Observed("file", content=b"changed by somebody"), True),
        ({}, plan.Observed("directory"), False),
        ({}, plan.Observed(), False),
        (dict(plan.fingerprint(FILE), pending=True), AS_WANTED, True),
        (dict(plan.fingerprint(FILE), pending=True), plan.Observed("file", content=b"foreign"), False),
    ],
)
def test_is_ours(mark: dict, found: plan.Observed, ours: bool) -> None:
    assert plan.is_ours(mark, found) is ours


def test_announced_keeps_what_was_placed_and_marks_what_is_new() -> None:
    old = plan.Manifest("n", "/", plan.placed([FILE]))
    files = plan.announced(old, [tree.Entry("/a", content=b"new"), tree.Entry("/b", content=b"b")]).files
    assert files["/a"] == old.files["/a"]
    assert files["/b"]["pending"] is True


@pytest.mark.parametrize(
    ("given", "secret"),
    [(None, True), (True, True), (False, False)],
    ids=["unset follows the rule", "set", "unset by hand"],
)
def test_extra_without_secret_follows_its_rule(given: object, secret: bool) -> None:
    item = {"path": "/etc/redis/users.acl", "content": "x", "secret": given, "link": None, "directory": False}
    assert tree.entry_from_extra(item, "/", RULES, 0).secret is secret


@pytest.mark.parametrize("item", [{"command": "nginx -t"}, {"command": []}, "nginx -t", {}])
def test_validate_wants_lists(item: object) -> None:
    with pytest.raises(tree.FileTreeError, match="must be a list"):
        tree.parse_validate([item])


def test_expand_command() -> None:
    assert tree.expand_command(["a", "-c", "{root}/x:%s"], "/s") == ["a", "-c", "/s/x:/s"]
