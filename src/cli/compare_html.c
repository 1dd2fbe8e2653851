/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page: one file, no script, nothing loaded from elsewhere. Plots are SVG, drawn here; each bar
 * carries its value as text, so that nothing is said by colour or length alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "cli/compare.h"
#include "util/io.h"
#include "util/mem.h"
#include "util/str.h"

#define BAR_LEFT   170	 /* in the picture's units, of which it is 800 wide */
#define BAR_WIDTH  510.0 /* the longest bar */
#define ROW_HEIGHT 26

static const char style[] =
	"body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;"
	"color:#1b1f24;background:#fff}"
	"h1{font-size:1.6rem;margin-bottom:0}h2{font-size:1.1rem;margin:2rem 0 .3rem}"
	"p{margin:.3rem 0 1rem;color:#57606a}svg{width:100%;height:auto}text{font:13px "
	"system-ui,sans-serif}"
	".c{fill:#0a6c74}.v{fill:#b4531a}.l{fill:#1b1f24}.d{fill:#1b1f24;opacity:.55}"
	"table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.25rem .6rem "
	".25rem 0;"
	"border-bottom:1px solid #d0d7de;font-variant-numeric:tabular-nums}"
	"@media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}p{color:#9198a1}"
	".l,.d{fill:#e6edf3}.c{fill:#3aa9b3}.v{fill:#e08a4c}td,th{border-color:#30363d}}";

static void add_escaped(struct str_buf *b, const char *s)
{
	for (; *s; s++) {
		switch (*s) {
		case '&': str_buf_puts(b, "&amp;"); break;
		case '<': str_buf_puts(b, "&lt;"); break;
		case '>': str_buf_puts(b, "&gt;"); break;
		case '"': str_buf_puts(b, "&quot;"); break;
		default: str_buf_add(b, s, 1);
		}
	}
}

static void format_ns(double ns, char buf[32])
{
	snprintf(buf, 32,
		 ns < 1e6   ? "%.0f µs"
		 : ns < 1e8 ? "%.1f ms"
		 : ns < 1e9 ? "%.0f ms"
			    : "%.2f s",
		 ns < 1e6   ? ns / 1e3
		 : ns < 1e9 ? ns / 1e6
			    : ns / 1e9);
}

static void format_bytes(double bytes, char buf[32])
{
	str_human_bytes((uint64_t)bytes, buf);
}

struct bar {
	const char *label;
	double value; /* 0: not measured */
	bool vm;
	const struct compare_times *dots; /* single runs, shown on the bar; may be NULL */
};

/* One bar with its label before and its value behind it; single runs are dots on it. */
static void add_bar(struct str_buf *b, const struct bar *bar, size_t y, double longest,
		    void (*format)(double v, char buf[32]))
{
	double scale = longest > 0 ? BAR_WIDTH / longest : 0;
	double width = bar->value > 0 ? MAX(bar->value * scale, 1.0) : 0, end = width;
	char text[32] = "not measured";

	if (bar->value > 0)
		format(bar->value, text);
	str_buf_printf(b, "<text class=\"l\" x=\"%d\" y=\"%zu\" text-anchor=\"end\">%s</text>",
		       BAR_LEFT - 10, y + 17, bar->label);
	str_buf_printf(b,
		       "<rect class=\"%s\" x=\"%d\" y=\"%zu\" width=\"%.1f\" height=\"16\" "
		       "rx=\"2\"/>",
		       bar->vm ? "v" : "c", BAR_LEFT, y + 4, width);
	for (unsigned d = 0; bar->dots && d < bar->dots->count; d++) {
		double x = (double)bar->dots->ns[d] * scale;

		str_buf_printf(b, "<circle class=\"d\" cx=\"%.1f\" cy=\"%zu\" r=\"3\"/>",
			       BAR_LEFT + x, y + 12);
		end = MAX(end, x);
	}
	str_buf_printf(b, "<text class=\"l\" x=\"%.1f\" y=\"%zu\">%s</text>", BAR_LEFT + end + 10,
		       y + 17, text);
}

static void add_plot(struct str_buf *b, const char *title, const char *note, const struct bar *bars,
		     size_t n, void (*format)(double v, char buf[32]))
{
	double longest = 0;

	for (size_t i = 0; i < n; i++) {
		longest = MAX(longest, bars[i].value);
		if (bars[i].dots)
			longest = MAX(longest, (double)compare_max(bars[i].dots));
	}
	str_buf_printf(b,
		       "<h2>%s</h2><p>%s</p><svg viewBox=\"0 0 800 %zu\" role=\"img\" "
		       "aria-label=\"%s\">",
		       title, note, n * ROW_HEIGHT + 4, title);
	for (size_t i = 0; i < n; i++)
		add_bar(b, &bars[i], i * ROW_HEIGHT, longest, format);
	str_buf_puts(b, "</svg>");
}

static void add_works(struct str_buf *b, const struct compare *c)
{
	struct bar bars[COMPARE_WORKS * 2];
	char labels[COMPARE_WORKS * 2][40];
	size_t n = 0;

	for (int i = 0; i < COMPARE_WORKS; i++)
		for (int s = 0; s < 2; s++) {
			snprintf(labels[n], sizeof(labels[n]), "%s, %s", compare_work_names[i],
				 s ? "vm" : "container");
			bars[n] = (struct bar){ labels[n],
						(double)compare_median(&c->sides[s].work[i]),
						s == 1, NULL };
			n++;
		}
	add_plot(b, "The same work inside",
		 "Median time of a fixed piece of work; shorter is faster.", bars, n, format_ns);
}

static void add_facts(struct str_buf *b, const struct compare *c)
{
	str_buf_puts(
		b,
		"<h2>What is shared</h2><table><tr><th></th><th>Container</th><th>VM</th></tr><tr>"
		"<td>Kernel seen inside</td>");
	for (int s = 0; s < 2; s++) {
		const struct compare_side *side = &c->sides[s];

		str_buf_puts(b, "<td>");
		add_escaped(b, side->kernel[0] ? side->kernel : "not measured");
		if (side->kernel[0])
			str_buf_puts(b, side->own_kernel ? " (its own)" : " (the host's)");
		str_buf_puts(b, "</td>");
	}
	str_buf_puts(b, "</tr><tr><td>Shared with the host</td><td>kernel, page cache, clock</td>"
			"<td>processor, directories of -v</td></tr></table>");
	for (int s = 0; s < 2; s++)
		if (c->sides[s].skipped[0]) {
			str_buf_printf(b,
				       "<p>The %s was not measured: ", s ? "machine" : "container");
			add_escaped(b, c->sides[s].skipped);
			str_buf_puts(b, "</p>");
		}
}

static void add_page(struct str_buf *b, const struct compare *c)
{
	const struct compare_side *x = &c->sides[0], *y = &c->sides[1];
	const struct bar start[] = {
		{ "container", (double)compare_median(&x->start), false, &x->start },
		{ "vm", (double)compare_median(&y->start), true, &y->start },
	};
	const struct bar command[] = {
		{ "container", (double)compare_median(&x->command), false, &x->command },
		{ "vm", (double)compare_median(&y->command), true, &y->command },
	};
	const struct bar memory[] = { { "container", (double)x->memory_bytes, false, NULL },
				      { "vm", (double)y->memory_bytes, true, NULL } };
	const struct bar disk[] = { { "container", (double)x->disk_bytes, false, NULL },
				    { "vm", (double)y->disk_bytes, true, NULL },
				    { "vm, for all images", (double)y->shared_disk_bytes, true,
				      NULL } };
	time_t now = time(NULL);
	char date[32];

	strftime(date, sizeof(date), "%Y-%m-%d %H:%M UTC", gmtime(&now));
	str_buf_puts(
		b,
		"<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" "
		"content=\"width=device-width\"><title>proa compare: ");
	add_escaped(b, c->image);
	str_buf_printf(b, "</title><style>%s</style><h1>", style);
	add_escaped(b, c->image);
	str_buf_printf(b, "</h1><p>As a container and as a virtual machine, %u run%s each, %s.</p>",
		       c->runs, c->runs == 1 ? "" : "s", date);
	add_plot(b, "Start",
		 "From the command to the application's first instruction: median, and each run as "
		 "a dot.",
		 start, ARRAY_SIZE(start), format_ns);
	if (c->command && c->command[0])
		add_plot(b, "The command", "The whole command, from start to end.", command,
			 ARRAY_SIZE(command), format_ns);
	add_works(b, c);
	add_plot(b, "Memory",
		 "Everything proa runs beside the application (proportional set size).", memory,
		 ARRAY_SIZE(memory), format_bytes);
	add_plot(b, "Disk", "The image, ready to run.", disk, ARRAY_SIZE(disk), format_bytes);
	add_facts(b, c);
	str_buf_puts(b, "</html>\n");
}

int compare_write_html(const struct compare *c, const char *path, struct err *err)
{
	struct str_buf b = { 0 };
	int r;

	add_page(&b, c);
	r = b.failed ? -ENOMEM : io_write_file(AT_FDCWD, path, b.data, b.len, 0644, 0);
	str_buf_done(&b);
	return r < 0 ? err_sys(err, -r, "--html: write %s", path) : 0;
}
