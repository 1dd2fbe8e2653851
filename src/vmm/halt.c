/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/halt.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <time.h>
#include "util/err.h"
#include "util/mem.h"
#include "vmm/vcpu.h"
#include "vmm/vmm.h"

#define PERIOD_S 3

static uint64_t thread_ns(const struct vcpu *c)
{
	clockid_t clock;
	struct timespec t;

	if (!c->has_thread || pthread_getcpuclockid(c->thread, &clock) ||
	    clock_gettime(clock, &t) < 0)
		return 0;
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void timer_ready(struct loop_watch *w, uint32_t events _unused_)
{
	struct vmm *v = container_of(w, struct vmm, halt_timer);
	uint64_t ticks;
	bool idle = true;

	if (read(w->fd, &ticks, sizeof(ticks)) != sizeof(ticks) || v->paused)
		return;
	for (unsigned i = 0; i < v->vcpu_count; i++) {
		uint64_t now = thread_ns(&v->vcpus[i]);

		idle &= now == v->vcpus[i].cpu_ns;
		v->vcpus[i].cpu_ns = now;
	}
	/* what was found in an earlier round says nothing of this one */
	for (unsigned i = 0; i < v->vcpu_count; i++)
		v->vcpus[i].halted = false;
	for (unsigned i = 0; idle && i < v->vcpu_count; i++) {
		v->vcpus[i].check_halt = true;
		vcpu_kick(&v->vcpus[i]);
	}
}

int halt_watch(struct vmm *v, struct err *err)
{
	struct itimerspec period = { { PERIOD_S, 0 }, { PERIOD_S, 0 } };
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), r;

	if (fd < 0 || timerfd_settime(fd, 0, &period, NULL) < 0)
		return err_sys(err, errno, "make a timer");
	v->halt_timer = (struct loop_watch){ .fd = fd, .events = EPOLLIN, .call = timer_ready };
	r = loop_add(&v->loop, &v->halt_timer);
	return r < 0 ? err_sys(err, -r, "watch a timer") : 0;
}

void halt_unwatch(struct vmm *v)
{
	loop_remove(&v->loop, &v->halt_timer);
	if (v->halt_timer.call)
		fd_close(v->halt_timer.fd);
}
