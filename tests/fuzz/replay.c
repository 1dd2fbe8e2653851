/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs every file of a corpus directory through a fuzz target, and each cut in half as well: what
 * the fuzzer once found stays found, with any compiler and without libFuzzer. The directory is
 * argv[1].
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include "util/io.h"
#include "util/mem.h"

#define INPUT_MAX (16u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static int replay(const char *dir, const char *name, int number)
{
	_cleanup_free_ char *path = NULL, *bytes = NULL;
	uint8_t *exact;
	size_t n;

	if (asprintf(&path, "%s/%s", dir, name) < 0) {
		path = NULL;
		return -1;
	}
	if (io_read_file(AT_FDCWD, path, INPUT_MAX, &bytes, &n) < 0) {
		printf("not ok %d - read %s\n", number, name);
		return -1;
	}
	/* an allocation of the exact size, so that a sanitizer sees one byte too much */
	for (size_t len = n; len; len = len == n ? n / 2 : 0) {
		exact = malloc(len);
		if (!exact)
			return -1;
		memcpy(exact, bytes, len);
		LLVMFuzzerTestOneInput(exact, len);
		free(exact);
	}
	LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
	printf("ok %d - %s\n", number, name);
	return 0;
}

int main(int argc, char **argv)
{
	struct dirent **list;
	int n = argc == 2 ? scandir(argv[1], &list, NULL, alphasort) : -1;
	int count = 0, failed = 0;

	if (n < 0) {
		puts("Bail out! no corpus directory");
		return 1;
	}
	for (int i = 0; i < n; i++) {
		if (list[i]->d_name[0] != '.')
			failed += replay(argv[1], list[i]->d_name, ++count) < 0;
		free(list[i]);
	}
	free(list);
	printf("1..%d\n", count);
	return failed ? 1 : 0;
}
