/* SPDX-License-Identifier: Apache-2.0 */
/* Virtqueues whose rings are the input: whatever is popped must be memory, and in order. */
#include "vmm_fuzz.h"

static void check(const struct vmm_memory *m, const struct virtq *q, const struct virtq_chain *c)
{
	const uint8_t *start = m->regions[0].host;
	size_t bytes[2] = { 0, 0 };

	if (c->head >= q->size || c->read_count + c->write_count > VIRTQ_SIZE_MAX ||
	    c->read != c->iov || c->write != c->iov + c->read_count)
		abort();
	for (unsigned i = 0; i < c->read_count + c->write_count; i++) {
		const uint8_t *at = c->iov[i].iov_base;

		if (!c->iov[i].iov_len || at < start || at >= start + FUZZ_MEMORY ||
		    c->iov[i].iov_len > (size_t)(start + FUZZ_MEMORY - at))
			abort();
		bytes[i >= c->read_count] += c->iov[i].iov_len;
	}
	if (bytes[0] != c->read_bytes || bytes[1] != c->write_bytes)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct virtq_chain c;
	struct fuzz_input in = { data, size };
	struct vmm_memory m;
	struct virtq q = { .size_max = VIRTQ_SIZE_MAX };
	uint8_t *rings;

	fuzz_memory(&m);
	rings = memory_at(&m, 0, 0x10000);
	virtq_reset(&q);
	q.size = (uint16_t)(1u << fuzz_u8(&in) % 9);
	q.avail_at = (gpa_t)fuzz_u8(&in) * 32;
	q.used_at = 0x4000;
	if (virtq_enable(&q, &m, fuzz_u8(&in) & 1) < 0)
		return 0;
	for (unsigned step = 0; step < 64 && in.left; step++) {
		size_t at = (size_t)fuzz_u16(&in) % 0x5000;

		/* the driver writes while the device reads */
		fuzz_bytes(&in, rings + at, fuzz_u8(&in));
		for (unsigned i = 0; i < 300 && virtq_pop(&q, &m, &c) > 0; i++) {
			check(&m, &q, &c);
			if (i % 7 == 3 && fuzz_u8(&in) & 1)
				virtq_unpop(&q);
			else
				virtq_push(&q, c.head, (uint32_t)c.write_bytes);
		}
		virtq_must_interrupt(&q);
		virtq_notifications(&q, step & 1);
	}
	return 0;
}
