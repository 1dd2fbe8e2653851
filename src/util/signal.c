/* SPDX-License-Identifier: Apache-2.0 */
#include "util/signal.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <strings.h>
#include "util/mem.h"
#include "util/str.h"

int signal_parse(const char *text)
{
	static const struct {
		const char *name;
		int number;
	} names[] = {
		{ "HUP", SIGHUP },	 { "INT", SIGINT },   { "QUIT", SIGQUIT },
		{ "ILL", SIGILL },	 { "TRAP", SIGTRAP }, { "ABRT", SIGABRT },
		{ "BUS", SIGBUS },	 { "FPE", SIGFPE },   { "KILL", SIGKILL },
		{ "USR1", SIGUSR1 },	 { "SEGV", SIGSEGV }, { "USR2", SIGUSR2 },
		{ "PIPE", SIGPIPE },	 { "ALRM", SIGALRM }, { "TERM", SIGTERM },
		{ "CHLD", SIGCHLD },	 { "CONT", SIGCONT }, { "STOP", SIGSTOP },
		{ "TSTP", SIGTSTP },	 { "TTIN", SIGTTIN }, { "TTOU", SIGTTOU },
		{ "URG", SIGURG },	 { "XCPU", SIGXCPU }, { "XFSZ", SIGXFSZ },
		{ "VTALRM", SIGVTALRM }, { "PROF", SIGPROF }, { "WINCH", SIGWINCH },
		{ "IO", SIGIO },	 { "PWR", SIGPWR },   { "SYS", SIGSYS },
	};
	uint32_t n;

	if (str_to_u32(text, &n) == 0)
		return n >= 1 && n <= 64 ? (int)n : -EINVAL;
	if (!strncasecmp(text, "SIG", 3))
		text += 3;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcasecmp(names[i].name, text))
			return names[i].number;
	/* the kernel's numbers: the C library keeps the first two for itself */
	if (!strcasecmp(text, "RTMIN"))
		return 34;
	if (!strcasecmp(text, "RTMAX"))
		return 64;
	if (!strncasecmp(text, "RTMIN+", 6) && str_to_u32(text + 6, &n) == 0 && n <= 30)
		return 34 + (int)n;
	if (!strncasecmp(text, "RTMAX-", 6) && str_to_u32(text + 6, &n) == 0 && n <= 30)
		return 64 - (int)n;
	return -EINVAL;
}

void signal_set_foreign(sigset_t *ret)
{
	static const int own[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS };

	sigfillset(ret);
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		sigdelset(ret, own[i]);
}
