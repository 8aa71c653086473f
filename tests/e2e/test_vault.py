"""Secrets in Vault as an operator lives with them: rotation under load, a Vault that is away, a search for leaks."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ansible_runner
import pytest
from conftest import CHECKOUT, live_version
from driver import DOMAIN, Driver
from secret_scan import in_files, in_text, known_secrets, on, places, readable_by_others
from test_life import PROTOCOLS, answers, eventually, no_failure, other_than, restart

STREAMS = ("--streams", "10", "--websockets", "10", "--stream-seconds", "20")
# Tries database and cache logins given as NAME=URL lines; says which of them still open. Runs in the app's own image.
TRY = """
import asyncio, os, sys, json
import asyncpg, redis.asyncio
async def opens(url):
    try:
        if url.startswith("postgres"):
            link = await asyncpg.connect(url.replace("+asyncpg", "").replace("?ssl=", "?sslmode="), timeout=5)
            await link.close()
        else:
            link = redis.asyncio.from_url(url, ssl_ca_certs=os.environ.get("SIGNALBOX_CA_FILE"))
            await link.ping()
            await link.aclose()
        return "opens"
    except Exception as error:
        return type(error).__name__ + ": " + str(error)[:120]
async def main():
    print(json.dumps({url.split("=", 1)[0]: await opens(url.split("=", 1)[1]) for url in sys.stdin.read().split()}))
asyncio.run(main())
"""


def logins(host: str) -> dict[str, str]:
    """Database and cache URLs that the slots of an app host run with."""
    found = {}
    for slot in ("blue", "green"):
        for line in on(host, "cat", f"/run/signalbox/apps/agent-api/{slot}.env", check=False).splitlines():
            name, _, value = line.partition("=")
            if name in ("DATABASE_URL", "REDIS_URL"):
                found[f"{slot}_{name}"] = value.strip("'")
    return found


def tried(host: str, urls: dict[str, str]) -> dict[str, str]:
    """What came of a login with each URL, from inside the live container."""
    slot = next(slot for slot in ("blue", "green") if running(host, slot))
    lines = "\n".join(f"{name}={url}" for name, url in urls.items())
    trusted = [
        part for name in ("SIGNALBOX_CA_FILE", "PGSSLROOTCERT") for part in ("-e", f"{name}=/etc/signalbox/ca.crt")
    ]
    command = ["docker", "exec", "-i", *trusted, f"agent-api-{slot}", "python3", "-c", TRY]
    return json.loads(on(host, *command, stdin=lines))


def running(host: str, slot: str) -> bool:
    return f"agent-api-{slot}" in on(host, "docker", "ps", "--format", "{{.Names}}").split()


@contextmanager
def vault_stopped() -> Iterator[None]:
    on("vault1", "systemctl", "stop", "signalbox-vault")
    try:
        yield
    finally:
        on("vault1", "systemctl", "start", "signalbox-vault")
        eventually(lambda: not sealed())


def sealed() -> bool:
    address = "https://127.0.0.1:8200/v1/sys/health?standbyok=true"
    return bool(json.loads(on("vault1", "curl", "-s", "--cacert", "/etc/signalbox/tls/ca.crt", address))["sealed"])


def status_with(driver: Driver, key: str) -> int:
    """What the edge answers to a request with the key."""
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", "@-", "-H", f"Host: {DOMAIN}"]
    url = f"http://{driver.addresses('edge')[0]}/api/v1/sessions"
    done = subprocess.run([*command, url], input=f"X-API-Key: {key}", capture_output=True, text=True, check=True)
    return int(done.stdout)


def registry_with(driver: Driver, password: str) -> int:
    """What the registry answers to the account of the hosts with the password."""
    address = driver.variables()["app1"]["signalbox_registry"]["address"]
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", "/etc/signalbox/tls/ca.crt"]
    return int(on("app1", *command, "-K", "-", f"https://{address}/v2/", stdin=f'user = "pull:{password}"'))


def test_clients_change_to_a_new_key_under_load_and_the_former_one_ends(driver: Driver, tmp_path: Path) -> None:
    driver.must("revoke", leaked="clients/previous")
    file, old = tmp_path / "keys", driver.api_key()
    file.write_text(old)
    with driver.load(*PROTOCOLS, *STREAMS, "--connections", "64", keys=file) as load:
        time.sleep(2)
        driver.must("rotate", credentials="clients")
        new = driver.api_key()
        assert new != old
        file.write_text(f"{old}\n{new}")
        time.sleep(3)
        assert (status_with(driver, old), status_with(driver, new)) == (200, 200)
        file.write_text(new)
        time.sleep(1)
        driver.must("revoke", leaked="clients/previous")
        assert (status_with(driver, old), status_with(driver, new)) == (401, 200)
        report = load.stop()
    no_failure(report)


@pytest.mark.parametrize(
    "task",
    [
        "Make it the current key",
        pytest.param("Accept the coming key", marks=pytest.mark.proof),
        pytest.param("Give the former key its end", marks=pytest.mark.proof),
    ],
)
def test_a_killed_rotation_of_clients_keys_is_finished_by_the_next(driver: Driver, task: str) -> None:
    driver.must("revoke", leaked="clients/previous")
    old = driver.api_key()
    run = driver.start("rotate", credentials="clients")
    assert run.stdout is not None
    assert any(task in line for line in run.stdout), f"the rotation never came to: {task}"
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert status_with(driver, old) == 200
    driver.must("rotate", credentials="clients")
    new = driver.api_key()
    assert new != old
    assert (status_with(driver, old), status_with(driver, new)) == (200, 200)


def test_rotating_everything_under_load_loses_nothing_and_refuses_the_old(driver: Driver) -> None:
    driver.must("revoke", leaked="clients/previous")
    old, key, password = logins("app1"), driver.api_key(), driver.secret("registry", "pull")
    assert set(old) == {f"{slot}_{name}" for slot in ("blue", "green") for name in ("DATABASE_URL", "REDIS_URL")}
    before = tried("app1", old)
    assert set(before.values()) == {"opens"}, before
    version = live_version(driver)
    with driver.load(*PROTOCOLS, *STREAMS, "--connections", "64", "--rate", "200") as load:
        time.sleep(3)
        everything = "slots,clients,registry,hosts,vault"
        took = driver.must("rotate", credentials=everything, both_slots=True, bake_seconds=3).seconds
        report = load.stop()
    no_failure(report)
    print(f"everything rotated in {took:.1f} s, {report['requests']} requests meanwhile")
    assert live_version(driver) == version
    assert driver.api_key() != key
    renewed = driver.secret("registry", "pull")
    assert (registry_with(driver, password), registry_with(driver, renewed)) == (401, 200)
    after = tried("app1", old)
    assert "opens" not in after.values(), after
    assert set(tried("app1", logins("app1")).values()) == {"opens"}


def test_a_killed_rotation_is_finished_by_the_next(driver: Driver) -> None:
    run = driver.start("rotate", bake_seconds=1)
    assert run.stdout is not None
    for line in run.stdout:
        if "Make the new password the current one" in line:
            os.killpg(run.pid, signal.SIGKILL)
            break
    else:
        raise AssertionError("the rotation never came to the cache")
    run.wait()
    assert answers(driver)
    driver.must("rotate", bake_seconds=1)
    assert answers(driver)
    live = {name: url for name, url in logins("app1").items() if running("app1", name.partition("_")[0])}
    assert set(tried("app1", live).values()) == {"opens"}


def test_without_vault_the_app_runs_on_and_a_release_stops_early(driver: Driver) -> None:
    driver.must("deploy", version=other_than(live_version(driver)), bake_seconds=1)
    version = live_version(driver)
    with driver.load(*PROTOCOLS, *STREAMS, "--connections", "64", "--rate", "150") as load:
        time.sleep(2)
        with vault_stopped():
            refused = driver.run("deploy", version=other_than(version))
            assert refused.code != 0
            assert "does not answer" in refused.last_screen
            assert "Remedy" in refused.last_screen
            assert live_version(driver) == version
            driver.must("rollback")
            driver.must("rollback", version=version)
        report = load.stop()
    no_failure(report)


def test_a_host_boots_and_serves_without_vault(driver: Driver) -> None:
    with vault_stopped():
        started = time.monotonic()
        restart("app1")
        eventually(lambda: on("app1", "curl", "-fsS", "-m", "3", f"http://127.0.0.1:{live_port(driver)}/health"))
        print(f"reboot to serving without Vault: {time.monotonic() - started:.1f} s")
    assert answers(driver)


def live_port(driver: Driver) -> int:
    slot = next(slot for slot in ("blue", "green") if running("app1", slot))
    return {"blue": 54000, "green": 54001}[slot]


def test_a_leaked_host_identity_is_revoked_with_all_that_it_could_read(driver: Driver) -> None:
    old, key = logins("app1"), driver.secret("agent-api", "API_KEY")
    identity = on("app1", "sha256sum", "/etc/credstore.encrypted/signalbox-vault-identity")
    output = driver.must("revoke", leaked="host/app1", bake_seconds=1).output
    assert "host-app1" in output, "the audit excerpt names who read"
    assert answers(driver)
    assert driver.secret("agent-api", "API_KEY") != key
    after = tried("app1", old)
    assert "opens" not in after.values(), after
    assert on("app1", "sha256sum", "/etc/credstore.encrypted/signalbox-vault-identity") != identity
    on("app1", "/usr/local/libexec/signalbox/host-vault", "check")


def test_what_has_not_leaked_is_refused_by_name(driver: Driver) -> None:
    refused = driver.run("revoke", leaked="databse")
    assert refused.code != 0
    assert "clients/current, clients/previous, secret/API_KEY" in " ".join(refused.last_screen.split())


@contextmanager
def caching(driver: Driver, folder: Path) -> Iterator[None]:
    """With a fact cache on the control node, as controllers have one."""
    settings = {"ANSIBLE_CACHE_PLUGIN": "ansible.builtin.jsonfile", "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(folder)}
    driver.environment.update(settings)
    try:
        yield
    finally:
        for name in settings:
            del driver.environment[name]


def as_a_controller_runs_it(driver: Driver, folder: Path, playbook: str, *arguments: str) -> None:
    """By ansible-runner, which keeps every event of the run as an artifact."""
    folder.mkdir(exist_ok=True)
    done = ansible_runner.run(
        private_data_dir=str(folder),
        project_dir=str(CHECKOUT),
        playbook=f"playbooks/{playbook}.yml",
        inventory=[str(inventory) for inventory in driver.inventories],
        cmdline=" ".join(arguments),
        envvars=driver.environment,
        verbosity=3,
        quiet=True,
    )
    assert done.rc == 0, done.stdout.read()[-3000:]


def test_no_secret_is_anywhere_but_in_vault_and_its_owners_memory(driver: Driver, tmp_path: Path) -> None:
    """Every host's files, deleted ones that are open, journals, processes and containers, and all that Ansible says."""
    values = known_secrets(driver)
    assert len(values) >= 10, sorted(values)
    driver.must("revoke", leaked="clients/previous")
    said = driver.must(
        "rotate", "-vvvv", "--diff", credentials="slots,clients,redis,registry,hosts,certificates,vault", bake_seconds=1
    ).output
    with caching(driver, tmp_path / "facts"):
        said += driver.must("site", "-vvvv", "--diff").output
    as_a_controller_runs_it(driver, tmp_path / "runner", "status")
    version = other_than(live_version(driver))
    as_a_controller_runs_it(driver, tmp_path / "runner", "deploy", "-e", "bake_seconds=1", "-e", f"version={version}")
    values.update({f"after {name}": value for name, value in known_secrets(driver).items()})
    assert not in_text(said, values)
    assert in_files(tmp_path, values) == []
    for host in driver.group("all"):
        assert places(host, values.values()) == [], host
        assert readable_by_others(host, values.values()) == [], host


# Each puts what it reads on standard input into one place and prints what to take away again.
SEEDS = {
    "a file": "umask 022; cat >/var/lib/leak; echo rm /var/lib/leak",
    "a file below a directory named as a mount": (
        "cd $(mktemp -d -p /var/lib leaks.XXX); mkdir dev proc; tee dev/leak >proc/leak; echo rm -r $PWD"
    ),
    "the journal": "systemd-cat -t leak; journalctl --sync; echo true",
    "arguments": "read value; (exec -a $value sleep 600) </dev/null >/dev/null 2>&1 & echo kill $!",
    "a deleted file that is open": (
        "(exec 9>/var/lib/gone; cat >&9; rm /var/lib/gone; exec sleep 600 <&-) >/dev/null 2>&1 <&0 & "
        "sleep 1; echo kill $!"
    ),
    "the engine": (
        "read value; image=$(docker images --quiet | head -n 1); "
        "docker create --quiet --name leak --env LEAK=$value $image >/dev/null; echo docker rm leak"
    ),
}
FOUND_AT = {
    "a file": r"/var/lib/leak",
    "a file below a directory named as a mount": r"/var/lib/leaks\.\w+/(dev|proc)/leak",
    "the journal": r"journal",
    "arguments": r"/proc/\d+/cmdline",
    "a deleted file that is open": r"/proc/\d+/fd/\d+ \(deleted\)",
    "the engine": r"docker-inspect",
}


@pytest.mark.parametrize("place", SEEDS)
def test_the_scan_finds_what_is_there(driver: Driver, place: str) -> None:
    """The control of every place that is searched: a secret put there is found."""
    value = f"canary-{secrets.token_hex(12)}"
    undo = on("app1", "bash", "-c", SEEDS[place], stdin=f"{value}\n").strip()
    try:
        found = places("app1", [value])
        assert [one for one in found if re.fullmatch(FOUND_AT[place], one)], found
        if place == "a file below a directory named as a mount":
            assert len(found) == 2, found
        if place == "a file":
            assert readable_by_others("app1", [value]) == ["/var/lib/leak"]
    finally:
        on("app1", "bash", "-c", undo)


def test_the_scan_knows_every_kind_of_secret(driver: Driver) -> None:
    names = " ".join(known_secrets(driver))
    wanted = ["DATABASE_URL", "REDIS_URL", "agent-api/client_key", "registry/push", "database owner", "/tls/vault.key"]
    wanted += [f"signalbox-vault-{one}" for one in ("identity secret_id", "provisioner secret_id", "seal-key")]
    if driver.group("backup"):
        wanted += ["backup/cipher", "signalbox-backup-cipher", "signalbox-state", "/tls/backup.key"]
    assert [one for one in wanted if one not in names] == []
