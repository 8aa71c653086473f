# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Looks at the certificates that the operator gives, on the control node, with the eyes of the host that gets them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from ansible.errors import AnsibleError

from ansible_collections.signalbox.platform.plugins.module_utils import _certificate_files as files
from ansible_collections.signalbox.platform.plugins.module_utils._certificate import CertificateError, Request
from ansible_collections.signalbox.platform.plugins.module_utils._spec_model import App


def faults(loader: Any, apps: Mapping[str, App], directory: str) -> dict[str, str]:
    """App to what is wrong with its given certificate; never holds a key."""
    found: dict[str, str] = {}
    for name, app in apps.items():
        if app.tls.source != "given":
            continue
        try:
            paths = (app.tls.certificate_path, app.tls.key_path)
            certificate, key = (_read(loader, os.path.join(directory, path)) for path in paths)
            request = Request(name, app.domains, certificate=certificate, private_key=key)
            files.check_given(request, datetime.now(timezone.utc))
        except CertificateError as error:
            found[name] = f"cannot be served: {error}"
    return found


def _read(loader: Any, path: str) -> str:
    try:
        return str(loader.get_text_file_contents(path))
    except (AnsibleError, UnicodeError) as error:
        reason = "it is not there" if not os.path.exists(path) else str(error).partition("\n")[0]
        raise CertificateError(f"{path} cannot be read: {reason}") from None
