/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `vm` of config.json (runtime-spec, config-vm.md): a bundle that has it is run as a machine. What
 * it does not say is proa's default: kernel, memory, processors.
 */
#include "runtime/config_internal.h"

#include <errno.h>
#include <string.h>
#include "util/mem.h"
#include "util/str.h"

static struct plan_vm *vm(void *to)
{
	return &((struct config *)to)->plan.vm;
}

static void kernel_path(struct json_read *r, void *to)
{
	config_absolute(r, &vm(to)->kernel);
}

/* A list of words in version 1.0 and later, one string before. */
static void kernel_parameters(struct json_read *r, void *to)
{
	_cleanup_strv_ char **words = NULL;
	struct str_buf b = { 0 };

	json_read_strv(r, &words);
	for (char **w = words; w && *w; w++)
		str_buf_printf(&b, "%s%s", w == words ? "" : " ", *w);
	if (b.failed)
		json_read_fail(r, ENOMEM, "out of memory");
	free(vm(to)->parameters);
	vm(to)->parameters = TAKE_PTR(b.data);
	str_buf_done(&b);
}

static void kernel_initrd(struct json_read *r, void *to)
{
	config_absolute(r, &vm(to)->initrd);
}

static void read_kernel(struct json_read *r, void *to)
{
	static const struct config_member members[] = { { "path", kernel_path },
							{ "parameters", kernel_parameters },
							{ "initrd", kernel_initrd },
							{ NULL, NULL } };

	config_members(r, members, to);
}

static void image_path(struct json_read *r, void *to)
{
	config_absolute(r, &vm(to)->image);
}

static void image_format(struct json_read *r, void *to)
{
	json_read_dup(r, &vm(to)->image_format);
	if (vm(to)->image_format && strcmp(vm(to)->image_format, "raw") != 0)
		json_read_fail(r, EOPNOTSUPP,
			       "\"%s\": only raw images are attached, for a guest could name files "
			       "of the host in the header of others; qemu-img convert makes one",
			       vm(to)->image_format);
}

static void read_image(struct json_read *r, void *to)
{
	static const struct config_member members[] = { { "path", image_path },
							{ "format", image_format },
							{ NULL, NULL } };

	config_members(r, members, to);
}

static void hypervisor_path(struct json_read *r, void *to)
{
	config_absolute(r, &vm(to)->hypervisor);
}

static void hypervisor_parameters(struct json_read *r, void *to)
{
	json_read_strv(r, &vm(to)->hypervisor_args);
}

static void read_hypervisor(struct json_read *r, void *to)
{
	static const struct config_member members[] = { { "path", hypervisor_path },
							{ "parameters", hypervisor_parameters },
							{ NULL, NULL } };

	config_members(r, members, to);
}

static void hardware_cpus(struct json_read *r, void *to)
{
	vm(to)->cpus = (uint32_t)json_read_uint(r, 512);
}

static void hardware_memory(struct json_read *r, void *to)
{
	json_read_u64(r, &vm(to)->memory_bytes);
}

static void hardware_unsupported(struct json_read *r, void *to)
{
	(void)to;
	if (!json_read_null(r))
		json_read_fail(r, EOPNOTSUPP,
			       "is not supported: it is for boards with a device tree");
}

static void read_hardware(struct json_read *r, void *to)
{
	static const struct config_member members[] = {
		{ "vcpus", hardware_cpus },
		{ "memory", hardware_memory },
		{ "deviceTree", hardware_unsupported },
		{ "dtdevs", hardware_unsupported },
		{ "iomems", hardware_unsupported },
		{ "irqs", hardware_unsupported },
		{ NULL, NULL },
	};

	config_members(r, members, to);
}

void config_vm(struct json_read *r, void *config)
{
	static const struct config_member members[] = { { "kernel", read_kernel },
							{ "image", read_image },
							{ "hypervisor", read_hypervisor },
							{ "hwConfig", read_hardware },
							{ NULL, NULL } };

	if (json_read_null(r))
		return;
	((struct config *)config)->plan.isolation = PLAN_VM;
	config_members(r, members, config);
}
