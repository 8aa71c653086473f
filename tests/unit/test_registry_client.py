"""The registry client against a small registry that speaks basic or token authentication."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import threading

import pytest

from ansible_collections.signalbox.platform.plugins.module_utils._image_reference import parse
from ansible_collections.signalbox.platform.plugins.module_utils._registry_client import (
    RegistryClient,
    RegistryError,
    parse_challenge,
)


def blob(value):
    body = json.dumps(value).encode()
    return body, "sha256:" + hashlib.sha256(body).hexdigest()


CONFIG, CONFIG_DIGEST = blob(
    {"architecture": "amd64", "created": "2026-01-01T00:00:00Z", "config": {"Labels": {"revision": "abc"}}}
)
MANIFEST, DIGEST = blob(
    {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"digest": CONFIG_DIGEST},
        "layers": [{"size": 10}, {"size": 5}],
    }
)
INDEX, INDEX_DIGEST = blob(
    {
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{"digest": DIGEST, "platform": {"os": "linux", "architecture": "amd64"}}],
    }
)
CONTENT = {
    "/v2/api/manifests/1.0.0": MANIFEST,
    "/v2/api/manifests/multi": INDEX,
    f"/v2/api/manifests/{DIGEST}": MANIFEST,
    f"/v2/api/manifests/sha256:{'0' * 64}": MANIFEST,
    f"/v2/api/blobs/{CONFIG_DIGEST}": CONFIG,
    "/v2/api/tags/list": b'{"tags": ["1.0.0", "multi"]}',
}
BASIC = "Basic " + base64.b64encode(b"deploy:right-password").decode()


class Handler(http.server.BaseHTTPRequestHandler):
    """A registry with one repository."""

    def do_GET(self):
        path = self.path.partition("?")[0]
        given = self.headers.get("Authorization", "")
        if path == "/token":
            self.reply(200 if given == BASIC else 401, b'{"token": "t"}')
        elif given != {"basic": BASIC, "bearer": "Bearer t"}[self.server.scheme]:
            self.reply(401, b"{}")
        else:
            self.reply(200 if path in CONTENT else 404, CONTENT.get(path, b"{}"))

    def reply(self, status, body):
        self.send_response(status)
        if status == 401:
            realm = f"http://127.0.0.1:{self.server.server_address[1]}/token"
            challenges = {"basic": 'Basic realm="r"', "bearer": f'Bearer realm="{realm}",service="s",scope="x"'}
            self.send_header("WWW-Authenticate", challenges[self.server.scheme])
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        """Silence."""


@pytest.fixture(params=["basic", "bearer"])
def registry(request):
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.scheme = request.param
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{made.server_address[1]}"
    made.shutdown()
    made.server_close()


def ask(url, image, password="right-password", architecture="amd64"):
    return RegistryClient(parse(image), "deploy", password, base_url=url).image(architecture)


def test_a_tag_becomes_a_digest(registry):
    image = ask(registry, "r.io/api:1.0.0")
    assert (image.digest, image.platform_digest, image.size_bytes) == (DIGEST, DIGEST, 15)
    assert image.labels == {"revision": "abc"}


def test_an_index_keeps_its_own_digest(registry):
    image = ask(registry, "r.io/api:multi")
    assert (image.digest, image.platform_digest) == (INDEX_DIGEST, DIGEST)


@pytest.mark.parametrize(
    ("image", "fields", "kind", "said"),
    [
        ("r.io/api:1.0.1", {}, "not_found", "close tags: 1.0.0"),
        ("r.io/other:1", {}, "not_found", "unknown or empty"),
        ("r.io/api:1.0.0", {"password": "wrong"}, "refused", "user 'deploy'"),
        ("r.io/api:multi", {"architecture": "arm64"}, "platform", "offers: linux/amd64"),
        ("r.io/api:1.0.0", {"architecture": "arm64"}, "platform", "is built for linux/amd64"),
        (f"r.io/api@sha256:{'0' * 64}", {}, "answer", "do not trust it"),
    ],
)
def test_errors_say_what_is_wrong(registry, image, fields, kind, said):
    with pytest.raises(RegistryError) as caught:
        ask(registry, image, **fields)
    assert caught.value.kind == kind
    assert said in str(caught.value)
    assert "right-password" not in str(caught.value)


def test_nobody_there():
    with pytest.raises(RegistryError) as caught:
        ask("http://127.0.0.1:1", "r.io/api:1")
    assert caught.value.kind == "unreachable"


def test_challenge():
    assert parse_challenge('Bearer realm="https://a/t",service="s"') == (
        "bearer",
        {"realm": "https://a/t", "service": "s"},
    )
