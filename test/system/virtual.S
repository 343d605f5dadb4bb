/*
 * Instructions in virtual-8086 mode, with every IOPL, with and without the virtual-8086 mode extensions, with and
 * without a pending virtual interrupt. What ends a case is HLT, which is privileged. The log's `v_cpl` is the kind of
 * mode: IOPL in bits 0 and 1, CR4.VME in bit 2, VIP in bit 3, VIF in bit 4.
 */
#include "boot.S"

        .set CODE0, 0x08
        .set DATA0, 0x10
        .set TSS, 0x18
        .set STUB, 0x8000        /* HLT, where the vectors of the 8086 program point */
        .set INNER0, 0x40000
        .set STACK0, 0x48000
        .set OUTER, 0x9000
        .set MODES, 32

main:
        .code16
        lgdtl gdtr - start
        mov %cr0, %eax
        or $1, %al
        mov %eax, %cr0
        ljmpl $CODE0, $flat
        .code32
flat:
        mov $DATA0, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %ss
        mov $STACK0, %esp
        movl $LOG, LOGP
        lidt idtr
        cld
        mov $TSS, %eax
        ltr %ax
        movl $0, v_op
next_op:
        movl $0, v_cpl
next_mode:
        movl $0, v_sel
next_sel:
        cld
        mov $STACK0, %esp
        xor %edi, %edi
        mov $0x100, %ecx
        mov $STUB, %eax
        rep stosl
        movb $0xf4, STUB
        movb $0xf4, 0x18000      /* for processors that do not check the limit of CS */
        xor %eax, %eax
        mov $0x8e00, %edi
        mov $0x100, %ecx
        rep stosl
        mov $INNER0 - 0x80, %edi
        mov $0x28, %ecx
        rep stosl
        movl $0x05060304, OUTER
        movl $0x0d0e0b0c, OUTER + 4

        mov v_cpl, %ebx
        mov %ebx, %eax
        shr $2, %eax
        and $1, %eax
        mov %eax, %cr4
        mov %ebx, %edx
        and $3, %edx
        shl $12, %edx
        mov %ebx, %ecx
        and $8, %ecx
        shl $20 - 3, %ecx
        or %ecx, %edx
        and $0x10, %ebx
        shl $19 - 4, %ebx
        or %ebx, %edx
        or $0x20002, %edx
        push $0x0500
        push $0x0400
        push $0x0300
        push $0x0200
        push $0x0800
        push $0x1000
        push %edx
        push $0x1000
        mov v_op, %ebx
        mov ops(, %ebx, 4), %ebx
        sub $ORIGIN, %ebx
        push %ebx
        mov v_sel, %eax
        xor %ecx, %ecx
        mov $0x1234abcd, %edx
        mov $0x5678, %ebx
        mov $0xbbbb0ff0, %ebp
        mov $0x2000, %esi
        iret

resume:
        mov v_op, %ebx
        incl v_sel
        mov limits(, %ebx, 4), %eax
        cmp %eax, v_sel
        jb next_sel
        incl v_cpl
        cmpl $MODES, v_cpl
        jb next_mode
        incl v_op
        cmpl $(ops_end - ops) / 4, v_op
        jb next_op
        mov $EXIT_PORT, %edx
        mov $0, %al
        out %al, %dx
        hlt

        .code16
        /* The low 4 bits of AX choose IF, NT, DF and IOPL bits of a flags image in AX. */
        .macro image
        mov %ax, %cx
        and $15, %ax
        shl $9, %ax
        mov %ax, %dx
        and $0x600, %ax
        and $0x1800, %dx
        shl $2, %dx
        or %dx, %ax
        or $2, %ax
        .endm
        op cli_
        cli
        hlt
        op sti_
        sti
        hlt
        op pushf_
        pushf
        hlt
        op pushfl_
        pushfl
        hlt
        op popf_
        image
        push %ax
        popf
        hlt
        op popfl_
        image
        push $0x3f
        push %ax
        popfl
        hlt
        op popf_tf
        push $0x102
        popf
        hlt
        op iret_
        image
        push %ax
        push $0x0700
        push $0x1000
        iret
        op iretl_
        image
        push $0x24
        push %ax
        pushl $0x0700
        pushl $0x1000
        iretl
        op int_n
        mov %ax, %bx
        shl $2, %bx
        add $(ints - start), %bx
        jmp *%bx
        op int_3
        int3
        hlt
        op into_
        mov $0x7f, %al
        inc %al
        into
        hlt
        op out8
        out %al, $0x80
        hlt
        op out8_denied
        out %al, $0x81
        hlt
        op out16_denied
        out %ax, $0x80
        hlt
        op out_beyond
        mov $0x400, %dx
        out %al, %dx
        hlt
        op segments
        push %cs
        pop %ds
        mov $0xffff, %ax
        mov %ax, %es
        mov %es:0xffff, %al
        mov $0x0810, %ax
        mov %ax, %ss
        mov $0x1000 - 0x100, %sp
        push %ax
        lds %cs:pointer - start, %di
        hlt
        op far_jump
        ljmp $0x0700, $0x1000
        op far_call
        lcall $0x0700, $0x1000
        op far_call32
        lcalll $0x0700, $0x1000
        op far_beyond
        ljmpl $0x0700, $0x11000
        op far_indirect
        lcall *%cs:pointer - start
        op far_return
        push $0x0700
        push $0x1000
        lret $4
        op far_return_beyond
        pushl $0x0700
        pushl $0x11000
        lretl
        op enter_n
        mov $0x1000 - 8, %bp
        and $7, %ax
        shl $3, %ax
        add $(enters - start), %ax
        jmp *%ax
        op pusha_
        pusha
        popal
        hlt
        op pusha_wrap
        mov $8, %sp
        pusha
        hlt
        op push_odd
        mov $1, %sp
        push %ax
        hlt
        op word_at_end
        mov 0xffff, %ax
        hlt
        op bound_
        bound %ax, %cs:bounds - start
        hlt
        op undefined_
        sldt %ax
        hlt
        op arpl_
        arpl %ax, %ax
        hlt
        op lar_
        lar %ax, %ax
        hlt
        op control
        mov %cr0, %eax
        hlt
        op lgdt_
        lgdt %cs:gdtr - start
        hlt
        op smsw_
        smsw %ax
        hlt
        op cpuid_free
        clts
        hlt
        op decimal
        mov %ax, %cx
        daa
        xchg %ax, %cx
        das
        mov %ax, %dx
        mov %cx, %ax
        aaa
        push %ax
        aas
        push %ax
        aam
        push %ax
        aad
        mov $2, %bl
        and $0x02, %bl
        hlt
        op divide
        aam $0
        hlt

        .balign 4
ints:
        .set n, 0
        .rept 256
        int $n
        .balign 4
        .set n, n + 1
        .endr
        .balign 8
enters:
        .set n, 0
        .rept 8
        enter $0x10, $n
        hlt
        .balign 8
        .set n, n + 1
        .endr
pointer: .word 0x1000, 0x0700
bounds: .word 10, 20

        .code32
#include "handler.S"

        .balign 4
dumps:
        .long OUTER - 0x40, 18
        .long INNER0 - 0x30, 12
        .long OUTER + 0xf0, 8
dumps_end:

ops:    .long cli_, sti_, pushf_, pushfl_, popf_, popfl_, popf_tf, iret_, iretl_, int_n, int_3, into_, out8, out8_denied, out16_denied
        .long out_beyond, segments, far_jump, far_call, far_call32, far_beyond, far_indirect, far_return, far_return_beyond, enter_n
        .long pusha_, pusha_wrap, push_odd, word_at_end, bound_, undefined_, arpl_, lar_, control, lgdt_, smsw_, cpuid_free, decimal, divide
ops_end:
limits: .long 1, 1, 1, 1, 16, 16, 1, 16, 16, 256, 1, 1, 1, 1, 1
        .long 1, 1, 1, 1, 1, 1, 1, 1, 1, 8
        .long 1, 1, 1, 1, 32, 1, 1, 1, 1, 1, 1, 1, 256, 1
v_op:   .long 0
v_cpl:  .long 0
v_sel:  .long 0

gdtr:   .word gdt_end - gdt - 1
        .long gdt
idtr:   .word 0x7ff
        .long idt

        .balign 8
gdt:    .quad 0
        descriptor 0, 0xfffff, 0xc09a
        descriptor 0, 0xfffff, 0xc092
        .word 0xa8, tss - start, 0x8900 | ORIGIN >> 16, 0
gdt_end:

        .balign 4
tss:    .long 0, INNER0, DATA0
        .org tss + 0x66
        .word 0x88
        .fill 32, 1, 0xaa        /* odd vectors go to the monitor */
        .fill 16, 1, 0
        .fill 17, 1, 0xfe
        .balign 8
idt:
        .set n, 0
        .rept 0x90
        .word stubs - start + n * 16, CODE0, 0x8e00 + (n >= 0x80 || n == 3 || n == 4) * -0x6000, ORIGIN >> 16
        .set n, n + 1
        .endr
        .set n, 0
        .rept 0x70
        .word stubs - start + n * 16, CODE0, 0xee00, ORIGIN >> 16
        .set n, n + 1
        .endr
#include "end.S"
