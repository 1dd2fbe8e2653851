/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration as src/vm hands it over: words that end with a NUL, from a descriptor. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include "util/err.h"
#include "util/mem.h"
#include "vmm/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static FILE *nowhere;
	char program[] = "proa-vmm", option[] = "--config", number[16];
	char *argv[] = { program, option, number, NULL };
	struct err err = ERR_INIT;
	struct vmm_config c;
	FILE *out = stdout;
	int fd = memfd_create("words", MFD_CLOEXEC), r;

	if (!nowhere)
		nowhere = fopen("/dev/null", "w");
	if (fd < 0 || !nowhere || write(fd, data, size) != (ssize_t)size ||
	    lseek(fd, 0, SEEK_SET) < 0)
		abort();
	snprintf(number, sizeof(number), "%d", fd);
	stdout = nowhere; /* --help */
	r = config_parse(3, argv, &c, &err);
	stdout = out;
	if (r < 0 && !err.msg[0])
		abort(); /* an error that says nothing */
	if (r == 1 && (!c.kernel || !c.cpus))
		abort();
	config_done(&c);
	/* it was closed if it could be read */
	(void)close(fd);
	return 0;
}
