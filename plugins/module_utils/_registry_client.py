# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Port to an image registry's HTTP API, version 2: what a tag points at. Reads only."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils._image_reference import (
    ImageReference,
    choose_platform,
    close_tags,
    platforms,
)

_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
_LIMIT_BYTES = 8 * 2**20


class RegistryError(Exception):
    """The registry gave no image; `kind` is one of not_found, refused, unreachable, tls, platform, answer."""

    def __init__(self, kind: str, message: str, tags: list[str] | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.tags = tags or []


@dataclasses.dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise RegistryError(
                "answer", f"the answer is not JSON: {self.body[:200]!r}; is this a registry?"
            ) from error


@dataclasses.dataclass(frozen=True)
class Image:
    """An image as its registry describes it."""

    digest: str
    platform_digest: str
    size_bytes: int
    labels: Mapping[str, str]
    created: str
    architecture: str


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to where layers lie, without carrying the credentials to another host."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None and urllib.parse.urlsplit(newurl).netloc != urllib.parse.urlsplit(req.full_url).netloc:
            request.headers.pop("Authorization", None)
        return request


def parse_challenge(header: str) -> tuple[str, dict[str, str]]:
    """Scheme and parameters of a WWW-Authenticate header."""
    scheme, _space, rest = header.partition(" ")
    return scheme.lower(), dict(re.findall(r'([A-Za-z_]+)="([^"]*)"', rest))


class RegistryClient:
    """Asks one registry about one repository."""

    def __init__(
        self,
        reference: ImageReference,
        username: str = "",
        password: str = "",
        ca_file: str = "",
        timeout_seconds: float = 10.0,
        base_url: str = "",
    ) -> None:
        self._reference = reference
        self._username = username
        self._password = password
        self._timeout_seconds = timeout_seconds
        self._base_url = base_url or f"https://{reference.api_host}"
        self._authorization = ""
        try:
            context = ssl.create_default_context(cafile=ca_file or None)
        except (OSError, ssl.SSLError) as error:
            raise RegistryError("tls", f"the CA file {ca_file} cannot be used: {error}") from error
        self._opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _Redirects())

    def _send(self, url: str, headers: Mapping[str, str]) -> Answer:
        request = urllib.request.Request(url, headers=dict(headers))  # noqa: S310  https from a checked reference
        try:
            with self._opener.open(request, timeout=self._timeout_seconds) as response:
                return Answer(response.status, _lower(response.headers), response.read(_LIMIT_BYTES))
        except urllib.error.HTTPError as error:
            return Answer(error.code, _lower(error.headers), error.read(_LIMIT_BYTES))
        except (OSError, ValueError) as error:
            raise self._unreachable(getattr(error, "reason", error)) from error

    def _unreachable(self, reason: Any) -> RegistryError:
        host = self._reference.registry
        if isinstance(reason, ssl.SSLCertVerificationError):
            return RegistryError(
                "tls", f"the certificate of {host} is not trusted: {reason.verify_message}; give its CA as ca_file"
            )
        if isinstance(reason, ssl.SSLError):
            return RegistryError("tls", f"no TLS with {host}: {reason}; does it speak plain HTTP?")
        return RegistryError(
            "unreachable", f"{host} does not answer: {reason}; check its address, its service and the firewall between"
        )

    def _get(self, path: str, accept: str = "application/json") -> Answer:
        headers = {"Accept": accept}
        if self._authorization:
            headers["Authorization"] = self._authorization
        answer = self._send(f"{self._base_url}/v2/{path}", headers)
        if answer.status == 401 and not self._authorization:
            self._authorization = self._authorize(answer)
            return self._get(path, accept)
        if answer.status in (401, 403):
            raise RegistryError("refused", self._refusal())
        return answer

    def _refusal(self) -> str:
        who = f"user {self._username!r}" if self._username else "anonymous access"
        return f"{self._reference.registry} refuses {who} to read {self._reference.repository}; check user and password"

    def _authorize(self, answer: Answer) -> str:
        scheme, parameters = parse_challenge(answer.headers.get("www-authenticate", ""))
        basic = "Basic " + base64.b64encode(f"{self._username}:{self._password}".encode()).decode()
        if scheme == "basic" and self._username:
            return basic
        if scheme != "bearer" or "realm" not in parameters:
            raise RegistryError("refused", self._refusal())
        query = {"service": parameters.get("service", ""), "scope": f"repository:{self._reference.repository}:pull"}
        url = f"{parameters['realm']}?{urllib.parse.urlencode(query)}"
        token = self._send(url, {"Authorization": basic} if self._username else {})
        if token.status != 200:
            raise RegistryError("refused", self._refusal())
        content = token.json()
        return f"Bearer {content.get('token') or content.get('access_token')}"

    def _manifest(self, wanted: str) -> tuple[str, dict[str, Any], Answer]:
        answer = self._get(f"{self._reference.repository}/manifests/{wanted}", ", ".join(_INDEXES + _MANIFESTS))
        if answer.status == 404:
            raise self._not_found(wanted)
        if answer.status != 200:
            raise RegistryError(
                "answer",
                f"{self._reference.registry} answered {answer.status}: {answer.body[:200].decode(errors='replace')}",
            )
        digest = "sha256:" + hashlib.sha256(answer.body).hexdigest()
        if wanted.startswith("sha256:") and wanted != digest:
            raise RegistryError(
                "answer",
                f"{self._reference.registry} answered {digest} when asked for {wanted}: do not trust it",
            )
        return digest, answer.json(), answer

    def _not_found(self, wanted: str) -> RegistryError:
        tags = self.tags()
        name = f"{self._reference.name}{'@' if ':' in wanted else ':'}{wanted}"
        if not tags:
            return RegistryError(
                "not_found", f"{name} does not exist: the repository is unknown or empty; was the image pushed?"
            )
        close = close_tags(wanted, tags)
        hint = f"close tags: {', '.join(close)}" if close else f"it has {len(tags)} other tags"
        return RegistryError("not_found", f"{name} does not exist; {hint}", close)

    def tags(self) -> list[str]:
        """Tags of the repository, as far as the first page goes."""
        answer = self._get(f"{self._reference.repository}/tags/list?n=1000")
        return list(answer.json().get("tags") or []) if answer.status == 200 else []

    def image(self, architecture: str) -> Image:
        """The image the reference names, for one architecture."""
        digest, manifest, answer = self._manifest(self._reference.wanted)
        platform_digest = digest
        media_type = manifest.get("mediaType") or answer.headers.get("content-type", "")
        if media_type in _INDEXES or "manifests" in manifest:
            chosen = choose_platform(manifest["manifests"], architecture)
            if chosen is None:
                offered = ", ".join(platforms(manifest["manifests"])) or "none"
                raise RegistryError(
                    "platform", f"{self._reference} is not built for linux/{architecture}; it offers: {offered}"
                )
            platform_digest, manifest, answer = self._manifest(chosen)
        if "config" not in manifest:
            raise RegistryError(
                "answer",
                f"{self._reference} has a manifest of an old kind (schema 1); push it again with a current tool",
            )
        config = self._get(f"{self._reference.repository}/blobs/{manifest['config']['digest']}").json()
        if config.get("architecture") not in (architecture, None, ""):
            raise RegistryError(
                "platform",
                f"{self._reference} is built for linux/{config['architecture']}, not for linux/{architecture}",
            )
        return Image(
            digest=digest,
            platform_digest=platform_digest,
            size_bytes=sum(int(layer.get("size", 0)) for layer in manifest.get("layers", ())),
            labels=(config.get("config") or {}).get("Labels") or {},
            created=str(config.get("created", "")),
            architecture=str(config.get("architecture", architecture)),
        )


def _lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
