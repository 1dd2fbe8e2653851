/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In the guest of tests/vmm/test_devices.py:
 *   vsock_guest serve PORT    one connection from the host; sends back what it gets, to its end
 *   vsock_guest connect PORT  sends standard input to the host's port and prints the answer
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <linux/vm_sockets.h>
#include <unistd.h>

static int copy(int from, int to)
{
	char piece[16384];
	ssize_t n;

	while ((n = read(from, piece, sizeof(piece))) > 0)
		for (ssize_t done = 0, w; done < n; done += w) {
			w = write(to, piece + done, (size_t)(n - done));
			if (w < 0)
				return 1;
		}
	return n < 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_vm a = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY };
	int s = socket(AF_VSOCK, SOCK_STREAM, 0), c;

	if (argc < 3 || s < 0)
		return 2;
	a.svm_port = (uint32_t)atoi(argv[2]);
	if (!strcmp(argv[1], "serve")) {
		if (bind(s, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(s, 1) < 0)
			return 3;
		puts("vsock: listening");
		fflush(stdout);
		c = accept(s, NULL, NULL);
		return c < 0 ? 4 : copy(c, c);
	}
	a.svm_cid = VMADDR_CID_HOST;
	if (connect(s, (struct sockaddr *)&a, sizeof(a)) < 0)
		return 5;
	if (copy(STDIN_FILENO, s))
		return 6;
	shutdown(s, SHUT_WR);
	return copy(s, STDOUT_FILENO);
}
