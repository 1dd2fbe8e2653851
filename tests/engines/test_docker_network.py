# SPDX-License-Identifier: Apache-2.0
"""Docker's networks: it moves an interface into the namespace from a hook that the runtime runs."""
import pytest

from engines.engine import IMAGE, until


@pytest.fixture(scope="module")
def network(dockers, container_only):
    docker = dockers[container_only]
    done = docker("network", "create", "-d", "bridge", "--subnet", "10.231.77.0/24", "proa-test-net")
    if done.returncode != 0:
        pytest.skip(f"no bridge network can be made: {done.stderr.strip()}")
    yield docker
    docker("network", "rm", "proa-test-net")


def test_interface_and_addresses(network):
    done = network("run", "--rm", *network.options("proa-test-net"), "--ip", "10.231.77.9", IMAGE, "sh", "-c",
                   "ip -o -4 addr show eth0; ip route; cat /etc/hosts")
    assert "10.231.77.9/24" in done.stdout, done
    assert "default via 10.231.77.1 dev eth0" in done.stdout
    assert "10.231.77.9" in done.stdout.splitlines()[-1]


def test_none_has_only_loopback(network):
    out = network.run("sh", "-c", "ls /sys/class/net; ping -c 1 -w 5 127.0.0.1 >/dev/null && echo loopback works").stdout
    assert out.split() == ["lo", "loopback", "works"]


def test_two_containers_reach_each_other(network):
    server = network.detached("sh", "-c", "mkdir /www; echo served >/www/index.html; echo ready; exec httpd -f -p 80 -h /www",
                              opts=["--ip", "10.231.77.20"], network="proa-test-net")
    try:
        until(lambda: "ready" in network("logs", server).stdout, "it is ready")
        client = ["run", "--rm", *network.options("proa-test-net"), IMAGE]
        assert network(*client, "ping", "-c", "1", "-w", "10", "10.231.77.20").returncode == 0
        fetch = "until wget -q -O - http://10.231.77.20/; do usleep 100000; done"
        assert network(*client, "timeout", "20", "sh", "-c", fetch).stdout == "served\n"
    finally:
        network("rm", "-f", server)


def test_joined_network(network):
    server = network.detached("sleep", "1000", network="proa-test-net")
    try:
        mine = network("exec", server, "ip", "-o", "-4", "addr", "show", "eth0").stdout.split()[3]
        done = network("run", "--rm", *network.options(f"container:{server}"), IMAGE, "ip", "-o", "-4", "addr", "show", "eth0")
        assert done.stdout.split()[3] == mine
    finally:
        network("rm", "-f", server)


def test_connect_a_running_container(network):
    name = network.detached("sleep", "1000", network="proa-test-net")
    try:
        network("network", "disconnect", "proa-test-net", name, check=True)
        assert network("exec", name, "ls", "/sys/class/net").stdout.split() == ["lo"]
        network("network", "connect", "proa-test-net", name, check=True)
        assert "eth" in network("exec", name, "ls", "/sys/class/net").stdout
    finally:
        network("rm", "-f", name)
