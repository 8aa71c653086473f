"""What runs on the hosts, seen from inside and from a neighbour."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import testinfra

testinfra_hosts = ["ansible://app1"]

PROJECT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
SCENARIO = PROJECT / "molecule/container_engine"
SECRET = "p$a"
ACCOUNT = "deploy:scenario-$pass'word"


@pytest.fixture(scope="module")
def registry():
    return testinfra.get_host("ansible://registry1", ansible_inventory=os.environ["MOLECULE_INVENTORY_FILE"])


@pytest.fixture
def address(host):
    return host.check_output("ip -4 -o address show eth0").split()[3].partition("/")[0]


def answer(host, url):
    """Status a host gets, 000 for none."""
    return host.run(
        f"curl --silent --insecure --max-time 3 --output /dev/null --write-out '%{{http_code}}' {url}"
    ).stdout


def limits(host, unit):
    show = f"systemctl show --property=TasksMax,LimitNOFILE,MemoryMax,Restart {unit}"
    return dict(line.split("=", 1) for line in host.check_output(show).splitlines())


def started_at(host):
    return host.check_output("docker inspect --format '{{.State.StartedAt}}' demo-blue")


def wait_for(host, url, status="200"):
    for _attempt in range(40):
        if answer(host, url) == status:
            return
        time.sleep(0.5)
    pytest.fail(f"{url} did not answer {status}")


def test_slot_answers_on_its_private_address_only(host, registry, address):
    assert answer(host, f"http://{address}:54000/health") == "200"
    assert answer(registry, f"http://{address}:54000/health") == "200"
    assert answer(host, "http://127.0.0.1:54000/health") == "000"


def test_a_neighbour_cannot_route_to_the_container(host, registry, address):
    network = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    container = host.check_output(f"docker inspect --format '{network}' demo-blue")
    registry.run(f"ip route replace {container}/32 via {address}")
    assert answer(registry, f"http://{container}:8080/health") == "000"
    assert answer(host, f"http://{container}:8080/health") == "200"


def test_container_is_hardened(host):
    found = json.loads(host.check_output("docker inspect demo-blue"))[0]
    config = found["HostConfig"]
    assert config["ReadonlyRootfs"]
    assert config["CapDrop"] == ["ALL"]
    assert "no-new-privileges:true" in config["SecurityOpt"]
    assert config["Init"]
    assert config["RestartPolicy"]["Name"] == "unless-stopped"
    assert config["LogConfig"]["Type"] == "journald"
    assert "@sha256:" in found["Config"]["Image"]


def test_the_app_sees_its_secret_and_nobody_else_does(host):
    assert SECRET in host.check_output(
        "cat $(docker inspect --format '/proc/{{.State.Pid}}/task/*/children' demo-blue)"
        " | xargs -n1 | while read p; do tr '\\0' '\\n' </proc/$p/environ; done"
    )
    assert SECRET not in host.check_output("docker inspect demo-blue")
    places = "/var/lib/docker/containers /var/lib/signalbox /etc /var/log"
    assert host.run(f"grep -rlF '{SECRET}' {places}").stdout == ""
    assert host.run(f"journalctl --quiet --no-pager | grep -cF '{SECRET}'").stdout.strip() == "0"
    assert host.file("/run/signalbox/apps").mode == 0o700


def test_output_is_in_the_journal(host):
    assert "started" in host.check_output("journalctl --quiet --no-pager --output cat CONTAINER_NAME=demo-blue")


def test_registry_refuses_strangers(registry):
    url = "https://registry1:5000/v2/"
    assert answer(registry, url) == "401"
    assert answer(registry, f"--user deploy:wrong {url}") == "401"
    assert answer(registry, "http://127.0.0.1:5000/v2/") == "000"
    assert registry.file("/etc/docker/registry/htpasswd").mode == 0o640


def test_limits_of_the_services(host, registry):
    """As systemd has them. The engine's are its own: containers are beside it."""
    gigabyte = 1024**3
    assert limits(host, "docker") == {
        "TasksMax": "8192",
        "LimitNOFILE": "1048576",
        "MemoryMax": str(2 * gigabyte),
        "Restart": "always",
    }
    assert "docker.service" not in host.check_output(
        "cat /proc/$(docker inspect --format '{{.State.Pid}}' demo-blue)/cgroup"
    )
    assert limits(registry, "docker-registry") == {
        "TasksMax": "1024",
        "LimitNOFILE": "65536",
        "MemoryMax": str(gigabyte),
        "Restart": "always",
    }
    assert registry.check_output("stat -c '%U %a' /run/docker-registry") == "docker-registry 700"
    assert limits(registry, "signalbox-registry-collection")["MemoryMax"] == str(gigabyte)


def test_a_killed_registry_comes_back(host, registry):
    before = registry.check_output("systemctl show -P MainPID docker-registry")
    registry.run_expect([0], f"kill -9 {before}")
    wait_for(host, "https://registry1:5000/v2/", "401")
    assert registry.check_output("systemctl show -P MainPID docker-registry") not in (before, "0")


def test_the_registry_serves_its_images_after_a_reboot(host, registry):
    subprocess.run(["docker", "restart", "--time", "20", "registry1"], check=True, capture_output=True)
    wait_for(host, "https://registry1:5000/v2/", "401")
    ask = "curl --silent --insecure --user %s https://registry1:5000/v2/demo/tags/list"
    assert sorted(json.loads(host.check_output(ask, ACCOUNT))["tags"]) == ["1.0.0", "1.1.0", "broken"]


RENEWED = """
cd /etc/signalbox/tls
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=registry1 -keyout new.key -out new.csr
openssl x509 -req -in new.csr -CA ca.crt -CAkey ca.key -days 30 -extfile extensions -out new.crt
chmod 0600 new.key
mv new.key registry.key
sleep %s
mv new.crt registry.crt
"""


def serial(host):
    ask = "openssl s_client -connect registry1:5000 </dev/null 2>/dev/null | openssl x509 -noout -serial"
    return host.run(ask).stdout


def test_a_renewed_certificate_costs_no_connection(host, registry):
    """Pulls go on, slow ones too, and no new one is refused; also where the key comes long before its certificate."""
    units = "systemctl show -P MainPID docker-registry signalbox-registry-tls"
    before = registry.check_output(units)
    results = []
    host.run("rm -f /run/pulling /run/pulled")
    command = ("printf '%%s' %s | python3 /var/tmp/pull.py", ACCOUNT)
    pulling = threading.Thread(target=lambda: results.append(host.run(*command)))
    pulling.start()
    try:
        assert host.run("timeout 30 sh -c 'until test -e /run/pulling; do sleep 0.2; done'").rc == 0
        for seconds in (0, 4):
            former = serial(host)
            registry.run_expect([0], RENEWED % seconds)
            for _attempt in range(40):
                if serial(host) != former:
                    break
                time.sleep(0.5)
            else:
                pytest.fail("the renewed certificate is not served")
    finally:
        host.run("touch /run/pulled")
        pulling.join()
    assert results[0].rc == 0, results[0].stderr
    found = json.loads(results[0].stdout)
    print(found)
    assert found["failures"] == []
    assert found["pulled"]
    assert min(found["new"], found["kept"]) > 50
    assert registry.check_output(units) == before


def test_who_was_refused_is_known_by_address(host, registry, address):
    answer(host, "--user deploy:wrong https://registry1:5000/v2/")
    said = registry.check_output("journalctl --unit docker-registry --output cat --no-pager --lines 20")
    assert address in said


def test_garbage_collection_ends_with_pushes_allowed(registry):
    registry.run_expect([0], "timeout 60 systemctl start signalbox-registry-collection.service")
    assert not registry.file("/run/signalbox-registry/read-only.env").exists
    assert registry.service("docker-registry").is_running


def test_pruning_keeps_what_a_container_uses(host):
    host.run_expect([0], "systemctl start signalbox-image-prune.service")
    assert host.run("docker inspect demo-blue").rc == 0
    image = host.check_output("docker inspect --format '{{.Image}}' demo-blue")
    assert host.run(f"docker image inspect {image}").rc == 0


def test_container_outlives_the_engines_restart(host, address):
    before = started_at(host)
    host.run_expect([0], "systemctl restart docker")
    assert started_at(host) == before
    assert answer(host, f"http://{address}:54000/health") == "200"


def test_wrong_things_are_refused_in_words():
    playbook = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", os.environ["MOLECULE_INVENTORY_FILE"]]
    result = subprocess.run([*playbook, str(SCENARIO / "negative.yml")], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-3000:]


def test_slot_comes_back_after_a_reboot_without_a_secret_store(host, address):
    subprocess.run(["docker", "restart", "--time", "20", "app1"], check=True, capture_output=True)
    wait_for(host, f"http://{address}:54000/health")
    assert host.service("signalbox-environment").is_running
    assert host.run("systemctl --failed --no-legend").stdout == ""
