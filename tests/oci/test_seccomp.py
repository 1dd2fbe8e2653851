# SPDX-License-Identifier: Apache-2.0
"""linux.seccomp: actions, error numbers, conditions, flags, and notification of a listener."""
import array
import errno
import fcntl
import json
import os
import platform
import socket
import struct
import subprocess

import pytest

from oci.bundle import refused

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="system call numbers of x86_64 are used")
ARCHES = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]


def profile(*syscalls, default="SCMP_ACT_ALLOW", **fields):
    return {"defaultAction": default, "architectures": ARCHES, "syscalls": list(syscalls), **fields}


def rule(names, action, **fields):
    return {"names": names if isinstance(names, list) else [names], "action": action, **fields}


MKDIR = ["mkdir", "mkdirat"]


def test_errno(bundle):
    """Both kinds: without a number EPERM, else the number; other calls are not touched."""
    bundle.linux["seccomp"] = profile(rule(MKDIR, "SCMP_ACT_ERRNO"), rule(["symlink", "symlinkat"], "SCMP_ACT_ERRNO", errnoRet=28))
    out = bundle.out("mkdir /x 2>&1; ln -s a /b 2>&1; touch /c && echo fine; grep Seccomp: /proc/self/status")
    assert "Operation not permitted" in out and "No space left on device" in out
    assert "fine" in out and out.split()[-2:] == ["Seccomp:", "2"]
    bundle.idle()
    assert "Operation not permitted" in bundle.exec("mkdir", "/x").stderr


def test_default_errno(box):
    allowed = rule(sorted(set("""read write open openat close fstat stat lstat newfstatat mmap mprotect munmap brk rt_sigaction
        rt_sigprocmask rt_sigreturn ioctl access faccessat execve exit exit_group arch_prctl set_tid_address set_robust_list
        getuid geteuid getgid getegid getpid getppid prlimit64 readlink readlinkat getrandom uname fcntl dup2 wait4 clone
        fork vfork futex capget capset prctl setgid setuid setgroups chdir fchdir fstatfs statfs getdents64 rseq epoll_ctl
        epoll_pwait epoll_create1 pipe2 nanosleep sched_yield sched_getaffinity gettid tgkill sigaltstack pread64 lseek
        poll fchown fchmod umask getcwd personality close_range execveat writev sendmsg recvmsg sendto recvfrom ppoll
        fsopen fsconfig fsmount move_mount seccomp statx time""".split())), "SCMP_ACT_ALLOW")
    box.linux["seccomp"] = profile(allowed, default="SCMP_ACT_ERRNO", defaultErrnoRet=38)
    done = box.sh("hostname x; echo here").run()
    assert "Function not implemented" in done.stderr and done.stdout == "here\n", done


@pytest.mark.parametrize("action, code", [("SCMP_ACT_KILL", 159), ("SCMP_ACT_KILL_PROCESS", 159), ("SCMP_ACT_TRAP", 159)])
def test_actions_that_end_it(box, action, code):
    box.linux["seccomp"] = profile(rule(MKDIR, action))
    done = box.sh("mkdir /x; echo $?").run()
    assert done.stdout.strip() == str(code), done


@pytest.mark.parametrize("action", ["SCMP_ACT_LOG", "SCMP_ACT_ALLOW"])
def test_actions_that_let_it_go(box, action):
    box.linux["seccomp"] = profile(rule(MKDIR, action))
    assert box.out("mkdir /x && echo made") == "made\n"


@pytest.mark.parametrize("op, value, value_two, denied", [
    ("SCMP_CMP_EQ", 0o700, 0, True), ("SCMP_CMP_EQ", 0o701, 0, False), ("SCMP_CMP_NE", 0o701, 0, True),
    ("SCMP_CMP_LT", 0o701, 0, True), ("SCMP_CMP_LE", 0o700, 0, True), ("SCMP_CMP_GE", 0o700, 0, True),
    ("SCMP_CMP_GT", 0o700, 0, False), ("SCMP_CMP_MASKED_EQ", 0o700, 0o500 | 0o200, True),
    ("SCMP_CMP_MASKED_EQ", 0o070, 0o010, False)])
def test_conditions(box, op, value, value_two, denied):
    """The mode of chmod is compared: its second argument, the third of fchmodat."""
    def condition(index):
        return [{"index": index, "value": value, "valueTwo": value_two, "op": op}]

    box.linux["seccomp"] = profile(rule("chmod", "SCMP_ACT_ERRNO", args=condition(1)),
                                   rule("fchmodat", "SCMP_ACT_ERRNO", args=condition(2)))
    out = box.out("touch /x; chmod 700 /x 2>&1 && echo changed; true")
    assert ("changed" not in out) == denied, out


def test_two_conditions_on_one_argument_are_alternatives(box):
    """Of several on the same argument one has to hold; libseccomp itself cannot express that in one rule."""
    def conditions(index):
        return [{"index": index, "value": v, "op": "SCMP_CMP_EQ"} for v in (0o700, 0o711)]

    box.linux["seccomp"] = profile(rule("chmod", "SCMP_ACT_ERRNO", args=conditions(1)),
                                   rule("fchmodat", "SCMP_ACT_ERRNO", args=conditions(2)))
    out = box.out("touch /x; for m in 700 711 722; do chmod $m /x 2>/dev/null && echo $m; done; true")
    assert out.split() == ["722"]


def test_unknown_system_calls_are_ignored(box):
    box.linux["seccomp"] = profile(rule(["no_such_call", "mkdir", "mkdirat"], "SCMP_ACT_ERRNO"))
    assert box.sh("mkdir /x").run().returncode != 0


@pytest.mark.parametrize("flags", [[], ["SECCOMP_FILTER_FLAG_LOG"], ["SECCOMP_FILTER_FLAG_TSYNC"],
                                   ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"],
                                   ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]])
def test_flags(box, flags):
    if flags:
        box.runtime.needs("seccomp-flags")
    box.linux["seccomp"] = profile(rule(MKDIR, "SCMP_ACT_ERRNO"), flags=flags)
    assert "Operation not permitted" in box.sh("mkdir /x").run().stderr


@pytest.mark.parametrize("change, words", [
    (dict(defaultAction="SCMP_ACT_BOGUS"), ["SCMP_ACT_BOGUS"]),
    (dict(architectures=["SCMP_ARCH_BOGUS"]), ["SCMP_ARCH_BOGUS"]),
    (dict(syscalls=[rule(MKDIR, "SCMP_ACT_BOGUS")]), ["SCMP_ACT_BOGUS"]),
    (dict(syscalls=[rule(MKDIR, "SCMP_ACT_ERRNO", args=[{"index": 0, "value": 1, "op": "SCMP_CMP_BOGUS"}])]), ["SCMP_CMP_BOGUS"]),
    (dict(syscalls=[rule(MKDIR, "SCMP_ACT_ERRNO", args=[{"index": 9, "value": 1, "op": "SCMP_CMP_EQ"}])]), []),
    (dict(defaultAction="SCMP_ACT_NOTIFY"), []),
])
def test_bad_profiles(box, change, words):
    box.linux["seccomp"] = {**profile(rule(MKDIR, "SCMP_ACT_ERRNO")), **change}
    refused(box.create(check=False), *words)


def test_without_no_new_privileges(box):
    """Then it has to be loaded before the capabilities are gone; an ordinary user has it as well."""
    box.process.update(noNewPrivileges=False, user={"uid": 1000, "gid": 1000})
    box.capabilities()
    box.linux["seccomp"] = profile(rule(MKDIR, "SCMP_ACT_ERRNO", errnoRet=28))
    out = box.out("mkdir /tmp/x 2>&1; grep -E 'NoNewPrivs|Seccomp:' /proc/self/status").split()
    assert out[-4:] == ["NoNewPrivs:", "0", "Seccomp:", "2"] and "space" in out


def test_setting_up_is_not_in_its_way(box):
    """A profile that forbids what only the runtime's own last steps need does not stop it."""
    box.process["user"] = {"uid": 1000, "gid": 1000, "additionalGids": [5]}
    box.linux["seccomp"] = profile(rule(["mount", "umount2", "pivot_root", "setns", "unshare", "chroot", "sethostname"], "SCMP_ACT_ERRNO"))
    assert box.out("id -u") == "1000\n"


def test_32_bit_calls_are_filtered(box):
    """int 0x80 must not be a way round; musl-gcc makes 64-bit programs only, so the code is assembled here."""
    source = box.path / "x.c"
    source.write_text('#include <stdio.h>\nint main(void) { long r; char p[] = "/made"; (void)p;\n'
                      'char *low = (char *)0x10000;\n'
                      '__asm__ volatile("int $0x80" : "=a"(r) : "a"(20L) : "memory"); (void)low;\n'
                      'printf("%ld\\n", r); }\n')
    subprocess.run(["musl-gcc", "-static", "-o", box.rootfs / "bin/x32", source], check=True)
    box.linux["seccomp"] = profile(rule("getpid", "SCMP_ACT_ERRNO", errnoRet=99))
    assert int(box.out("x32")) in (-99, -errno.ENOSYS)


# ---- notification ----------------------------------------------------------------------------------------

SECCOMP_IOCTL_NOTIF_RECV = 0xC0502100
SECCOMP_IOCTL_NOTIF_SEND = 0xC0182101


def answer(fd, error):
    """Waits for one notification and answers it with @error; (pid, system call number)."""
    request = array.array("B", bytes(80))
    fcntl.ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, request, True)
    ident, pid, _, number = struct.unpack_from("QIIi", request)
    response = array.array("B", struct.pack("QqiI", ident, 0, -error, 0))
    fcntl.ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, response, True)
    return pid, number


class Listener:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(str(path))
        self.socket.listen(4)
        self.socket.settimeout(60)

    def accept(self):
        """(descriptor, container process state)"""
        connection, _ = self.socket.accept()
        with connection:
            connection.settimeout(60)
            text, fds, _, _ = socket.recv_fds(connection, 65536, 4)
            while text.count(b"{") != text.count(b"}"):
                more = connection.recv(65536)
                assert more, text
                text += more
        return fds, json.loads(text)


@pytest.fixture
def listener(oci_dir):
    path = oci_dir / "notify"
    one = Listener(path)
    one.path = path
    yield one
    one.socket.close()
    os.unlink(path)


def test_notification(box, listener):
    box.config["annotations"] = {"org.example": "yes"}
    box.linux["seccomp"] = profile(rule(MKDIR, "SCMP_ACT_NOTIFY"), listenerPath=str(listener.path), listenerMetadata="the metadata")
    box.sh("mkdir /x; echo $?; mkdir /y 2>&1; echo done")
    box.create()
    box.start()
    fds, state = listener.accept()
    assert len(fds) == 1
    try:
        assert state["fds"] == ["seccompFd"] and state["metadata"] == "the metadata"
        assert state["ociVersion"] and state["pid"] > 0
        assert state["state"]["id"] == box.id and state["state"]["bundle"] == str(box.path)
        assert state["state"]["annotations"] == {"org.example": "yes"}
        assert state["state"]["status"] in ("creating", "created", "running")
        pid, number = answer(fds[0], errno.ENOSPC)
        assert number == 83 and pid > 0
        answer(fds[0], errno.EROFS)
    finally:
        os.close(fds[0])
    box.expect("done")
    assert b"Read-only file system" in box.output


def test_notification_of_exec(box, listener):
    box.linux["seccomp"] = profile(rule(MKDIR, "SCMP_ACT_NOTIFY"), listenerPath=str(listener.path))
    box.idle()
    first, _ = listener.accept()
    child = box.runtime.popen("exec", box.id, "mkdir", "/x", stderr=-1)
    try:
        fds, state = listener.accept()
        assert state["state"]["id"] == box.id
        answer(fds[0], errno.ENOSPC)
        assert b"No space left" in child.communicate(timeout=60)[1]
        os.close(fds[0])
    finally:
        child.kill()
        child.wait()
        os.close(first[0])


def test_notification_without_a_listener(box):
    box.linux["seccomp"] = profile(rule(MKDIR, "SCMP_ACT_NOTIFY"), listenerPath=str(box.path / "absent.sock"))
    refused(box.create(check=False), "absent.sock")
    assert box.status == "gone"


@pytest.mark.parametrize("call", ["sendmsg"])
def test_what_cannot_be_notified_of(box, listener, call):
    """The runtime itself could not hand the notifications over (runc has write in the place of sendmsg)."""
    box.runtime.needs("seccomp-flags")
    box.linux["seccomp"] = profile(rule(call, "SCMP_ACT_NOTIFY"), listenerPath=str(listener.path))
    refused(box.create(check=False), call)
