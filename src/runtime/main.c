/* SPDX-License-Identifier: Apache-2.0 */
/* proa-oci: global options, and which verb it is. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "runtime/config.h"
#include "runtime/runtime.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/str.h"

#define PROGRAM "proa-oci"

static const struct verb {
	const char *name;
	int (*run)(struct runtime *rt, int argc, char **argv);
	const char *summary;
} verbs[] = {
	{ "checkpoint", verb_checkpoint, "Save the state of a running container (CRIU)" },
	{ "create", verb_create, "Create a container; its process waits for start" },
	{ "delete", verb_delete, "Delete a container and what it held" },
	{ "events", verb_events, "Show resource use and out-of-memory events" },
	{ "exec", verb_exec, "Run a further process in a container" },
	{ "features", verb_features, "Show what of the runtime-spec is supported" },
	{ "kill", verb_kill, "Send a signal to a container" },
	{ "list", verb_list, "List containers" },
	{ "pause", verb_pause, "Suspend all processes of a container" },
	{ "ps", verb_ps, "List the processes of a container" },
	{ "restore", verb_restore, "Go on from a checkpoint (CRIU)" },
	{ "resume", verb_resume, "Let paused processes go on" },
	{ "run", verb_run, "Create and start a container" },
	{ "spec", verb_spec, "Write a config.json to begin with" },
	{ "start", verb_start, "Start the process of a created container" },
	{ "state", verb_state, "Show the state of a container" },
	{ "update", verb_update, "Change the resource limits of a container" },
};

static void print_help(void)
{
	printf("Usage:  " PROGRAM " [OPTIONS] COMMAND\n\n"
	       "An OCI runtime: runs bundles as containers, or as virtual machines when the "
	       "bundle\n"
	       "says so (vm, annotation run.oci.handler=vm) or it is called as proa-oci-vm.\n\n"
	       "Commands:\n");
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		printf("  %-12s %s\n", verbs[i].name, verbs[i].summary);
	printf("\nOptions:\n"
	       "      --root DIR              Where state is kept\n"
	       "      --log FILE              Write messages to FILE as well\n"
	       "      --log-format FORMAT     text or json\n"
	       "      --debug                 Say more\n"
	       "      --systemd-cgroup        Let systemd make the cgroup\n"
	       "      --cgroup-manager NAME   cgroupfs, systemd or disabled\n"
	       "      --rootless WHEN         auto, true or false\n"
	       "      --criu PATH             The program criu\n"
	       "  -v, --version               Print the version\n\n"
	       "'" PROGRAM " COMMAND --help' tells more about a command.\n");
}

int runtime_fail(const struct runtime *rt, const struct err *err)
{
	runtime_error(rt, err->msg);
	return 1;
}

int runtime_args(const struct runtime *rt, struct args_usage *usage, int *argc, char **argv)
{
	struct err err = ERR_INIT;
	int r;

	usage->program = PROGRAM;
	usage->single_dash = true;
	r = args_parse(usage, argc, argv, &err);
	if (r > 0)
		return -1;
	if (r == 0) {
		args_help(usage, stdout);
		return 0;
	}
	return runtime_fail(rt, &err);
}

/* "--name value" and "--name=value". Returns how many words it took; 0: it is another option. */
static int value_option(char **argv, const char *name, const char **ret)
{
	const char *a = argv[0] + 1 + (argv[0][1] == '-');
	size_t n = strlen(name);

	if (strncmp(a, name, n) != 0 || (a[n] && a[n] != '=') || (!a[n] && !argv[1]))
		return 0;
	*ret = a[n] ? a + n + 1 : argv[1];
	return a[n] ? 1 : 2;
}

static int flag_option(char **argv, const char *name, bool *ret)
{
	const char *a = argv[0] + 1 + (argv[0][1] == '-');
	size_t n = strlen(name);

	if (strncmp(a, name, n) != 0)
		return 0;
	if (!a[n] || !strcmp(a + n, "=true"))
		*ret = true;
	else if (!strcmp(a + n, "=false"))
		*ret = false;
	else
		return 0;
	return 1;
}

/* The index of the verb, or -1 after an error. */
static int parse_globals(struct runtime *rt, int argc, char **argv)
{
	const struct {
		const char *name;
		const char **value;
	} values[] = { { "root", &rt->root },
		       { "log", &rt->log_path },
		       { "log-format", &rt->log_format },
		       { "rootless", &rt->rootless_option },
		       { "cgroup-manager", &rt->manager_option },
		       { "criu", &rt->criu } };
	int i = 1;

	while (i < argc && argv[i][0] == '-' && argv[i][1]) {
		int n = 0;

		for (size_t k = 0; k < ARRAY_SIZE(values) && !n; k++)
			n = value_option(argv + i, values[k].name, values[k].value);
		if (!n)
			n = flag_option(argv + i, "debug", &rt->debug);
		if (!n)
			n = flag_option(argv + i, "systemd-cgroup", &rt->systemd_cgroup);
		if (!n && (!strcmp(argv[i], "--version") || !strcmp(argv[i], "-v") ||
			   !strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")))
			return i;
		if (!n) {
			fprintf(stderr,
				PROGRAM ": unknown option %s before the command\n"
					"See '" PROGRAM " --help'.\n",
				argv[i]);
			return -1;
		}
		i += n;
	}
	return i;
}

static int finish_globals(struct runtime *rt, struct err *err)
{
	const char *dir = getenv("XDG_RUNTIME_DIR");

	if (rt->log_format && strcmp(rt->log_format, "text") != 0 &&
	    strcmp(rt->log_format, "json") != 0)
		return err_set(err, EINVAL, "--log-format takes text or json, not \"%s\"",
			       rt->log_format);
	rt->rootless = geteuid() != 0;
	if (rt->rootless_option && !strcmp(rt->rootless_option, "true"))
		rt->rootless = true;
	else if (rt->rootless_option && !strcmp(rt->rootless_option, "false"))
		rt->rootless = false;
	else if (rt->rootless_option && strcmp(rt->rootless_option, "auto") != 0)
		return err_set(err, EINVAL, "--rootless takes auto, true or false, not \"%s\"",
			       rt->rootless_option);
	if (rt->manager_option && !strcmp(rt->manager_option, "systemd"))
		rt->manager = CGROUP_MANAGER_SYSTEMD;
	else if (rt->manager_option && !strcmp(rt->manager_option, "disabled"))
		rt->manager = CGROUP_MANAGER_DISABLED;
	else if (rt->manager_option && strcmp(rt->manager_option, "cgroupfs") != 0)
		return err_set(err, EINVAL,
			       "--cgroup-manager takes cgroupfs, systemd or disabled, not \"%s\"",
			       rt->manager_option);
	if (rt->systemd_cgroup)
		rt->manager = CGROUP_MANAGER_SYSTEMD;
	if (rt->root)
		return 0;
	if (geteuid() == 0)
		rt->root = "/run/" PROGRAM;
	else if (!str_empty(dir))
		rt->root = rt->root_text = str_printf("%s/" PROGRAM, dir);
	else
		rt->root = rt->root_text = str_printf("/tmp/" PROGRAM "-%u", geteuid());
	return rt->root ? 0 : err_set(err, ENOMEM, "out of memory");
}

static int unknown_verb(const char *name)
{
	const char *names[ARRAY_SIZE(verbs) + 1] = { NULL };
	const char *near;

	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		names[i] = verbs[i].name;
	near = str_nearest(name, names);
	fprintf(stderr, PROGRAM ": \"%s\" is not a command%s%s%s\nSee '" PROGRAM " --help'.\n",
		name, near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
	return 1;
}

static bool called_as_vm(const char *name)
{
	const char *slash = name ? strrchr(name, '/') : NULL;

	return name && !strcmp(slash ? slash + 1 : name, PROGRAM "-vm");
}

int main(int argc, char **argv)
{
	struct runtime rt = { .vm = argc > 0 && called_as_vm(argv[0]) };
	int i = parse_globals(&rt, argc, argv), code;
	struct err err = ERR_INIT;

	if (i < 0)
		return 1;
	if (i < argc && (!strcmp(argv[i], "--version") || !strcmp(argv[i], "-v"))) {
		printf(PROGRAM " version " PROA_VERSION "\ncommit: v" PROA_VERSION
			       "\nspec: " OCI_VERSION "\n");
		return 0;
	}
	if (i == argc || !strcmp(argv[i], "--help") || !strcmp(argv[i], "-h") ||
	    !strcmp(argv[i], "help")) {
		print_help();
		return 0;
	}
	if (runtime_log_open(&rt, &err) < 0 || finish_globals(&rt, &err) < 0)
		return runtime_fail(&rt, &err);
	runtime_debug(&rt, "%s, state in %s%s", argv[i], rt.root, rt.rootless ? ", rootless" : "");
	code = -1;
	for (size_t k = 0; k < ARRAY_SIZE(verbs) && code < 0; k++)
		if (!strcmp(verbs[k].name, argv[i]))
			code = verbs[k].run(&rt, argc - i, argv + i);
	if (code < 0)
		code = unknown_verb(argv[i]);
	free(rt.root_text);
	return code;
}
