/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Facts about the host, measured once per boot. Each is a file "BOOT-ID TEXT" in the run root, so
 * that one of an earlier boot, or of another host that shares the directory, does not count.
 */
#include "vm/host.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "util/io.h"
#include "util/mem.h"
#include "util/str.h"

#define TSC_SAMPLE_NS 10000000u

static bool boot_id(char ret[40])
{
	_cleanup_free_ char *text = NULL;

	if (io_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &text, NULL) < 0)
		return false;
	snprintf(ret, 40, "%.*s", (int)strcspn(text, "\n"), text);
	return true;
}

bool vm_fact_get(const char *run_root, const char *name, char *ret, size_t size)
{
	_cleanup_free_ char *path = run_root ? str_printf("%s/%s", run_root, name) : NULL,
			    *text = NULL;
	char boot[40];
	size_t n;

	if (!path || io_read_file(AT_FDCWD, path, 1024, &text, NULL) < 0 || !boot_id(boot))
		return false;
	n = strlen(boot);
	if (strncmp(text, boot, n) != 0 || text[n] != ' ')
		return false;
	snprintf(ret, size, "%.*s", (int)strcspn(text + n + 1, "\n"), text + n + 1);
	return true;
}

void vm_fact_set(const char *run_root, const char *name, const char *text)
{
	_cleanup_free_ char *path = run_root ? str_printf("%s/%s", run_root, name) : NULL,
			    *line = NULL;
	char boot[40];

	if (!path || !boot_id(boot))
		return;
	line = str_printf("%s %s\n", boot, text);
	/* not kept is not an error: it is measured again */
	if (line)
		(void)io_write_file(AT_FDCWD, path, line, strlen(line), 0644, 0);
}

#if defined(__x86_64__)

#include <x86intrin.h>

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* A pair of both clocks, of several the one read in the shortest time. */
static void sample(uint64_t *ret_ns, uint64_t *ret_ticks)
{
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < 8; i++) {
		uint64_t before = __rdtsc(), ns = now_ns(), after = __rdtsc();

		if (after - before < best) {
			best = after - before;
			*ret_ns = ns;
			*ret_ticks = before + (after - before) / 2;
		}
	}
}

uint64_t vm_tsc_khz(const char *run_root)
{
	uint64_t khz, ns0 = 0, ticks0 = 0, ns1 = 0, ticks1 = 0;
	struct timespec wait = { .tv_nsec = TSC_SAMPLE_NS };
	char text[32];

	if (vm_fact_get(run_root, "tsc", text, sizeof(text)) && str_to_u64(text, &khz) == 0)
		return khz;
	sample(&ns0, &ticks0);
	(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &wait, NULL);
	sample(&ns1, &ticks1);
	if (ns1 <= ns0 || ticks1 <= ticks0)
		return 0;
	khz = (uint64_t)(((unsigned __int128)(ticks1 - ticks0) * 1000000u) / (ns1 - ns0));
	snprintf(text, sizeof(text), "%llu", (unsigned long long)khz);
	vm_fact_set(run_root, "tsc", text);
	return khz;
}

#else

uint64_t vm_tsc_khz(const char *run_root _unused_)
{
	return 0;
}

#endif
