/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What proa and the agent in a guest say to each other, over a virtio-serial port; also what a
 * second proa process (exec, kill) says to the one that owns the machine, over a Unix socket. The
 * document is docs/design/agent-protocol.md; this header is its numbers.
 *
 * It is `struct process_ops` and `struct process_events` of plan/backend.h as frames: the guest
 * runs the container backend, and the host drives it from afar. A frame is a header and at most
 * FRAME_MAX bytes. A session is one process: 0 is the machine's first, others are execs.
 *
 * Flow: of each stream at most STREAM_WINDOW bytes are under way unacknowledged, so neither side
 * ever has to hold more than that, and a slow reader of one stream does not hold up another.
 *
 * Each side checks every frame with frame_check() before it looks inside. To the host the guest is
 * hostile: a frame that breaks a rule ends the machine.
 */
#ifndef PROA_GUEST_PROTOCOL_H
#define PROA_GUEST_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

#define PROTOCOL_VERSION 2u
#define PROTOCOL_MAGIC	 0x616f7270u /* "proa" */
#define FRAME_HEADER	 8u
#define FRAME_MAX	 (32u << 10) /* payload bytes */
#define SESSION_FIRST	 0u

/* Numbers on the wire are little-endian, as both sides are. */
struct frame_header {
	uint32_t length; /* of the payload */
	uint16_t type;
	uint16_t session;
};

enum frame_type {
	FRAME_HELLO = 1, /* both: struct frame_hello; the guest begins, the host answers */

	/* host to guest, client to owner */
	FRAME_PLAN = 2,	     /* a piece of an encoded plan or plan_process, in order */
	FRAME_RUN = 3,	     /* struct frame_run: the plan is complete, run it (session 0) */
	FRAME_EXEC = 4,	     /* struct frame_exec: the plan_process is complete, run it */
	FRAME_INPUT = 5,     /* bytes for standard input */
	FRAME_INPUT_END = 6, /* nothing follows */
	FRAME_RESIZE = 7,    /* struct frame_resize */
	FRAME_SIGNAL = 8,    /* struct frame_signal */
	FRAME_CLOSE = 9,     /* nobody listens to this session any more; an exec goes on by itself,
			      * unless it is tied */

	/* both: struct frame_credit: so much of the stream was taken */
	FRAME_CREDIT = 10,

	/* guest to host, owner to client */
	FRAME_STARTED = 11, /* the command was executed */
	FRAME_OUTPUT = 12,  /* bytes of standard output, or of the terminal */
	FRAME_ERROUT = 13,  /* bytes of standard error */
	FRAME_EXITED = 14,  /* struct frame_exited and a message: the last of the session */

	/* client to owner only, answered by FRAME_EXITED: a signal to session 0 */
	FRAME_KILL = 15, /* struct frame_signal */

	/* host to guest, client to owner, answered by FRAME_EXITED: a plan was sent whose limits
	 * are to be those of the first process from now on */
	FRAME_UPDATE = 16,
	FRAME_TYPE_LAST = FRAME_UPDATE,
};

struct frame_hello {
	uint32_t magic, version;
	int64_t realtime_ns; /* host: its clock now; guest: 0 */
};

enum run_flags {
	RUN_SYNC = 1 << 0,  /* what was written must be on the disk before FRAME_EXITED */
	RUN_BINDS = 1 << 1, /* mount the share with the binds' sources */
	/* where the root is; without either, on the two disks */
	RUN_ROOT_SHARED = 1 << 2, /* a directory of the share: GUEST_SHARED_ROOT */
	RUN_ROOT_IMAGE = 1 << 3,  /* the disk GUEST_IMAGE_LABEL, to be mounted on GUEST_IMAGE */
	RUN_FLAGS_ALL = (1 << 4) - 1,
};

struct frame_run {
	uint32_t flags;
};

enum exec_flags {
	EXEC_TIED = 1 << 0, /* it ends when nobody listens to it any more */
	EXEC_FLAGS_ALL = (1 << 1) - 1,
};

struct frame_exec {
	uint32_t flags;
};

struct frame_resize {
	uint16_t rows, cols;
};

struct frame_signal {
	int32_t signo;
};

struct frame_credit {
	uint32_t stream; /* enum stream */
	uint32_t bytes;
};

struct frame_exited {
	int32_t code;	/* 0…255 */
	int32_t errnum; /* 0: the process's own end; else why it is not, and a message follows */
};

/* Where things are in a guest; the host writes these into the plan it sends. */
#define GUEST_DIR   "/proa"
#define GUEST_LOWER GUEST_DIR "/lower" /* the image: EROFS */
#define GUEST_DISK  GUEST_DIR "/disk"  /* the machine's own disk: ext4 */
#define GUEST_UPPER GUEST_DISK "/upper"
#define GUEST_WORK  GUEST_DISK "/work"
#define GUEST_BINDS GUEST_DIR "/binds" /* the share; source N of the plan's binds is in binds/N */

#define GUEST_SHARED_ROOT_NAME "root" /* in the share: a root that is a directory of the host */
#define GUEST_SHARED_ROOT      GUEST_BINDS "/" GUEST_SHARED_ROOT_NAME
#define GUEST_IMAGE	       GUEST_DIR "/image" /* a disk that is the root as it is */

#define GUEST_MODULES	  "/modules" /* in the initramfs, loaded in the order of their names */
#define GUEST_PORT_NAME	  "proa.agent"
#define GUEST_SHARE_TAG	  "proa-binds"
#define GUEST_ROOT_LABEL  "proa-root" /* serial numbers of the disks */
#define GUEST_DISK_LABEL  "proa-disk"
#define GUEST_IMAGE_LABEL "proa-image"

/* ---- frames.c ------------------------------------------------------------------------------- */

struct frame {
	uint16_t type, session;
	uint32_t length;
	const uint8_t *payload; /* valid until the next call on the reader */
};

enum frame_origin {
	FROM_GUEST, /* also from the owner to its client */
	FROM_HOST,
	FROM_CLIENT, /* as FROM_HOST, session 0 only, and FRAME_KILL */
};

/*
 * Is this a frame that @origin may send, with a payload of a size that its type allows? 0 or
 * -EBADMSG. The content is for the receiver of its type to check (frame_get_…).
 */
int frame_check(const struct frame *f, enum frame_origin origin);

/* Copies a fixed-size payload of @size bytes, which frame_check() has made sure of. */
void frame_get(const struct frame *f, void *ret, size_t size);

/* The end of a session: *ret_code, and @why (its errnum is 0 when the process ended by itself).
 * 0 or -EBADMSG. */
int frame_get_exited(const struct frame *f, int *ret_code, struct err *why);

/* Takes bytes apart into frames. Zero-initialise; holds at most one frame beyond what was taken. */
struct frame_reader {
	size_t start, end; /* of the bytes not yet taken */
	uint8_t bytes[2 * (FRAME_HEADER + FRAME_MAX)];
};

/* One read(2). Bytes read, 0 at the end, -errno (-EAGAIN: nothing now). */
int frame_reader_fill(struct frame_reader *r, int fd);
/* 1: *ret is the next frame, not yet checked. 0: more bytes are needed. -EBADMSG: it is too long.
 */
int frame_reader_next(struct frame_reader *r, struct frame *ret);

#endif
