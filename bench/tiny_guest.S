/* SPDX-License-Identifier: Apache-2.0 */
/* The least of a kernel with a PVH entry: writes "X\n" to the serial port, and halts. */
	.section .note.pvh, "a", @note
	.long 4, 4, 18
	.asciz "Xen"
	.long _start
	.text
	.code32
	.global _start
_start:
	movw $0x3f8, %dx
	movb $'X', %al
	outb %al, %dx
	movb $'\n', %al
	outb %al, %dx
1:	hlt
	jmp 1b
