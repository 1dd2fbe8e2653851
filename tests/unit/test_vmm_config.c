/* SPDX-License-Identifier: Apache-2.0 */
/* The command line, every option and what is wrong with it; and the filter of system calls. */
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/kvm.h>
#include "tap.h"
#include "util/err.h"
#include "util/mem.h"
#include "vmm/config.h"
#include "vmm/sandbox.h"

#define WORDS 32

static struct vmm_config c;
static struct err err;
static char text[WORDS * 64];

/* Words are separated by blanks; they stay until the next. */
static int parse(const char *words)
{
	char *argv[WORDS] = { (char *)(uintptr_t) "proa-vmm" };
	char *save = NULL;
	int argc = 1;

	config_done(&c);
	err = (struct err)ERR_INIT;
	snprintf(text, sizeof(text), "%s", words);
	for (char *w = strtok_r(text, " ", &save); w && argc < WORDS - 1;
	     w = strtok_r(NULL, " ", &save))
		argv[argc++] = w;
	return config_parse(argc, argv, &c, &err);
}

static void test_good(void)
{
	ok(parse("--kernel k") == 1 && c.cpus == 1 && c.memory_bytes == 256 << 20 && c.sandbox &&
		   !c.pci && c.boot == CONFIG_BOOT_AUTO && c.console == CONFIG_CONSOLE_SERIAL &&
		   c.control_fd == -1,
	   "what is not said");
	ok(parse("-k k -i i -a a -m 1g -c 4 -v") == 1 && c.memory_bytes == 1 << 30 && c.cpus == 4 &&
		   c.verbose,
	   "short options");
	ok_str(c.initrd, "i", "an initrd");
	ok_str(c.cmdline, "a", "a command line");
	ok(parse("--kernel=k --memory=16777217 --cpus=64") == 1 &&
		   c.memory_bytes == (16 << 20) + 4096 && c.cpus == 64,
	   "whole pages");
	ok(parse("-k k --disk path=a,ro --disk path=b,serial=s,cache=unsafe --disk "
		 "path=c,cache=writeback") == 1 &&
		   c.disk_count == 3 && c.disks[0].read_only && !c.disks[1].read_only &&
		   c.disks[1].unsafe_cache && !c.disks[2].unsafe_cache,
	   "disks");
	ok_str(c.disks[1].serial, "s", "with a serial number");
	ok_int(parse("-k k --disk path=a,,b,,,ro"), 1, "commas in a path");
	ok_str(c.disks[0].path, "a,b,", "are written twice");
	ok(c.disks[0].read_only, "and others end it");
	ok(parse("-k k --net tap=t,mac=02:00:00:aB:cd:ef,mtu=9000,queues=2 --net tapfd=0,tapfd=1 "
		 "--net stream=/s --net streamfd=0") == 1 &&
		   c.net_count == 4 && c.nets[0].queues == 2 && c.nets[0].mtu == 9000 &&
		   c.nets[0].has_mac && c.nets[0].mac[3] == 0xab && c.nets[1].tap_count == 2 &&
		   c.nets[1].tap_fds[1] == 1 && c.nets[2].is_stream && c.nets[3].stream.fd == 0,
	   "networks of all kinds");
	ok(parse("-k k --fs tag=t,socket=/s,queues=8 --fs tag=u,fd=0") == 1 && c.fs_count == 2 &&
		   c.fs[0].queues == 8 && c.fs[0].socket.fd == -1 && c.fs[1].queues == 1 &&
		   c.fs[1].socket.fd == 0,
	   "file servers");
	ok(parse("-k k --port name=n,socket=/s --port name=m,fd=0") == 1 && c.port_count == 2,
	   "ports");
	ok(parse("-k k --vsock cid=3,socket=/s") == 1 && c.vsock_cid == 3, "vsock");
	ok(parse("-k k --rng --balloon --no-sandbox --cgroup /x --control /c") == 1 && c.rng &&
		   c.balloon && !c.sandbox && c.cgroup && c.control_path,
	   "what needs no words");
	ok(parse("-k k --control fd=0 --console virtio --transport pci --boot linux") == 1 &&
		   c.control_fd == 0 && c.console == CONFIG_CONSOLE_VIRTIO && c.pci &&
		   c.boot == CONFIG_BOOT_LINUX,
	   "one of a few");
	ok(parse("-k k --console none --transport mmio --boot pvh") == 1 &&
		   c.console == CONFIG_CONSOLE_NONE && !c.pci && c.boot == CONFIG_BOOT_PVH,
	   "and others");
}

static void bad(const char *words, const char *want)
{
	int r = parse(words);

	ok(r < 0 && strstr(err.msg, want), "%s: %s", words, err.msg);
}

static void test_bad(void)
{
	static const char *const cases[][2] = {
		{ "", "--kernel is needed" },
		{ "--kernel", "kernel" },
		{ "--nonsense", "nonsense" },
		{ "-k k extra", "proa-vmm takes 0 arguments: proa-vmm --kernel" },
		{ "-k k --cpus 0", "--cpus must be between 1 and 64" },
		{ "-k k --cpus 65", "--cpus must be between 1 and 64" },
		{ "-k k --cpus many", "many" },
		{ "-k k --memory lots", "lots" },
		{ "-k k --memory -1", "-1" },
		{ "-k k --disk ro", "--disk needs path=FILE" },
		{ "-k k --disk path=", "--disk needs path=FILE" },
		{ "-k k --disk path=a,color=red", "--disk has no part \"color\"" },
		{ "-k k --disk path=a,ro=1", "--disk has no part \"ro\"" },
		{ "-k k --disk path=a,cache=fast", "cache is \"writeback\" or \"unsafe\"" },
		{ "-k k --disk path=a,", "--disk has no part \"\"" },
		{ "-k k --net mtu=1500", "--net needs one of" },
		{ "-k k --net tap=t,stream=s", "--net needs one of" },
		{ "-k k --net tap=t,mac=1:2:3:4:5:6", "not a MAC address" },
		{ "-k k --net tap=t,mac=02:00:00:00:00:0g", "not a MAC address" },
		{ "-k k --net tap=t,mac=02:00:00:00:00:+1", "not a MAC address" },
		{ "-k k --net tap=t,mac=02:00:00:00:00:00:", "not a MAC address" },
		{ "-k k --net tap=t,mac=01:00:00:00:00:00", "multicast" },
		{ "-k k --net tap=t,mtu=67", "mtu must be a number between 68 and 65521" },
		{ "-k k --net tap=t,queues=9", "queues must be a number between 1 and 8" },
		{ "-k k --net stream=s,queues=2", "a stream has one queue" },
		{ "-k k --net tapfd=999", "not an open descriptor" },
		{ "-k k --net tapfd=-1", "not an open descriptor" },
		{ "-k k --net tapfd=0,tapfd=0,tapfd=0,tapfd=0,tapfd=0,tapfd=0,tapfd=0,tapfd=0,"
		  "tapfd=0",
		  "at most 8 queues" },
		{ "-k k --fs socket=/s", "--fs needs tag=NAME" },
		{ "-k k --fs tag=0123456789012345678901234567890123456,fd=0", "--fs needs tag" },
		{ "-k k --fs tag=t,queues=0", "queues must be a number between 1 and 8" },
		{ "-k k --fs tag=t,fd=x", "\"x\" is not an open descriptor" },
		{ "-k k --port socket=/s", "--port needs name=NAME" },
		{ "-k k --port name=0123456789012345678901234567890123456789",
		  "--port needs name" },
		{ "-k k --vsock cid=2,socket=/s", "cid must be a number between 3 and" },
		{ "-k k --vsock cid=4294967295,socket=/s", "cid must be a number" },
		{ "-k k --vsock cid=3", "--vsock needs cid=N and socket=PATH" },
		{ "-k k --vsock socket=/s", "--vsock needs cid=N and socket=PATH" },
		{ "-k k --console hvc0", "--console is one of: serial, virtio, none" },
		{ "-k k --transport isa", "--transport is one of: mmio, pci" },
		{ "-k k --boot bios", "--boot is one of: auto, pvh, linux" },
		{ "-k k --control fd=77", "not an open descriptor" },
		{ "-k k --config 77", "read the configuration from descriptor 77" },
	};
	static const struct {
		const char *option;
		unsigned max;
	} many[] = { { " --disk path=a", 8 },
		     { " --net tap=t", 4 },
		     { " --fs tag=t,fd=0", 4 },
		     { " --port name=n,fd=0", 8 } };
	char words[512], want[64];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		bad(cases[i][0], cases[i][1]);
	for (size_t i = 0; i < ARRAY_SIZE(many); i++) {
		snprintf(words, sizeof(words), "-k k");
		for (unsigned n = 0; n <= many[i].max; n++)
			strcat(words, many[i].option);
		snprintf(want, sizeof(want), "at most %u times --", many[i].max);
		bad(words, want);
	}
}

static int parse_fd(const char *words, size_t n)
{
	char option[32];
	int fds[2];

	if (pipe(fds) < 0 || (n && write(fds[1], words, n) != (ssize_t)n))
		abort();
	close(fds[1]);
	snprintf(option, sizeof(option), "--config %d", fds[0]);
	n = (size_t)parse(option);
	/* it was closed, unless it was not good */
	close(fds[0]);
	return (int)n;
}

static void test_words(void)
{
#define W(s) s, sizeof(s)
	ok_int(parse_fd(W("--kernel\0a path\0--cpus\0"
			  "2")),
	       1, "words from a descriptor");
	ok_str(c.kernel, "a path", "may have blanks");
	ok_int(c.cpus, 2, "and are options like others");
	ok(parse_fd("", 0) < 0 && strstr(err.msg, "is empty"), "none: %s", err.msg);
	ok(parse_fd("--kernel", 8) < 0 && strstr(err.msg, "end with a NUL"), "no end: %s", err.msg);
	ok(parse_fd(W("--kernel\0k\0--config\0"
		      "0")) < 0 &&
		   strstr(err.msg, "--config in a configuration"),
	   "words that lead to words: %s", err.msg);
	ok(parse_fd(W("--cpus\0"
		      "2")) < 0,
	   "not enough: %s", err.msg);
#undef W
}

static void test_channel(void)
{
	struct config_channel none = { .fd = -1 }, lost = { .fd = -1, .path = "/nowhere/s" };
	char longer[200];
	struct config_channel far = { .fd = -1, .path = longer };

	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = 0;
	err = (struct err)ERR_INIT;
	ok(config_channel_open(&none, "n", &err) < 0 && strstr(err.msg, "needs fd=N or socket"),
	   "no channel: %s", err.msg);
	err = (struct err)ERR_INIT;
	ok(config_channel_open(&lost, "n", &err) < 0 && strstr(err.msg, "/nowhere/s"),
	   "no socket: %s", err.msg);
	err = (struct err)ERR_INIT;
	ok(config_channel_open(&far, "n", &err) < 0 && strstr(err.msg, "too long"),
	   "no such path: too long");
}

/* ---- the filter ----------------------------------------------------------------------------- */

/* A child behind a filter makes one call: 0 when it lived on, else the signal that ended it. */
static int behind(int (*filter)(void), long call, long a, long b, long d)
{
	pid_t pid;
	int status;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
		if (filter() < 0)
			syscall(SYS_exit_group, 77);
		syscall(call, a, b, d, 0, 0, 0);
		syscall(SYS_exit_group, 0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		abort();
	return WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
}

static void test_filter(void)
{
	ok_int(behind(sandbox_filter_main, SYS_read, -1, 0, 0), 0, "the main thread may read");
	ok_int(behind(sandbox_filter_main, SYS_epoll_wait, -1, 0, 0), 0, "and wait");
	ok_int(behind(sandbox_filter_main, SYS_openat, AT_FDCWD, (long)"/", 0), SIGSYS,
	       "but open nothing");
	ok_int(behind(sandbox_filter_main, SYS_execve, (long)"/bin/true", 0, 0), SIGSYS,
	       "nor become another");
	ok_int(behind(sandbox_filter_main, SYS_ptrace, 0, 0, 0), SIGSYS, "nor look at others");
	ok_int(behind(sandbox_filter_main, SYS_kill, 1, 0, 0), SIGSYS, "nor signal them");
	ok_int(behind(sandbox_filter_vcpu, SYS_ioctl, -1, KVM_RUN, 0), 0, "a processor may run");
	ok_int(behind(sandbox_filter_vcpu, SYS_ioctl, -1, KVM_IOEVENTFD, 0), 0,
	       "and do what its devices do");
	ok_int(behind(sandbox_filter_vcpu, SYS_ioctl, -1, KVM_CREATE_VM, 0), SIGSYS,
	       "but make no machine");
	ok_int(behind(sandbox_filter_vcpu, SYS_ioctl, -1, 0x5412 /* TIOCSTI */, 0), SIGSYS,
	       "nor type for others");
	ok_int(behind(sandbox_filter_vcpu, SYS_epoll_wait, -1, 0, 0), SIGSYS,
	       "nor wait as the main thread does");
	ok_int(behind(sandbox_filter_vcpu, SYS_socket, AF_UNIX, -1, -1), 0, "a device may connect");
	ok_int(behind(sandbox_filter_vcpu, SYS_socket, AF_INET, 0, 0), SIGSYS,
	       "to Unix sockets only");
	ok_int(behind(sandbox_filter_vcpu, SYS_mmap, 0, 4096, PROT_READ), 0, "and map memory");
	ok_int(behind(sandbox_filter_vcpu, SYS_mmap, 0, 4096, PROT_EXEC), SIGSYS,
	       "but none to execute");
	ok_int(behind(sandbox_filter_vcpu, SYS_mount, 0, 0, 0), SIGSYS, "nothing may mount");
	ok_int(behind(sandbox_filter_vcpu, 0x40000000 | SYS_read, -1, 0, 0), SIGSYS,
	       "nor use the calls of x32");
}

int main(void)
{
	test_good();
	test_bad();
	test_words();
	test_channel();
	test_filter();
	config_done(&c);
	return tap_done();
}
