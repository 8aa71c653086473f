# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a slot needs on its host before it is started: its secrets, the services it logs in to, and its image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable, Protocol

from ansible_collections.signalbox.platform.plugins.module_utils._docker_engine import EngineError
from ansible_collections.signalbox.platform.plugins.module_utils._host_vault import SourceError
from ansible_collections.signalbox.platform.plugins.module_utils._image_pull import ImageError

SERVICES = {"postgresql": "PostgreSQL", "redis": "Redis"}


@dataclass(frozen=True)
class Login:
    """One account of the app at one service; `secret` names its password."""

    service: str
    user: str
    database: str
    secret: str


# None, or why the service refused.
TryLogin = Callable[[Login, str], "str | None"]


class ImagesPort(Protocol):
    """What the check asks of whoever has images."""

    def present(self, image: str) -> bool: ...
    def check_room(self) -> None: ...
    def ensure(self, image: str) -> Any: ...


def secret_faults(wanted: Sequence[Login], read: Callable[[], Mapping[str, str]]) -> tuple[dict[str, str], list[str]]:
    """The values, and why there are none."""
    try:
        values = dict(read())
    except SourceError as error:
        return {}, [f"its secrets cannot be fetched. {error}"]
    missing = [login.secret for login in wanted if not values.get(login.secret)]
    return values, [f"{', '.join(dict.fromkeys(missing))} has no value"] if missing else []


def login_faults(
    logins: Sequence[Login], values: Mapping[str, str], addresses: Mapping[str, str], try_login: TryLogin
) -> Iterator[str]:
    """Services that do not take the app."""
    for login in logins:
        if values.get(login.secret):
            reason = try_login(login, values[login.secret])
            if reason is not None:
                service = SERVICES[login.service]
                yield (
                    f"{service} at {addresses[login.service]} does not take {login.user}: {reason.rstrip('.')}. "
                    "Remedy: see that it runs; playbooks/site.yml brings logins and firewall to the declared state"
                )


def image_fault(images: ImagesPort, image: str) -> str | None:
    """Why the image is not here and could not come."""
    try:
        if not images.present(image):
            images.check_room()
    except (EngineError, ImageError) as error:
        return str(error)
    return None
