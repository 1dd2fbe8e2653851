/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A 16550A (National Semiconductor's data sheet has the registers). What the guest sends is
 * collected and written when a line ends, when the buffer is full, or soon after: a system call for
 * each character would be most of a boot's time. If nobody reads what we write, the oldest is kept
 * and the guest is told that the transmitter is busy, as a slow line would.
 */
#include "vmm/serial.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include "util/err.h"
#include "util/mem.h"
#include "vmm/layout.h"
#include "vmm/vmm.h"

enum { DATA = 0, IER = 1, IIR_FCR = 2, LCR = 3, MCR = 4, LSR = 5, MSR = 6, SCR = 7 };
#define IER_RECEIVED 0x01
#define IER_SENT     0x02
#define IIR_NONE     0x01
#define IIR_SENT     0x02
#define IIR_RECEIVED 0x04
#define IIR_FIFO     0xc0
#define FCR_CLEAR_IN 0x02
#define LCR_DLAB     0x80
#define MCR_LOOP     0x10
#define LSR_DATA     0x01
#define LSR_EMPTY    0x60 /* holding and shift register */
#define MSR_READY    0xb0 /* carrier, data set ready, clear to send */
#define IN_BYTES     64
#define OUT_BYTES    4096
#define OUT_DELAY_NS 2000000

struct vmm_serial {
	struct bus_range range;
	struct vmm *vmm;
	int irq_fd;
	struct loop_watch in, out, timer;
	bool in_ended; /* nobody writes to it any more; what was written may still be there */
	uint8_t ier, lcr, mcr, scr, dll, dlm;
	bool sent_pending; /* "transmitter empty" is to be told */
	uint8_t received[IN_BYTES];
	unsigned in_at, in_count;
	uint8_t sending[OUT_BYTES];
	unsigned out_count;
	bool timer_set;
};

static uint8_t interrupt_cause(const struct vmm_serial *s)
{
	if (s->ier & IER_RECEIVED && s->in_count)
		return IIR_RECEIVED;
	if (s->ier & IER_SENT && s->sent_pending)
		return IIR_SENT;
	return IIR_NONE;
}

static void update_interrupt(struct vmm_serial *s)
{
	uint64_t one = 1;

	if (interrupt_cause(s) != IIR_NONE)
		(void)!write(s->irq_fd, &one, sizeof(one));
}

/* As much as there is room for; false when there is no more to come. */
static bool read_input(struct vmm_serial *s)
{
	uint8_t bytes[IN_BYTES];
	ssize_t n = read(s->in.fd, bytes, IN_BYTES - s->in_count);

	for (ssize_t i = 0; i < n; i++)
		s->received[(s->in_at + s->in_count++) % IN_BYTES] = bytes[i];
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

/* There is room again, or none any more. */
static void watch_input(struct vmm_serial *s)
{
	if (s->in_ended && s->in_count < IN_BYTES)
		s->in_ended = read_input(s);
	else if (s->in.added)
		(void)loop_set(&s->vmm->loop, &s->in, s->in_count < IN_BYTES ? EPOLLIN : 0);
}

/* Writes what it can; the rest waits for the descriptor. */
static void flush(struct vmm_serial *s)
{
	ssize_t n = s->out_count;

	if (s->out.fd >= 0 && s->out_count) {
		n = write(s->out.fd, s->sending, s->out_count);
		if (n < 0)
			n = errno == EAGAIN || errno == EINTR ? 0 : s->out_count;
	}
	memmove(s->sending, s->sending + n, s->out_count - (size_t)n);
	s->out_count -= (unsigned)n;
	(void)loop_set(&s->vmm->loop, &s->out, s->out_count && s->out.added ? EPOLLOUT : 0);
}

static void set_timer(struct vmm_serial *s)
{
	struct itimerspec t = { .it_value.tv_nsec = OUT_DELAY_NS };

	if (!s->timer_set && timerfd_settime(s->timer.fd, 0, &t, NULL) == 0)
		s->timer_set = true;
}

static void send(struct vmm_serial *s, uint8_t byte)
{
	if (s->mcr & MCR_LOOP) {
		if (s->in_count < IN_BYTES)
			s->received[(s->in_at + s->in_count++) % IN_BYTES] = byte;
	} else {
		if (s->out_count < OUT_BYTES)
			s->sending[s->out_count++] = byte;
		if (byte == '\n' || s->out_count == OUT_BYTES)
			flush(s);
		if (s->out_count)
			set_timer(s);
	}
	s->sent_pending = true;
	update_interrupt(s);
}

static uint8_t receive(struct vmm_serial *s)
{
	uint8_t byte;

	if (!s->in_count)
		return 0;
	byte = s->received[s->in_at];
	s->in_at = (s->in_at + 1) % IN_BYTES;
	s->in_count--;
	watch_input(s);
	update_interrupt(s);
	return byte;
}

static uint8_t read_register(struct vmm_serial *s, uint64_t at)
{
	uint8_t cause;

	switch (at) {
	case DATA: return s->lcr & LCR_DLAB ? s->dll : receive(s);
	case IER: return s->lcr & LCR_DLAB ? s->dlm : s->ier;
	case IIR_FCR:
		cause = interrupt_cause(s);
		if (cause == IIR_SENT)
			s->sent_pending = false;
		return cause | IIR_FIFO;
	case LCR: return s->lcr;
	case MCR: return s->mcr;
	case LSR:
		return (uint8_t)((s->in_count ? LSR_DATA : 0) |
				 (s->out_count < OUT_BYTES ? LSR_EMPTY : 0));
	case MSR:
		/* in a loop, the modem's lines are our own */
		if (s->mcr & MCR_LOOP)
			return (uint8_t)((s->mcr & 0x0c) << 4 | (s->mcr & 2) << 3 |
					 (s->mcr & 1) << 5);
		return MSR_READY;
	default: return s->scr;
	}
}

static void serial_read(struct bus_range *r, uint64_t at, void *to, uint32_t bytes)
{
	struct vmm_serial *s = container_of(r, struct vmm_serial, range);

	memset(to, 0, bytes);
	*(uint8_t *)to = read_register(s, at);
}

static void serial_write(struct bus_range *r, uint64_t at, const void *from,
			 uint32_t bytes _unused_)
{
	struct vmm_serial *s = container_of(r, struct vmm_serial, range);
	uint8_t value = *(const uint8_t *)from;

	switch (at) {
	case DATA:
		if (s->lcr & LCR_DLAB)
			s->dll = value;
		else
			send(s, value);
		break;
	case IER:
		if (s->lcr & LCR_DLAB) {
			s->dlm = value;
			break;
		}
		/* switched on, "empty" is told at once */
		if (value & ~s->ier & IER_SENT)
			s->sent_pending = true;
		s->ier = value & 0x0f;
		update_interrupt(s);
		break;
	case IIR_FCR:
		if (value & FCR_CLEAR_IN) {
			s->in_count = 0;
			watch_input(s);
		}
		break;
	case LCR: s->lcr = value; break;
	case MCR: s->mcr = value & 0x1f; break;
	case SCR: s->scr = value; break;
	default: break;
	}
}

static void input_ready(struct loop_watch *w, uint32_t events)
{
	struct vmm_serial *s = container_of(w, struct vmm_serial, in);

	/* a hang-up is told also while nothing is asked for, again and again */
	if (events & (EPOLLHUP | EPOLLERR)) {
		loop_remove(&s->vmm->loop, w);
		s->in_ended = true;
	} else if (s->in_count < IN_BYTES && !read_input(s)) {
		loop_remove(&s->vmm->loop, w);
	}
	watch_input(s);
	update_interrupt(s);
}

static void output_ready(struct loop_watch *w, uint32_t events)
{
	struct vmm_serial *s = container_of(w, struct vmm_serial, out);

	/* nobody reads any more, which is told again and again: writes find it out by themselves */
	if (events & (EPOLLHUP | EPOLLERR))
		loop_remove(&s->vmm->loop, w);
	flush(s);
}

static void timer_ready(struct loop_watch *w, uint32_t events _unused_)
{
	struct vmm_serial *s = container_of(w, struct vmm_serial, timer);
	uint64_t ticks;

	(void)!read(w->fd, &ticks, sizeof(ticks));
	s->timer_set = false;
	flush(s);
}

static const struct bus_ops serial_ops = { .read = serial_read, .write = serial_write };

static int watch(struct vmm_serial *s, int in, int out)
{
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), r = 0;

	s->timer = (struct loop_watch){ .fd = timer, .events = EPOLLIN, .call = timer_ready };
	s->in = (struct loop_watch){ .fd = in, .events = EPOLLIN, .call = input_ready };
	s->out = (struct loop_watch){ .fd = out, .call = output_ready };
	if (timer < 0)
		return -errno;
	r = loop_add(&s->vmm->loop, &s->timer);
	for (int i = 0; i < 2; i++) {
		struct loop_watch *w = i ? &s->out : &s->in;
		int flags = w->fd >= 0 ? fcntl(w->fd, F_GETFL) : -1;

		if (r < 0 || flags < 0)
			continue;
		(void)fcntl(w->fd, F_SETFL, flags | O_NONBLOCK);
		r = loop_add(&s->vmm->loop, w);
		/* a file is always ready: read whenever there is room */
		if (r == -EPERM) {
			s->in_ended |= w == &s->in;
			r = 0;
		}
	}
	if (r == 0)
		watch_input(s);
	return r;
}

int serial_new(struct vmm *v, int in, int out, struct vmm_serial **ret, struct err *err)
{
	struct vmm_serial *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_set(err, ENOMEM, "out of memory");
	s->vmm = v;
	s->timer.fd = -EBADF;
	s->range =
		(struct bus_range){ .start = LAYOUT_SERIAL_PORT, .bytes = 8, .ops = &serial_ops };
	s->irq_fd = vmm_irqfd(v, LAYOUT_SERIAL_GSI);
	r = s->irq_fd < 0 ? s->irq_fd : watch(s, in, out);
	if (r == 0)
		r = bus_add(&v->ports, &s->range);
	if (r < 0) {
		serial_free(s);
		return err_sys(err, -r, "make the serial port");
	}
	*ret = s;
	return 0;
}

void serial_drain(struct vmm_serial *s)
{
	if (s)
		flush(s);
}

void serial_free(struct vmm_serial *s)
{
	if (!s)
		return;
	bus_remove(&s->vmm->ports, &s->range);
	loop_remove(&s->vmm->loop, &s->in);
	loop_remove(&s->vmm->loop, &s->out);
	loop_remove(&s->vmm->loop, &s->timer);
	fd_close(s->timer.fd);
	fd_close(s->irq_fd);
	free(s);
}
