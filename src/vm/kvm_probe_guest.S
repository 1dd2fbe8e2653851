/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest of the KVM probe: runs in 64-bit mode, ring 0, identity-mapped, interrupts off but in the last step, loaded at
 * KVM_PROBE_BASE. Before each step it writes the step's number (enum probe_step in kvm_probe.c) to
 * the shared page, so that the host knows which one failed, whatever became of the processor.
 * %rbx points to that page: 0 step (byte), 1 breakpoint seen (byte), 2 timer seen (byte), 8 feature bits, 64 FPU area.
 */
	.section .rodata.kvm_probe, "a", @progbits
	.global kvm_probe_start, kvm_probe_end, kvm_probe_breakpoint, kvm_probe_syscall, kvm_probe_timer
	.hidden kvm_probe_start, kvm_probe_end, kvm_probe_breakpoint, kvm_probe_syscall, kvm_probe_timer

#define PROBE_TIMER_VECTOR 0x30
#define FEATURE_POPCNT	   1
#define FEATURE_XSAVE	   2
#define FEATURE_CMPXCHG16B 4
#define FEATURE_SMAP	   8

	.code64
kvm_probe_start:
	movb	$1, (%rbx)		/* STEP_ENTERED */
	movl	$0, %eax
	xorl	%ecx, %ecx
	movq	%rbx, %r15
	cpuid
	movq	%r15, %rbx

	movb	$2, (%rbx)		/* STEP_BREAKPOINT */
	int3
	cmpb	$1, 1(%rbx)
	jne	fail

	movb	$3, (%rbx)		/* STEP_POPCNT */
	testb	$FEATURE_POPCNT, 8(%rbx)
	jz	1f
	movq	$0xff, %rax
	popcntq	%rax, %rax
	cmpq	$8, %rax
	jne	fail
1:
	movb	$4, (%rbx)		/* STEP_XSAVE */
	testb	$FEATURE_XSAVE, 8(%rbx)
	jz	1f
	xorl	%ecx, %ecx
	xorl	%edx, %edx
	movl	$3, %eax
	xsetbv
	xsave64	64(%rbx)
	xrstor64 64(%rbx)
1:
	movb	$5, (%rbx)		/* STEP_CMPXCHG16B */
	testb	$FEATURE_CMPXCHG16B, 8(%rbx)
	jz	1f
	xorl	%eax, %eax
	xorl	%edx, %edx
	movq	$7, %rcx
	movq	%rbx, %r15
	movq	$9, %rbx
	lock cmpxchg16b 32(%r15)
	movq	%r15, %rbx
	jnz	fail
	cmpq	$9, 32(%rbx)
	jne	fail
1:
	movb	$6, (%rbx)		/* STEP_SMAP */
	testb	$FEATURE_SMAP, 8(%rbx)
	jz	1f
	stac
	clac
1:
	movb	$7, (%rbx)		/* STEP_PRIVILEGED */
	movq	%cr3, %rax
	movq	%rax, %cr3
	invlpg	(%rbx)
	movl	$0xc0000080, %ecx	/* EFER */
	rdmsr
	wrmsr
	swapgs
	swapgs

	movb	$8, (%rbx)		/* STEP_USER: to ring 3, back by a system call */
	leaq	user(%rip), %rcx
	movl	$2, %r11d
	sysretq
user:
	movb	$9, (%rbx)		/* STEP_SYSCALL */
	syscall
	jmp	fail

kvm_probe_syscall:
	movw	%cs, %ax
	testw	$3, %ax
	jnz	fail
	movb	$10, (%rbx)		/* STEP_TIMER: the local APIC's, by its registers as MSRs */
	movl	$0x1b, %ecx		/* IA32_APIC_BASE: on, as x2APIC */
	rdmsr
	orl	$0xc00, %eax
	wrmsr
	xorl	%edx, %edx
	movl	$0x80f, %ecx		/* spurious vector, on */
	movl	$0x1ff, %eax
	wrmsr
	movl	$0x83e, %ecx		/* divide by one */
	movl	$0x0b, %eax
	wrmsr
	movl	$0x832, %ecx		/* the timer, once */
	movl	$PROBE_TIMER_VECTOR, %eax
	wrmsr
	movl	$0x838, %ecx		/* from here: a tenth of a millisecond of KVM's bus clock */
	movl	$100000, %eax
	wrmsr
	sti
1:	hlt
	cmpb	$1, 2(%rbx)
	jne	1b
	cli
	movb	$11, (%rbx)		/* STEP_DONE */
	outb	%al, $0xf4
2:	hlt
	jmp	2b

kvm_probe_timer:
	movb	$1, 2(%rbx)
	movl	$0x80b, %ecx		/* end of interrupt */
	xorl	%eax, %eax
	xorl	%edx, %edx
	wrmsr
	iretq

kvm_probe_breakpoint:
	movb	$1, 1(%rbx)
	iretq

fail:	ud2
kvm_probe_end:
	.section .note.GNU-stack, "", @progbits
