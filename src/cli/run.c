/* SPDX-License-Identifier: Apache-2.0 */
/* proa run */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cli/cli.h"
#include "cli/env.h"
#include "engine/engine.h"
#include "engine/relay.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/str.h"

struct run_flags {
	struct engine_run run;
	bool vm;
	const char *isolation, *cpus;
	char **env, **env_files, **security_opts;
};

static void run_flags_done(struct run_flags *f)
{
	struct plan_options *o = &f->run.plan;
	char **const lists[] = { o->tmpfs,	  o->volumes,	  o->mounts, o->cap_add,
				 o->cap_drop,	  o->ulimits,	  o->groups, o->env,
				 f->run.labels,	  f->run.devices, f->env,    f->env_files,
				 f->security_opts };

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		strv_free(lists[i]);
}

static int set_security(struct run_flags *f, struct err *err)
{
	for (char **v = f->security_opts; v && *v; v++) {
		if (!strcmp(*v, "no-new-privileges") || !strcmp(*v, "no-new-privileges=true") ||
		    !strcmp(*v, "no-new-privileges:true"))
			f->run.plan.no_new_privs = true;
		else if (!strcmp(*v, "no-new-privileges=false") ||
			 !strcmp(*v, "no-new-privileges:false"))
			f->run.plan.no_new_privs = false;
		else if (str_starts(*v, "seccomp=") || str_starts(*v, "seccomp:"))
			f->run.seccomp = *v + strlen("seccomp=");
		else
			return err_set(
				err, EOPNOTSUPP,
				"--security-opt %s: not available; known are no-new-privileges, "
				"seccomp=FILE and seccomp=unconfined",
				*v);
	}
	return 0;
}

static int set_isolation(struct run_flags *f, struct err *err)
{
	struct plan_options *o = &f->run.plan;

	if (f->isolation && strcmp(f->isolation, "container") != 0 &&
	    strcmp(f->isolation, "vm") != 0)
		return err_set(err, EINVAL, "--isolation takes container or vm, not \"%s\"",
			       f->isolation);
	if (f->vm && f->isolation && strcmp(f->isolation, "vm") != 0)
		return err_set(err, EINVAL, "--vm contradicts --isolation %s", f->isolation);
	o->isolation =
		f->vm || (f->isolation && !strcmp(f->isolation, "vm")) ? PLAN_VM : PLAN_CONTAINER;
	if (o->kernel && o->isolation != PLAN_VM)
		return err_set(err, EINVAL,
			       "--kernel needs --vm: a container runs on the kernel of this host");
	if (o->hypervisor && o->isolation != PLAN_VM)
		return err_set(err, EINVAL, "--hypervisor needs --vm");
	if (o->hypervisor && !strcmp(o->hypervisor, "auto"))
		o->hypervisor = NULL;
	return 0;
}

static int finish(struct run_flags *f, char **argv, struct err *err)
{
	struct plan_options *o = &f->run.plan;
	int r = set_isolation(f, err);

	if (r == 0)
		r = set_security(f, err);
	if (r == 0 && f->cpus)
		r = plan_parse_cpus(f->cpus, &o->cpus_nano, err);
	if (r == 0)
		r = cli_env(f->env_files, f->env, &o->env, err);
	if (r < 0)
		return r;
	if (o->pids_limit < -1)
		return err_set(err, EINVAL, "--pids-limit takes a number, or -1 for no limit");
	if (o->terminal && o->interactive && !isatty(STDIN_FILENO))
		return err_set(
			err, ENOTTY,
			"-t: standard input is not a terminal; leave -t out to use pipes or files");
	if (o->terminal)
		relay_terminal_size(&o->rows, &o->cols);
	f->run.image = argv[0];
	o->args = argv + 1;
	return 0;
}

int cmd_run(struct cli *cli, int argc, char **argv)
{
	struct run_flags f = { .run = { .stdout_fd = 1, .stderr_fd = 2 } };
	struct plan_options *o = &f.run.plan;
	const struct args_option options[] = {
		{ 0, "cap-add", ARGS_LIST, &o->cap_add, "CAP", "Add a capability" },
		{ 0, "cap-drop", ARGS_LIST, &o->cap_drop, "CAP", "Take a capability away" },
		{ 0, "cpus", ARGS_STRING, &f.cpus, "N", "Number of CPUs, such as 1.5" },
		{ 0, "cpuset-cpus", ARGS_STRING, &o->cpuset_cpus, "LIST",
		  "CPUs to run on (0-3, 0,1)" },
		{ 0, "device", ARGS_LIST, &f.run.devices, "HOST[:PATH[:rwm]]",
		  "Give a device of the host" },
		{ 0, "entrypoint", ARGS_STRING, &o->entrypoint, "CMD",
		  "Replace the image's entrypoint" },
		{ 'e', "env", ARGS_LIST, &f.env, "NAME[=VALUE]", "Set an environment variable" },
		{ 0, "env-file", ARGS_LIST, &f.env_files, "FILE",
		  "Read environment variables from a file" },
		{ 0, "group-add", ARGS_LIST, &o->groups, "GROUP", "Add a group to the user's" },
		{ 0, "hostname", ARGS_STRING, &o->hostname, "NAME", "Host name inside" },
		{ 0, "init", ARGS_FLAG, &o->init, NULL,
		  "Run the command under a process 1 that reaps and forwards signals" },
		{ 0, "hypervisor", ARGS_STRING, &o->hypervisor, "NAME",
		  "What runs the machine: auto (default), proa-vmm (on KVM), qemu, emulation" },
		{ 'i', "interactive", ARGS_FLAG, &o->interactive, NULL, "Pass standard input on" },
		{ 0, "isolation", ARGS_STRING, &f.isolation, "HOW",
		  "container (shares this kernel) or vm (own kernel)" },
		{ 0, "kernel", ARGS_STRING, &o->kernel, "NAME",
		  "Kernel of the machine (proa kernel ls)" },
		{ 'l', "label", ARGS_LIST, &f.run.labels, "KEY=VALUE", "Set a label" },
		{ 'm', "memory", ARGS_BYTES, &o->memory_bytes, "SIZE",
		  "Memory limit; the size of a machine's memory" },
		{ 0, "mount", ARGS_LIST, &o->mounts, "SPEC",
		  "type=bind,source=,target=[,readonly] or type=tmpfs,target=" },
		{ 0, "name", ARGS_STRING, &o->name, "NAME", "Name of the container or machine" },
		{ 0, "network", ARGS_STRING, &o->network, "NET", "none (default) or host" },
		{ 0, "net", ARGS_STRING, &o->network, "NET", "", NULL, true },
		{ 0, "pids-limit", ARGS_I64, &o->pids_limit, "N", "Most processes at a time" },
		{ 0, "probe", ARGS_STRING, &o->probe, "WHAT",
		  "Measure instead of running the command (for compare)", NULL, true },
		{ 0, "privileged", ARGS_FLAG, &o->privileged, NULL,
		  "All capabilities and devices, nothing hidden" },
		{ 0, "read-only", ARGS_FLAG, &o->read_only, NULL,
		  "Make the root file system read-only" },
		{ 0, "rm", ARGS_FLAG, &o->auto_remove, NULL, "Remove it when it ends" },
		{ 0, "security-opt", ARGS_LIST, &f.security_opts, "OPT",
		  "no-new-privileges, seccomp=FILE, seccomp=unconfined" },
		{ 0, "tmpfs", ARGS_LIST, &o->tmpfs, "PATH[:OPTS]",
		  "Mount a tmpfs (size=64m,mode=1777,exec)" },
		{ 't', "tty", ARGS_FLAG, &o->terminal, NULL, "Give it a terminal" },
		{ 0, "ulimit", ARGS_LIST, &o->ulimits, "NAME=SOFT[:HARD]", "Set a resource limit" },
		{ 'u', "user", ARGS_STRING, &o->user, "USER[:GROUP]",
		  "User and group, by name or number" },
		{ 0, "userns", ARGS_STRING, &o->userns, "HOW",
		  "auto (users of its own, mapped to unused ids of the host) or host" },
		{ 0, "vm", ARGS_FLAG, &f.vm, NULL, "Short for --isolation vm" },
		{ 'v', "volume", ARGS_LIST, &o->volumes, "HOST:PATH[:ro]",
		  "Mount a directory or file of the host" },
		{ 'w', "workdir", ARGS_STRING, &o->workdir, "PATH", "Working directory inside" },
		{ 0 },
	};
	const struct args_usage usage = {
		.name = "run",
		.synopsis = "[OPTIONS] IMAGE [COMMAND] [ARG...]",
		.summary = "Run a command from an image, as a container or as a virtual machine",
		.examples = "  proa run --rm debian:12 cat /etc/os-release\n"
			    "  proa run --rm --vm debian:12 uname -r\n"
			    "  proa run --rm -it -v $PWD:/src -w /src debian:12 bash\n",
		.options = options,
		.min_args = 1,
		.max_args = -1,
		.stop_at_first = true,
	};
	struct err err = ERR_INIT;
	struct store *s;
	int code = cli_parse(&usage, &argc, argv), r;

	if (code >= 0) {
		run_flags_done(&f);
		return code;
	}
	r = finish(&f, argv, &err);
	if (r == 0)
		r = cli_store(cli, &s, &err);
	if (r == 0)
		r = engine_run(s, &f.run, &code, &err);
	if (r < 0)
		code = cli_fail(&err);
	run_flags_done(&f);
	return code;
}
