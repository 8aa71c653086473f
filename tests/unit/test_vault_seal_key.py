"""When a static seal may get another key, and which one its server has to know beside it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from ansible_collections.signalbox.platform.plugins.module_utils._vault_bootstrap import BootstrapError
from ansible_collections.signalbox.platform.plugins.module_utils._vault_seal_key import (
    Seen,
    configured,
    handouts,
    previous_key,
)
from ansible_collections.signalbox.platform.plugins.modules.vault_seal_key import present

FILE = """# a comment of current_key_id = "0"
seal "static" {
  current_key_id = "2"
  current_key    = "file:///run/credentials/x"
  # What is encrypted with it is encrypted anew by the next node that leads.
  previous_key_id = "1"
  previous_key    = "file:///run/credentials/y"
}
"""
READY = {"loaded": True, "recovery_keys": True}


def test_the_names_of_the_keys_are_read_from_the_configuration() -> None:
    assert configured(FILE) == {"current": "2", "previous": "1"}
    assert configured('seal "transit" {}') == {}


@pytest.mark.parametrize(
    ("seen", "wanted", "previous"),
    [
        (Seen(), "1", ""),
        (Seen("1", **READY), "1", ""),
        (Seen("1", **READY), "2", "1"),
        (Seen("2", "1"), "2", "1"),
        (Seen("2", "1", **READY), "3", "2"),
        (Seen("2", "1", **READY), "1", "2"),
    ],
)
def test_the_former_key_stays_known(seen: Seen, wanted: str, previous: str) -> None:
    assert previous_key(seen, wanted, operators=True) == previous


@pytest.mark.parametrize(
    ("seen", "operators", "says"),
    [
        (Seen("2", "1", loaded=False, recovery_keys=True), True, "does not run with '2' yet"),
        (Seen("2", "1", loaded=True), True, "only where there are recovery keys"),
        (Seen("2", "1", **READY), False, "vault_pgp_keys is empty"),
    ],
)
def test_a_key_that_could_lock_everybody_out_is_refused(seen: Seen, operators: bool, says: str) -> None:
    with pytest.raises(BootstrapError, match=says) as refused:
        previous_key(seen, "3", operators)
    assert "Set vault_seal_key_id to '2' again" in str(refused.value)


def test_each_operator_is_handed_the_key_by_name() -> None:
    texts = handouts({"alice": "aaa", "bob": "bbb"}, "2", "cluster")
    assert sorted(texts) == ["alice.seal-key-2", "bob.seal-key-2"]
    document = json.loads(texts["bob.seal-key-2"])
    assert (document["seal_key"], document["seal_key_id"]) == ("bbb", "2")
    assert "bob.seal-key-2.json" in document["open_the_seal_key"]


def test_the_former_key_under_another_name_is_refused(tmp_path: Path) -> None:
    former, key = tmp_path / "seal-key-1", b"k" * 32
    former.touch()
    sealed: list[bytes] = []
    host = SimpleNamespace(unseal=lambda _path: key, seal=lambda _path, value: sealed.append(value))
    given = {"path": str(tmp_path / "seal-key-2"), "previous": str(former), "storage": str(tmp_path)}

    def run(other: bytes) -> bool:
        text = base64.b64encode(other).decode()
        return present(SimpleNamespace(params={**given, "key": text}, check_mode=False), host)

    with pytest.raises(BootstrapError, match="would still be that key"):
        run(key)
    assert sealed == []
    assert run(b"o" * 32)
    assert sealed == [b"o" * 32]
