/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In the guests of tests/vmm, what busybox lacks:
 *   guest_tool serve PORT               one vsock connection from the host: sends back what it gets
 *   guest_tool connect PORT             sends standard input to the host's vsock port, prints the
 * answer guest_tool udp ADDRESS PORT TEXT    sends a datagram, prints the one that comes back
 */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
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

static int udp(const char *address, const char *port, const char *text)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
	struct timeval patience = { .tv_sec = 5 };
	int s = socket(AF_INET, SOCK_DGRAM, 0);
	char back[2048];
	ssize_t n;

	inet_pton(AF_INET, address, &a.sin_addr);
	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (sendto(s, text, strlen(text), 0, (struct sockaddr *)&a, sizeof(a)) < 0)
		return 7;
	n = recv(s, back, sizeof(back), 0);
	if (n < 0)
		return 8;
	printf("%.*s\n", (int)n, back);
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_vm a = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY };
	int s = socket(AF_VSOCK, SOCK_STREAM, 0), c;

	if (argc == 5 && !strcmp(argv[1], "udp"))
		return udp(argv[2], argv[3], argv[4]);
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
