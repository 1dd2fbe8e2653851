# SPDX-License-Identifier: Apache-2.0
"""Docker's networks: it moves an interface into the namespace from a hook that the runtime runs."""
import os

import pytest

from engines.engine import IMAGE, until

SUBNET = f"10.231.{os.getpid() % 250}"
NETWORK = f"proa-test-{os.getpid()}"


@pytest.fixture(scope="module")
def network(dockers, container_only):
    docker = dockers[container_only]
    done = docker("network", "create", "-d", "bridge", "--subnet", f"{SUBNET}.0/24", NETWORK)
    if done.returncode != 0:
        pytest.skip(f"no bridge network can be made: {done.stderr.strip()}")
    yield docker
    docker("network", "rm", NETWORK)


def test_interface_and_addresses(network):
    done = network("run", "--rm", *network.options(NETWORK), "--ip", f"{SUBNET}.9", IMAGE, "sh", "-c",
                   "ip -o -4 addr show eth0; ip route; cat /etc/hosts")
    assert f"{SUBNET}.9/24" in done.stdout, done
    assert f"default via {SUBNET}.1 dev eth0" in done.stdout
    assert f"{SUBNET}.9" in done.stdout.splitlines()[-1]


def test_none_has_only_loopback(network):
    out = network.run("sh", "-c", "ls /sys/class/net; ping -c 1 -w 5 127.0.0.1 >/dev/null && echo loopback works").stdout
    assert out.split() == ["lo", "loopback", "works"]


def test_two_containers_reach_each_other(network):
    server = network.detached("sh", "-c", "mkdir /www; echo served >/www/index.html; echo ready; exec httpd -f -p 80 -h /www",
                              opts=["--ip", f"{SUBNET}.20"], network=NETWORK)
    try:
        until(lambda: "ready" in network("logs", server).stdout, "it is ready")
        client = ["run", "--rm", *network.options(NETWORK), IMAGE]
        assert network(*client, "ping", "-c", "1", "-w", "10", f"{SUBNET}.20").returncode == 0
        fetch = f"until wget -q -O - http://{SUBNET}.20/; do usleep 100000; done"
        assert network(*client, "timeout", "20", "sh", "-c", fetch).stdout == "served\n"
    finally:
        network("rm", "-f", server)


def test_joined_network(network):
    server = network.detached("sleep", "1000", network=NETWORK)
    try:
        mine = network("exec", server, "ip", "-o", "-4", "addr", "show", "eth0").stdout.split()[3]
        done = network("run", "--rm", *network.options(f"container:{server}"), IMAGE, "ip", "-o", "-4", "addr", "show", "eth0")
        assert done.stdout.split()[3] == mine
    finally:
        network("rm", "-f", server)


def test_connect_a_running_container(network):
    name = network.detached("sleep", "1000", network=NETWORK)
    try:
        network("network", "disconnect", NETWORK, name, check=True)
        assert network("exec", name, "ls", "/sys/class/net").stdout.split() == ["lo"]
        network("network", "connect", NETWORK, name, check=True)
        assert "eth" in network("exec", name, "ls", "/sys/class/net").stdout
    finally:
        network("rm", "-f", name)
