# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keeps generated secrets in an ansible-vault file on the controller; no connection to any host is made."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile

import yaml
from ansible import constants
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.parsing.vault import VaultLib, is_encrypted, match_encrypt_secret
from ansible.plugins.action import ActionBase

from ansible_collections.signalbox.platform.plugins.module_utils._secrets_file import (
    Additions,
    SecretsFileError,
    additions,
    current_values,
    merged,
    parse_wanted,
)
from ansible_collections.signalbox.platform.plugins.modules.secrets_file import ARGUMENTS

HOW_TO_GIVE_ONE = (
    "no vault password was given, so secrets can be neither read nor kept. Put one into a file that is in no "
    "repository (openssl rand -base64 32 > FILE; chmod 600 FILE) and give it with --vault-password-file FILE, or set "
    "vault_password_file in ansible.cfg or ANSIBLE_VAULT_PASSWORD_FILE"
)


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        _checked, options = self.validate_argument_spec(argument_spec=ARGUMENTS)
        path = self._loader.path_dwim(options["path"])
        try:
            with locked(os.path.dirname(path)):
                result.update(self._keep(path, options))
        except SecretsFileError as error:
            raise AnsibleActionFail(f"{path}: {error}") from None
        except OSError as error:
            raise AnsibleActionFail(str(error)) from error
        return result

    def _keep(self, path, options):
        wanted, variable = parse_wanted(options["wanted"]), options["variable"]
        vault = VaultLib(secrets=self._loader._vault.secrets)
        if not vault.secrets:
            raise SecretsFileError(HOW_TO_GIVE_ONE)
        data = read(path)
        document, identity = decrypted(data, vault)
        new = additions(current_values(document, variable), wanted)
        in_clear = identity is None and bool(data)
        if (new.generate or in_clear) and not self._task.check_mode:
            vault_id, secret = identity or encryption_identity(vault, options["vault_id"])
            # Names come from templates as tagged strings, which YAML refuses; JSON knows only plain ones.
            whole = json.loads(json.dumps(merged(document, variable, wanted, new)))
            text = yaml.safe_dump(whole, sort_keys=False, allow_unicode=True)
            write(path, vault.encrypt("---\n" + text, secret=secret, vault_id=vault_id))
        return report(path, new, in_clear, self._task.diff)


def report(path, new, in_clear, diff):
    added = Additions.names(new.generate)
    result = {"changed": bool(added or in_clear), "added": added, "encrypted": in_clear}
    result["missing"] = Additions.names(new.missing)
    if diff and result["changed"]:
        lines = [f"{path}: {name} generated\n" for name in added]
        result["diff"] = {"prepared": "".join(lines + ([f"{path}: encrypted\n"] if in_clear else []))}
    return result


def decrypted(data, vault):
    """The document in the file and the (vault id, secret) it is encrypted with, None for a file in clear."""
    identity = None
    if is_encrypted(data):
        try:
            data, vault_id, secret = vault.decrypt_and_get_vault_id(data)
        except AnsibleError as error:
            raise SecretsFileError(f"not to be decrypted with the vault passwords given: {error.message}") from None
        identity = (vault_id, secret)
    try:
        return yaml.safe_load(data), identity
    except yaml.YAMLError as error:  # its text quotes the file
        mark = getattr(error, "problem_mark", None)
        raise SecretsFileError(f"no valid YAML{f' at line {mark.line + 1}' if mark else ''}") from None


def encryption_identity(vault, vault_id):
    found = match_encrypt_secret(vault.secrets, vault_id or constants.DEFAULT_VAULT_ENCRYPT_IDENTITY)
    if not found:
        raise SecretsFileError(HOW_TO_GIVE_ONE)
    return found


def read(path):
    try:
        with open(path, "rb") as handle:
            return handle.read()
    except FileNotFoundError:
        return b""


def write(path, data):
    """Whole or not at all: another process never sees half of a file."""
    target = os.path.realpath(path)
    number, temporary = tempfile.mkstemp(prefix=".secrets-", dir=os.path.dirname(target))
    try:
        with os.fdopen(number, "wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        os.rename(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


@contextlib.contextmanager
def locked(directory):
    """One writer at a time, though a task runs for many hosts at once; the directory itself is the lock."""
    try:
        number = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        raise SecretsFileError(f"there is no directory {directory}; create it") from None
    try:
        fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        os.close(number)
