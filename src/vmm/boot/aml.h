/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing AML, ACPI's bytecode (ACPI 6.4, chapter 20), into a buffer. What has a length in front of
 * it is opened and closed: size_t at = aml_open(…); …; aml_close(b, at).
 */
#ifndef PROA_VMM_BOOT_AML_H
#define PROA_VMM_BOOT_AML_H

#include <stdbool.h>
#include <stdint.h>
#include "util/str.h"

void aml_byte(struct str_buf *b, uint8_t v);
void aml_word(struct str_buf *b, uint16_t v);
void aml_dword(struct str_buf *b, uint32_t v);
void aml_qword(struct str_buf *b, uint64_t v);

/* Room for a length of four bytes, and where it is; closing writes it. */
size_t aml_open(struct str_buf *b);
void aml_close(struct str_buf *b, size_t at);

size_t aml_scope(struct str_buf *b, const char *name);	/* a path, as it is encoded */
size_t aml_device(struct str_buf *b, const char *name); /* four characters */
size_t aml_method(struct str_buf *b, const char *name, uint8_t args);
void aml_name(struct str_buf *b, const char *name); /* Name (name, what follows) */
void aml_integer(struct str_buf *b, uint64_t v);
void aml_string(struct str_buf *b, const char *s);
/* "PNP0501" as an EISA ID */
void aml_eisa_id(struct str_buf *b, const char *id);

/* Name (_CRS, ResourceTemplate () {…}) */
struct aml_resources {
	size_t buffer, start, size_at;
};
struct aml_resources aml_resources_open(struct str_buf *b);
void aml_resources_close(struct str_buf *b, const struct aml_resources *r);
void aml_memory32(struct str_buf *b, uint32_t start, uint32_t bytes);
void aml_io(struct str_buf *b, uint16_t port, uint8_t count);
/* edge-triggered, active high, not shared */
void aml_interrupt(struct str_buf *b, uint32_t gsi);
/* a window of a PCI host bridge: kind 0 memory, 1 ports, 2 bus numbers */
void aml_window(struct str_buf *b, uint8_t kind, uint32_t min, uint32_t max);

#endif
