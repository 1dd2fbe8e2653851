/* SPDX-License-Identifier: Apache-2.0 */
/* Unix sockets in a directory whose path may be longer than a socket's address. */
#ifndef PROA_VM_SOCKET_H
#define PROA_VM_SOCKET_H

struct err;

/* A listening socket @dir/@name, for this user alone, in the place of an older one. Non-blocking.
 * The descriptor, or -errno. */
int vm_socket_listen(const char *dir, const char *name, int backlog, struct err *err);
/* A connection to it; -ESRCH when nobody listens. */
int vm_socket_connect(const char *dir, const char *name, struct err *err);

#endif
