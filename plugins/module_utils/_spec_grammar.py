# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Grammars of the spec's texts. Each check yields the faults of one text: what is wrong, and how to mend it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from string import Formatter
from typing import Callable

from ansible_collections.signalbox.platform.plugins.module_utils._spec_errors import Fault, did_you_mean, shorten

Check = Callable[[str], Iterator[Fault]]

APP_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}[a-z0-9]")
ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
MEMORY_MINIMUM_BYTES = 64 * 1024**2
MEMORY_MAXIMUM_BYTES = 1024**4
_MEMORY_UNITS = {"b": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_REPOSITORY_PART = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
# Certificates and secrets of the platform's own services go by these names.
_RESERVED_APPS = ("backup", "ca", "edge", "postgresql", "redis", "registry", "slots", "vault")
_RESERVED_DATABASES = ("postgres", "template0", "template1")


def app_name(text: str) -> Iterator[Fault]:
    if not APP_NAME.fullmatch(text):
        yield (
            "is not a valid app name",
            "Use 2 to 32 lower-case letters, digits and hyphens, with a letter first and no hyphen last",
        )
    elif text in _RESERVED_APPS:
        yield f"is the name of a service of the platform: {text}", f"Choose another, such as {text}-api"


def image(text: str) -> Iterator[Fault]:
    """A repository without tag or digest."""
    if "://" in text:
        yield (
            f"starts with a scheme: {shorten(text)}",
            "Write the repository alone: {}".format(shorten(text.split("://", 1)[1])),
        )
        return
    repository, at, _digest = text.partition("@")
    head, slash, last = repository.rpartition("/")
    bare, colon, tag = last.partition(":")
    if at or colon:
        what = "carries a digest" if at else "carries the tag {}".format(shorten(tag) or "''")
        yield what, f"Write the repository alone, {shorten(head + slash + bare)}: the release adds the version"
        return
    parts = repository.split("/")
    if len(parts) > 1 and image_registry(repository):
        parts = parts[1:]
    if not all(_REPOSITORY_PART.fullmatch(part) for part in parts):
        yield (
            "is not an image repository: {}".format(shorten(text) or "empty"),
            "Write it in lower case as registry/name, such as registry.example.com/agent-api",
        )


def image_registry(repository: str) -> str:
    """The registry a repository names, by the rule of container engines, or an empty text."""
    first, slash, _rest = repository.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else ""


def host_name(text: str) -> Iterator[Fault]:
    """A fully written host name by RFC 1123, in lower case."""
    bare = re.sub(r"^[a-z]+://", "", text).split("/", 1)[0].split(":", 1)[0]
    if bare != text:
        yield (
            f"is not a host name alone: {shorten(text)}",
            "Leave out scheme, port and path: {}".format(shorten(bare) or "api.example.com"),
        )
    elif text != text.lower():
        yield f"has capital letters: {shorten(text)}", f"Write {shorten(text.lower())}"
    elif text.startswith("*."):
        yield f"is a wildcard: {shorten(text)}", "List every name the app answers to"
    elif not text.isascii():
        yield f"has letters outside ASCII: {shorten(text)}", f"Write its punycode form, {_idna(text)}"
    elif re.fullmatch(r"[0-9.]+", text):
        yield f"is an address, not a host name: {shorten(text)}", "Write a name such as api.example.com"
    elif len(text) > 253 or not all(_LABEL.fullmatch(label) for label in text.split(".")):
        yield (
            "is not a host name: {}".format(shorten(text) or "empty"),
            "RFC 1123: labels of 1 to 63 letters, digits and inner hyphens, joined by dots, 253 characters at most",
        )


def _idna(text: str) -> str:
    try:
        return text.encode("idna").decode("ascii")
    except UnicodeError:
        return "xn--..."


def http_path(text: str) -> Iterator[Fault]:
    if "://" in text:
        yield f"is a URL: {shorten(text)}", "Write the path alone, such as /health"
    elif not text.startswith("/") or text.startswith("//"):
        yield (
            "does not start with one slash: {}".format(shorten(text) or "empty"),
            "Write /{}".format(shorten(text.lstrip("/"))),
        )
    elif "#" in text or not re.fullmatch(r"[!-~]+", text):
        yield (
            f"has a character that no request line may carry: {shorten(text)}",
            "Leave out spaces and #, and percent-encode what is not ASCII",
        )


def memory(text: str) -> Iterator[Fault]:
    found = re.fullmatch(r"([0-9]{1,15})([bkmg])", text)
    if not found:
        guess = re.fullmatch(r"\s*([0-9]{1,15})\s*([bkmgBKMG])(i?[bB])?\s*", text)
        example = guess.group(1) + guess.group(2).lower() if guess else "512m"
        yield (
            "is not a memory size: {}".format(shorten(text) or "empty"),
            (f"Write a whole number and one of b, k, m, g: {example}"),
        )
        return
    size = int(found.group(1)) * _MEMORY_UNITS[found.group(2)]
    if not MEMORY_MINIMUM_BYTES <= size <= MEMORY_MAXIMUM_BYTES:
        yield f"is outside 64m to 1024g: {text}", "Give the containers of the app at least 64m"


def env_name(text: str) -> Iterator[Fault]:
    if not ENV_NAME.fullmatch(text):
        mended = re.sub(r"[^A-Za-z0-9_]", "_", text)
        mended = "_" + mended if mended[:1].isdigit() else mended
        yield (
            "is not the name of an environment variable: {}".format(shorten(text) or "empty"),
            "Use letters, digits and underscores, no digit first: {}".format(shorten(mended) or "NAME"),
        )


def sticky(text: str) -> Iterator[Fault]:
    if text != "address" and not re.fullmatch(r"(cookie|header):[A-Za-z0-9_-]{1,64}", text):
        yield (
            "is not a key of stickiness: {}".format(shorten(text) or "empty"),
            "Write address, cookie:NAME or header:NAME",
        )


def database_name(text: str) -> Iterator[Fault]:
    """Six characters below the limit of PostgreSQL: users are named after the database, as in shop_green."""
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,56}", text):
        yield (
            "is not a database name: {}".format(shorten(text) or "empty"),
            "Use up to 57 lower-case letters, digits and underscores, no digit first",
        )
    elif text in _RESERVED_DATABASES:
        yield f"is a database of PostgreSQL itself: {text}", "Choose another name"


def table_name(text: str) -> Iterator[Fault]:
    if not re.fullmatch(r"(\S+\.)?\S+", text) or len(text) > 127:
        yield (
            "is not the name of a table: {}".format(shorten(text) or "empty"),
            "Write it as the database has it, with its schema where that is not public",
        )


def column_name(text: str) -> Iterator[Fault]:
    if not text.strip() or len(text) > 63:
        yield (
            "is not the name of a column: {}".format(shorten(text) or "empty"),
            "Write it as the database has it, up to 63 characters",
        )


def extension_name(text: str) -> Iterator[Fault]:
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", text):
        yield (
            "is not the name of a PostgreSQL extension: {}".format(shorten(text) or "empty"),
            "Write the name as CREATE EXTENSION takes it, such as pgcrypto",
        )


def header_name(text: str) -> Iterator[Fault]:
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", text):
        yield "is not the name of an HTTP header: {}".format(shorten(text) or "empty"), "Write a name such as Accept"
    elif text.lower() in ("host", "content-length", "connection", "transfer-encoding"):
        yield "is a header that the check sets itself", "Leave it out"


# What the edge sets itself, or reads for another purpose.
_EDGE_HEADERS = (
    "accept", "authorization", "connection", "content-length", "content-type", "cookie", "forwarded", "host", "proxy",
    "te", "traceparent", "tracestate", "trailer", "transfer-encoding", "upgrade", "x-correlation-id", "x-real-ip",
    "x-request-id",
)  # fmt: skip


def client_key_header(text: str) -> Iterator[Fault]:
    """A header that carries nothing but a key, by a name that nginx passes on."""
    lowered = text.lower()
    if lowered == "authorization":
        yield (
            "carries a scheme before the key, and the edge compares the whole value",
            "Let clients send the key alone, in a header such as X-API-Key",
        )
    elif lowered in _EDGE_HEADERS or lowered.startswith(("x-forwarded-", "x-signalbox-")):
        yield f"is a header with another meaning: {shorten(text)}", "Write a name such as X-API-Key"
    elif not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,63}", text):
        yield (
            "is not the name of a header for keys: {}".format(shorten(text) or "empty"),
            "Use up to 64 letters, digits and hyphens, a letter first; nginx drops names with underscores",
        )


def open_path(text: str) -> Iterator[Fault]:
    """One whole path, as clients write it in the request line."""
    faults = list(http_path(text))
    if faults:
        yield from faults
    elif "?" in text:
        yield f"has a query: {shorten(text)}", "Write the path alone: it is open with any query"
    elif "*" in text:
        yield f"is a pattern: {shorten(text)}", "List every open path whole"
    elif not re.fullmatch(r"[A-Za-z0-9/._~!&'()+,;=:@%-]+", text):
        yield f"has a character that must be percent-encoded: {shorten(text)}", "Write it as clients send it"


def one_line(text: str) -> Iterator[Fault]:
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        yield "has a line break or a control character", "Write it on one line"


def plain_value(text: str) -> Iterator[Fault]:
    """A plain environment value: everything but a NUL, and but a password that the inventory would show."""
    if "\0" in text:
        yield "has a NUL character", "Leave it out: no environment can carry it"
    if re.search(r"://[^/\s:@]*:[^/\s@]+@", text):
        yield "carries a password in a URL", "Name the variable under secrets and put the value in the vault file"


def check_query(text: str) -> Iterator[Fault]:
    """One query, to be run in a transaction that cannot write."""
    if not re.match(r"\s*(select|with|values|table)\b", text, re.IGNORECASE):
        yield (
            f"is {shorten(text)!r}, not a query",
            "Write one SELECT that returns what is wrong, and no row when all is well",
        )
    if ";" in text.rstrip().rstrip(";"):
        yield "has more than one statement", "Write each query as an entry of its own"


def file_path(text: str) -> Iterator[Fault]:
    """A file on the control node. Nothing of the text is shown: it may be the key itself."""
    if "-----BEGIN" in text:
        yield "holds what belongs in a file", "Put it in a file beside the inventory, and write its path"
    elif not text or any(ord(character) < 32 for character in text):
        yield "is not the path of a file", "Write a path, absolute or from the inventory's directory"


def url_template(placeholders: Sequence[str], example: str) -> Check:
    """A URL with every placeholder of the platform in it, and with no password of its own."""

    def check(text: str) -> Iterator[Fault]:
        # Nothing of the text is shown: it may carry a password.
        if "{{" in text:
            yield "has doubled braces", "Write single braces, {user} and so on: the release fills them, not Jinja"
            return
        if not re.fullmatch(r"[a-z][a-z0-9+.-]*://[!-~]*", text):
            yield "is not a URL", f"Write scheme://... without spaces: {example}"
            return
        names, fault = _names(text)
        if fault:
            yield fault
            return
        for name in dict.fromkeys(names):
            if name not in placeholders:
                yield (
                    f"has the unknown placeholder {{{shorten(name)}}}",
                    did_you_mean(name, placeholders, "placeholders"),
                )
        if _literal_password(text):
            yield "carries a password", "Write {password} in its place, and take the password out of every commit"
            return
        missing = [name for name in placeholders if name not in names]
        if missing:
            yield "lacks {}".format(", ".join("{" + name + "}" for name in missing)), f"Write {example}"

    return check


def _names(text: str) -> tuple[tuple[str, ...], Fault | None]:
    try:
        fields = [field for field in Formatter().parse(text) if field[1] is not None]
    except ValueError:
        return (), ("has an unbalanced brace", "Close every placeholder: {user}")
    if any(conversion or layout for _text, _name, layout, conversion in fields):
        return (), ("has a placeholder with a format", "Write the name alone: {user}")
    return tuple(str(field[1]) for field in fields), None


def _literal_password(text: str) -> bool:
    user, at, _rest = text.split("://", 1)[1].rpartition("@")
    _name, colon, password = user.partition(":")
    placeholder = "{password}"
    if at and colon and password != placeholder:
        return True
    return bool(re.search(r"[?&](?:password|passwd|passw|pwd|pass)=(?!\{password\}(?:&|$))", text))
