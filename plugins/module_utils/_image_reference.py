# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Image references: what `registry/repository:tag@digest` means, by the rules of the OCI distribution specification."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable
from typing import Any

# Docker's own registry answers under another name than the one in references.
HUB = "docker.io"
HUB_API = "registry-1.docker.io"

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"^{_COMPONENT}(?:/{_COMPONENT})*$")
_REGISTRY = re.compile(r"^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?$")
_TAG = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")
_DIGEST = re.compile(r"^sha256:[0-9a-f]{64}$")


class InvalidReference(ValueError):
    """An image reference that no registry would accept."""


@dataclasses.dataclass(frozen=True)
class ImageReference:
    """One image: where it lies and which one it is."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def api_host(self) -> str:
        """Host and port that serve the registry's API."""
        return HUB_API if self.registry == HUB else self.registry

    @property
    def name(self) -> str:
        """Registry and repository, without tag or digest."""
        return f"{self.registry}/{self.repository}"

    @property
    def wanted(self) -> str:
        """What to ask the registry for: the digest where there is one."""
        return self.digest or self.tag or "latest"

    def pinned(self, digest: str) -> str:
        """The same image by digest: the only form in which a release names it."""
        return f"{self.name}@{digest}"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"


def _split_registry(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return first, rest
    return HUB, name if slash else f"library/{name}"


def _split_tag(name: str) -> tuple[str, str]:
    head, colon, tail = name.rpartition(":")
    if colon and "/" not in tail:
        return head, tail
    return name, ""


def parse(text: str) -> ImageReference:
    """Read a reference; an error says which part is wrong and what it may look like."""
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.match(digest):
        raise InvalidReference(f"{text}: the digest '{digest}' is not sha256: followed by 64 hexadecimal digits")
    rest, tag = _split_tag(rest)
    if tag and not _TAG.match(tag):
        raise InvalidReference(
            f"{text}: the tag '{tag}' may hold letters, digits, '_', '.', '-' and at most 128 characters"
        )
    registry, repository = _split_registry(rest)
    if not _REGISTRY.match(registry):
        raise InvalidReference(f"{text}: '{registry}' is not a registry's host[:port]")
    if not _REPOSITORY.match(repository):
        raise InvalidReference(
            f"{text}: the repository '{repository}' may hold lower-case letters, digits and single '.', '_', '-', '/'"
        )
    return ImageReference(registry, repository, tag, digest)


def parse_pinned(text: str) -> ImageReference:
    """Read a reference that must name a digest: a tag may move between two hosts of one release."""
    reference = parse(text)
    if not reference.digest:
        raise InvalidReference(
            f"{text}: a digest is needed (repository@sha256:…); resolve the tag with signalbox.platform.image_info"
        )
    return reference


def close_tags(wanted: str, tags: Iterable[str], limit: int = 5) -> list[str]:
    """Tags that the operator may have meant, the likeliest first."""
    known = list(tags)
    found = difflib.get_close_matches(wanted, known, n=limit, cutoff=0.6)
    stripped = wanted.lstrip("v")
    found += [tag for tag in known if tag not in found and tag.lstrip("v").startswith(stripped)]
    return found[:limit]


def choose_platform(
    manifests: Iterable[dict[str, Any]], architecture: str, operating_system: str = "linux"
) -> str | None:
    """Digest of the manifest for one platform in an image index, or None."""
    for manifest in manifests:
        platform = manifest.get("platform") or {}
        if platform.get("os") == operating_system and platform.get("architecture") == architecture:
            return str(manifest["digest"])
    return None


def platforms(manifests: Iterable[dict[str, Any]]) -> list[str]:
    """Platforms an image index offers, for messages."""
    found = ((manifest.get("platform") or {}) for manifest in manifests)
    return sorted(
        {f"{p.get('os')}/{p.get('architecture')}" for p in found if p.get("architecture") not in (None, "unknown")}
    )


_ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "i686": "386",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
}


def architecture_of(machine: str) -> str:
    """The registry's name for what `uname -m` prints."""
    return _ARCHITECTURES.get(machine, machine)
