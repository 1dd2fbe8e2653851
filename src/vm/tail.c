/* SPDX-License-Identifier: Apache-2.0 */
#include "vm/tail.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include "util/mem.h"

void vm_tail_add(struct vm_tail *t, const char *bytes, size_t n)
{
	if (n > TAIL_BYTES) {
		bytes += n - TAIL_BYTES;
		n = TAIL_BYTES;
	}
	if (t->len + n > TAIL_BYTES) {
		size_t drop = t->len + n - TAIL_BYTES;

		memmove(t->bytes, t->bytes + drop, t->len - drop);
		t->len -= drop;
	}
	/* text for a person's terminal: nothing in it may move the cursor or end the string */
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)bytes[i];

		if (c == '\r')
			continue;
		t->bytes[t->len++] = c == '\n' ? '\n' : c < 0x20 || c >= 0x7f ? '?' : (char)c;
	}
	t->bytes[t->len] = 0;
}

/* False: nothing more now. */
static bool read_some(struct vm_tail *t)
{
	char buf[4096];
	ssize_t n = read(t->watch.fd, buf, sizeof(buf));

	if (n > 0) {
		vm_tail_add(t, buf, (size_t)n);
		return true;
	}
	if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		loop_remove(t->loop, &t->watch);
		t->watch.fd = fd_close(t->watch.fd);
	}
	return false;
}

static void tail_ready(struct loop_watch *w, uint32_t events _unused_)
{
	/* one read a round: a machine that floods its console slows itself down, not proa */
	(void)read_some(container_of(w, struct vm_tail, watch));
}

void vm_tail_drain(struct vm_tail *t)
{
	/* a pipe holds no more than this, and the writer is gone or stopped */
	for (int i = 0; i < 64 && t->watch.fd >= 0 && read_some(t); i++)
		;
}

int vm_tail_open(struct vm_tail *t, struct loop *loop, int *ret_write_fd)
{
	int ends[2], r;

	*t = (struct vm_tail){ .loop = loop };
	t->watch = (struct loop_watch){ .fd = -EBADF, .events = EPOLLIN, .call = tail_ready };
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	t->watch.fd = ends[0];
	r = fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0 ? -errno : loop_add(loop, &t->watch);
	if (r < 0) {
		close(ends[1]);
		vm_tail_done(t);
		return r;
	}
	*ret_write_fd = ends[1];
	return 0;
}

void vm_tail_done(struct vm_tail *t)
{
	if (!t->loop)
		return;
	loop_remove(t->loop, &t->watch);
	t->watch.fd = fd_close(t->watch.fd);
	t->loop = NULL;
}

void vm_tail_lines(const struct vm_tail *t, unsigned lines, char *ret, size_t size)
{
	const char *start = t->bytes + t->len, *line;
	size_t used = 0;

	/* back to the first line wanted, as far as they fit */
	while (lines && start > t->bytes) {
		line = start - 1;
		while (line > t->bytes && line[-1] != '\n')
			line--;
		if ((size_t)(t->bytes + t->len - line) + 3u * lines + 1 > size &&
		    start < t->bytes + t->len)
			break;
		if (*line != '\n')
			lines--;
		start = line;
	}
	ret[0] = 0;
	while (*start && used + 4 < size) {
		size_t n = strcspn(start, "\n");

		if (n)
			used += (size_t)snprintf(ret + used, size - used, "\n  %.*s", (int)n,
						 start);
		start += n + (start[n] == '\n');
	}
}

bool vm_tail_find(const struct vm_tail *t, const char *mark, char *ret, size_t size)
{
	const char *found = strstr(t->bytes, mark);

	if (!found)
		return false;
	found += strlen(mark);
	snprintf(ret, size, "%.*s", (int)strcspn(found, "\n"), found);
	return true;
}
