/* SPDX-License-Identifier: Apache-2.0 */
/* The serial port's registers, and the ports that end a machine. */
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include "tap.h"
#include "vmm/layout.h"
#include "vmm/power.h"
#include "vmm/serial.h"
#include "vmm_fake.h"

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR };

static int host;

static uint8_t get(unsigned at)
{
	return (uint8_t)fake_read(&fake.vmm.ports, LAYOUT_SERIAL_PORT + at, 1);
}

static void set(unsigned at, uint8_t value)
{
	fake_write(&fake.vmm.ports, LAYOUT_SERIAL_PORT + at, value, 1);
}

static void settle(void)
{
	for (int i = 0; i < 20 && loop_once(&fake.vmm.loop, 5) > 0; i++)
		;
}

static void begin(int in, int out)
{
	fake_init();
	if (serial_new(&fake.vmm, in, out, &fake.vmm.serial, NULL) < 0)
		abort();
	(void)fake_interrupts(LAYOUT_SERIAL_GSI);
}

static void end(void)
{
	serial_free(fake.vmm.serial);
	ok(fake.vmm.ports.count == 0, "the port is gone");
	fake_done();
}

static void begin_socket(int *ret_inner)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
		abort();
	host = fds[1];
	fcntl(host, F_SETFL, O_NONBLOCK);
	*ret_inner = fds[0];
	begin(fds[0], dup(fds[0]));
}

static void test_registers(void)
{
	begin(-1, -1);
	set(SCR, 0x5a);
	ok_int(get(SCR), 0x5a, "the scratch register, by which drivers look for it");
	set(LCR, 0x83);
	set(DATA, 0x0c);
	set(IER, 0x01);
	ok(get(DATA) == 0x0c && get(IER) == 0x01, "the divisor");
	set(LCR, 3);
	ok(get(IER) == 0 && get(LCR) == 3, "is not the interrupts' register");
	set(IER, 0xff);
	ok_int(get(IER), 0x0f, "of which there are four");
	set(IER, 0);
	ok_int(get(LSR), 0x60, "ready to send, nothing received");
	ok_int(get(MSR), 0xb0, "a modem that is there");
	ok_int(get(IIR) & 0x0f, 1, "nothing to tell");
	ok_int(get(DATA), 0, "nothing to read");
	set(MCR, 0x1f);
	ok_int(get(MSR) & 0xf0, 0xf0, "the modem's lines in a loop");
	for (int i = 0; i < 100; i++)
		set(DATA, (uint8_t)i);
	ok(get(LSR) & 1 && get(DATA) == 0 && get(DATA) == 1, "bytes come back");
	set(IIR, 7);
	ok_int(get(LSR) & 1, 0, "until they are cleared");
	ok_int(fake_read(&fake.vmm.ports, LAYOUT_SERIAL_PORT + SCR, 1), 0x5a, "the last register");
	ok_int(fake_read(&fake.vmm.ports, LAYOUT_SERIAL_PORT + SCR, 2), 0xffff, "and no further");
	fake_write(&fake.vmm.ports, LAYOUT_SERIAL_PORT, 0x0101, 2);
	(void)fake_read(&fake.vmm.ports, LAYOUT_SERIAL_PORT, 4);
	end();
}

static void test_output(void)
{
	static char bytes[1 << 16];
	size_t got = 0, sent = 0;
	ssize_t n;
	int inner;

	begin_socket(&inner);
	set(IER, 2);
	ok(fake_interrupts(LAYOUT_SERIAL_GSI) && (get(IIR) & 0x0f) == 2,
	   "an empty transmitter says so");
	ok_int(get(IIR) & 0x0f, 1, "once");
	set(DATA, 'h');
	set(DATA, 'i');
	ok(recv(host, bytes, 8, 0) < 0, "half a line waits");
	set(DATA, '\n');
	ok(recv(host, bytes, 8, 0) == 3 && !memcmp(bytes, "hi\n", 3), "a line is written");
	set(DATA, '>');
	settle();
	ok(recv(host, bytes, 8, 0) == 1, "a prompt soon");
	while (get(LSR) & 0x20 && sent < 16 << 20) {
		set(DATA, 'x');
		sent++;
	}
	ok(sent < 16 << 20, "who does not read makes the line busy (after %zu bytes)", sent);
	set(DATA, 'y');
	while (got < sent) {
		n = recv(host, bytes, sizeof(bytes), 0);
		if (n > 0)
			got += (size_t)n;
		else if (loop_once(&fake.vmm.loop, 100) <= 0)
			break;
	}
	ok(got == sent && !memchr(bytes, 'y', 64), "and loses nothing that was taken");
	ok_int(get(LSR) & 0x60, 0x60, "then it is ready again");
	set(DATA, 'z');
	serial_drain(fake.vmm.serial);
	ok(recv(host, bytes, 8, 0) == 1 && bytes[0] == 'z', "at the end the rest is written");
	close(host);
	settle();
	ok(loop_once(&fake.vmm.loop, 0) == 0, "a reader that is gone does not go round and round");
	for (int i = 0; i < 10000; i++)
		set(DATA, 'x');
	ok(get(LSR) & 0x20, "nor does it make the line busy");
	end();
	close(inner);
}

static void test_input(void)
{
	char text[200];
	unsigned got = 0;
	int inner;

	begin_socket(&inner);
	memset(text, 'i', sizeof(text));
	set(IER, 1);
	ok(send(host, text, sizeof(text), 0) == sizeof(text), "more input than the port holds");
	close(host);
	settle();
	ok(fake_interrupts(LAYOUT_SERIAL_GSI) && (get(IIR) & 0x0f) == 4, "is told");
	ok(loop_once(&fake.vmm.loop, 0) == 0, "and waits quietly, also when its writer is gone");
	for (int i = 0; i < 1000 && got < sizeof(text); i++) {
		if (get(LSR) & 1)
			got += get(DATA) == 'i';
		else
			settle();
	}
	ok_int(got, sizeof(text), "all of it is read in the end");
	settle();
	ok(!(get(LSR) & 1) && loop_once(&fake.vmm.loop, 0) == 0, "then there is no more");
	end();
	close(inner);
}

/* A hang-up in the moment when the port is full must not be taken for the end. */
static void test_full(void)
{
	char text[100];
	unsigned got = 0;
	int in[2];

	if (pipe(in) < 0)
		abort();
	begin(in[0], -1);
	set(MCR, 0x10);
	for (int i = 0; i < 64; i++)
		set(DATA, 'l');
	memset(text, 'p', sizeof(text));
	ok(write(in[1], text, sizeof(text)) == sizeof(text), "input for a port that is full");
	settle();
	for (int i = 0; i < 64; i++)
		(void)get(DATA);
	settle();
	for (; get(LSR) & 1; settle())
		got += get(DATA) == 'p';
	ok_int(got, sizeof(text), "arrives when there is room");
	close(in[1]);
	settle();
	ok(loop_once(&fake.vmm.loop, 0) == 0, "its end is quiet");
	end();
	close(in[0]);
}

static void test_file(void)
{
	FILE *f = tmpfile();
	char got[16] = "";

	if (!f || fputs("file", f) < 0 || fflush(f) || lseek(fileno(f), 0, SEEK_SET) < 0)
		abort();
	begin(fileno(f), -1);
	for (int i = 0; i < 15 && get(LSR) & 1; i++)
		got[i] = (char)get(DATA);
	ok_str(got, "file", "input from a file");
	end();
	fclose(f);
}

static void power(uint16_t port, uint8_t value, enum vmm_end want, const char *what)
{
	fake_init();
	if (power_add(&fake.vmm, NULL) < 0)
		abort();
	fake_write(&fake.vmm.ports, port, value, 1);
	ok(fake.vmm.end == want, "%s", what);
	close(fake.vmm.power_fd);
	fake_done();
}

static void test_power(void)
{
	power(LAYOUT_I8042_PORT, 0xfe, VMM_RESET, "the keyboard controller resets");
	power(LAYOUT_I8042_PORT, 0xfd, VMM_RUNNING, "by one command only");
	power(LAYOUT_SLEEP_PORT, 0x20 | 5 << 2, VMM_POWER_OFF, "S5 switches off");
	power(LAYOUT_SLEEP_PORT, 5 << 2, VMM_RUNNING, "if it is enabled");
	power(LAYOUT_SLEEP_PORT, 0x20 | 3 << 2, VMM_RUNNING, "other states do nothing");
	power(LAYOUT_SLEEP_PORT + 1, 0x20 | 5 << 2, VMM_RUNNING, "nor does the status register");
	power(LAYOUT_PANIC_PORT, 1, VMM_PANIC, "a panic");
	power(LAYOUT_PANIC_PORT, 2, VMM_RUNNING, "a crash kernel goes on");
	fake_init();
	if (power_add(&fake.vmm, NULL) < 0)
		abort();
	ok_int(fake_read(&fake.vmm.ports, LAYOUT_PANIC_PORT, 1), 3, "what it knows");
	ok_int(fake_read(&fake.vmm.ports, LAYOUT_I8042_PORT, 1), 0, "a controller that is idle");
	ok_int(fake_read(&fake.vmm.ports, 0x70, 1), 0xff, "ports that there are not");
	close(fake.vmm.power_fd);
	fake_done();
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	test_registers();
	test_output();
	test_input();
	test_full();
	test_file();
	test_power();
	return tap_done();
}
