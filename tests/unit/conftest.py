"""Makes `ansible_collections.signalbox.platform` importable from the checkout."""

from __future__ import annotations

import os
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT / ".collections"))
# What roles put on hosts runs from its own directory.
sys.path.insert(0, str(CHECKOUT / "roles/pgbackrest/files/usr/local/lib/signalbox/backup"))
sys.path.insert(0, str(CHECKOUT / "roles/postgresql_standby/files/usr/local/lib/signalbox/standby"))

# The Makefile names the lab's password file, which is not there before the first lab host is: no unit test may need it.
os.environ.pop("ANSIBLE_VAULT_PASSWORD_FILE", None)
