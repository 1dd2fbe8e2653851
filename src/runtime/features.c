/* SPDX-License-Identifier: Apache-2.0 */
/* features: runtime-spec, features.md and features-linux.md. Nothing in it depends on the host. */
#include <stdio.h>
#include "plan/options.h"
#include "runtime/config.h"
#include "runtime/mount_words.h"
#include "runtime/runtime.h"
#include "util/json_write.h"
#include "util/mem.h"

static void write_list(struct json_write *w, const char *key, const char *const *list)
{
	json_write_key(w, key);
	json_write_strv(w, list);
}

static void write_flag(struct json_write *w, const char *key, bool on)
{
	json_write_key(w, key);
	json_write_bool(w, on);
}

static void write_enabled(struct json_write *w, const char *key)
{
	json_write_key(w, key);
	json_write_object(w);
	write_flag(w, "enabled", true);
	json_write_close(w, '}');
}

static void write_seccomp(struct json_write *w)
{
	static const char *const actions[] = { "SCMP_ACT_ALLOW",       "SCMP_ACT_ERRNO",
					       "SCMP_ACT_KILL",	       "SCMP_ACT_KILL_PROCESS",
					       "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG",
					       "SCMP_ACT_NOTIFY",      "SCMP_ACT_TRACE",
					       "SCMP_ACT_TRAP",	       NULL };
	static const char *const operators[] = { "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT",
						 "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ",
						 "SCMP_CMP_NE", NULL };
	static const char *const archs[] = { "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM",
					     "SCMP_ARCH_X32",	  "SCMP_ARCH_X86",
					     "SCMP_ARCH_X86_64",  NULL };
	static const char *const flags[] = { "SECCOMP_FILTER_FLAG_TSYNC",
					     "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
					     "SECCOMP_FILTER_FLAG_LOG",
					     "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", NULL };

	json_write_key(w, "seccomp");
	json_write_object(w);
	write_flag(w, "enabled", true);
	write_list(w, "actions", actions);
	write_list(w, "operators", operators);
	write_list(w, "archs", archs);
	write_list(w, "knownFlags", flags);
	write_list(w, "supportedFlags", flags);
	json_write_close(w, '}');
}

static void write_linux(struct json_write *w)
{
	static const char *const namespaces[] = { "cgroup", "ipc",  "mount", "network", "pid",
						  "time",   "user", "uts",   NULL };

	json_write_key(w, "linux");
	json_write_object(w);
	write_list(w, "namespaces", namespaces);
	json_write_key(w, "capabilities");
	json_write_array(w);
	for (unsigned i = 0; plan_cap_name(i); i++) {
		_cleanup_free_ char *name = str_printf("CAP_%s", plan_cap_name(i));

		json_write_string(w, name);
	}
	json_write_close(w, ']');
	json_write_key(w, "cgroup");
	json_write_object(w);
	write_flag(w, "v1", true);
	write_flag(w, "v2", true);
	write_flag(w, "systemd", true);
	write_flag(w, "systemdUser", true);
	write_flag(w, "rdma", true);
	json_write_close(w, '}');
	write_seccomp(w);
	write_enabled(w, "apparmor");
	write_enabled(w, "selinux");
	json_write_key(w, "intelRdt");
	json_write_object(w);
	write_flag(w, "enabled", true);
	write_flag(w, "schemata", true);
	write_flag(w, "monitoring", true);
	json_write_close(w, '}');
	json_write_key(w, "memoryPolicy");
	json_write_object(w);
	write_list(w, "modes",
		   (const char *const[]){ "MPOL_DEFAULT", "MPOL_PREFERRED", "MPOL_BIND",
					  "MPOL_INTERLEAVE", "MPOL_LOCAL", "MPOL_PREFERRED_MANY",
					  "MPOL_WEIGHTED_INTERLEAVE", NULL });
	write_list(w, "flags",
		   (const char *const[]){ "MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES",
					  "MPOL_F_NUMA_BALANCING", NULL });
	json_write_close(w, '}');
	json_write_key(w, "mountExtensions");
	json_write_object(w);
	write_enabled(w, "idmap");
	json_write_close(w, '}');
	write_enabled(w, "netDevices");
	json_write_close(w, '}');
}

static void write_features(struct json_write *w)
{
	json_write_object(w);
	json_write_member(w, "ociVersionMin", OCI_VERSION_MIN);
	json_write_member(w, "ociVersionMax", "1.3.0");
	write_list(w, "hooks", plan_hook_names);
	json_write_key(w, "mountOptions");
	json_write_array(w);
	for (const struct mount_word *m = mount_words; m->word; m++)
		json_write_string(w, m->word);
	json_write_close(w, ']');
	write_linux(w);
	json_write_key(w, "annotations");
	json_write_object(w);
	json_write_member(w, "run.oci.proa.version", PROA_VERSION);
	/* what Docker and containerd look for, whatever the runtime's name */
	json_write_member(w, "org.opencontainers.runc.checkpoint.enabled", "true");
	json_write_close(w, '}');
	json_write_key(w, "potentiallyUnsafeConfigAnnotations");
	json_write_strv(w, (const char *const[]){ "run.oci.handler", NULL });
	json_write_close(w, '}');
}

int verb_features(struct runtime *rt, int argc, char **argv)
{
	static const struct args_option options[] = { { .name = NULL } };
	struct args_usage usage = {
		.name = "features",
		.synopsis = "",
		.summary = "Show what of the runtime-spec is supported, as JSON",
		.options = options,
		.max_args = 0,
	};
	struct json_write w = { .indent = 2 };
	int code = runtime_args(rt, &usage, &argc, argv);

	if (code >= 0)
		return code;
	write_features(&w);
	if (!w.out.failed)
		puts(w.out.data);
	str_buf_done(&w.out);
	return 0;
}
