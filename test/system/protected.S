/*
 * Every kind of descriptor, met by every kind of access at every privilege: far JMP, CALL, RET, IRET, INT, selector
 * loads and examinations, call gates, task switches. Each case runs alone on pristine tables and ends in an exception
 * or in INT 0x81, whose handler logs the registers and both stacks.
 */
#include "boot.S"

        .set CODE0, 0x08
        .set DATA0, 0x10
        .set CODE3, 0x38
        .set DATA3, 0x40
        .set TSS, 0x48
        .set LDT, 0x50
        .set STUB, 0x8000        /* INT 0x81, where transfers go */
        .set GDT, 0x60000
        .set TABLES, 0x62000     /* task-state segments and the LDT */
        .set STACK0, 0x48000     /* the main program's */
        .set INNER0, 0x40000
        .set INNER1, 0x42000
        .set INNER2, 0x44000
        .set OUTER, 0x9000       /* of the code under test */

main:
        .code16
        lgdtl pristine_gdtr - start
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
        movw $0x81cd, STUB
        lidt idtr
        cld
        movl $0, v_op
next_op:
        movl $0, v_cpl
next_cpl:
        movl $0, v_sel
next_sel:
        /* Pristine tables, each time */
        mov $DATA0, %eax
        mov %eax, %ss
        mov $STACK0, %esp
        mov %eax, %ds
        mov %eax, %es
        cld
        mov $pristine_gdt, %esi
        mov $GDT, %edi
        mov $(pristine_gdt_end - pristine_gdt) / 4, %ecx
        rep movsl
        mov $pristine_tables, %esi
        mov $TABLES, %edi
        mov $(pristine_tables_end - pristine_tables) / 4, %ecx
        rep movsl
        xor %eax, %eax
        mov $0x8f00, %edi
        mov $0x80, %ecx
        rep stosl
        mov $0xa000 - 0x80, %edi
        mov $0x28, %ecx
        rep stosl
        mov $INNER0 - 0x80, %edi
        mov $0x28, %ecx
        rep stosl
        mov $INNER1 - 0x80, %edi
        mov $0x28, %ecx
        rep stosl
        mov $INNER2 - 0x80, %edi
        mov $0x28, %ecx
        rep stosl
        mov $STACK0 - 0x80, %edi
        mov $0x28, %ecx
        rep stosl
        mov $OUTER, %edi
        movl $0x11111111, 0(%edi)
        movl $0x22222222, 4(%edi)
        movl $0x33333333, 8(%edi)
        lgdt gdtr
        ljmp $CODE0, $1f
1:      clts
        mov $TSS, %eax
        ltr %ax
        mov $LDT, %eax
        lldt %ax
        mov v_sel, %eax
        movl $STUB, farptr
        mov %ax, farptr + 4
        movw $STUB, farptr16
        mov %ax, farptr16 + 2
        mov %ax, TABLES          /* link of the main TSS */

        /* To the code under test */
        mov v_op, %ebx
        mov ops(, %ebx, 4), %ebx
        mov $DATA3 + 3, %edx
        mov %edx, %ds
        mov %edx, %es
        mov %edx, %fs
        mov %edx, %gs
        mov %ss:v_cpl, %ecx
        test %ecx, %ecx
        jz 1f
        mov %ecx, %edx
        shl $4, %edx
        lea DATA0(%edx, %ecx), %ebp
        push %ebp
        push $OUTER
        push $0x3002
        lea CODE0(%edx, %ecx), %ebp
        push %ebp
        push %ebx
        mov $0xcccccccc, %ebp
        iret
1:      push $0x3002
        popf
        mov $OUTER, %esp
        mov $0xcccccccc, %ebp
        jmp *%ebx

        /* From the handler: on to the next case */
resume:
        mov v_sel, %eax
        mov v_op, %ebx
        mov limits(, %ebx, 4), %edx
        inc %eax
        cmp $0x101, %edx
        jb 2f
        /* Of all but the first descriptors RPL 0 and 3 must do, and the LDT is small. */
        cmp $0x80, %eax
        jb 2f
        test $4, %al
        jnz 1f
        test $1, %al
        jz 2f
        or $3, %al
        jmp 2f
1:      and $~7, %eax
        add $8, %eax
2:      mov %eax, v_sel
        cmp %edx, %eax
        jb next_sel
        incl v_cpl
        cmpl $4, v_cpl
        jb next_cpl
        incl v_op
        cmpl $(ops_end - ops) / 4, v_op
        jb next_op
        mov $EXIT_PORT, %edx
        mov $0, %al
        out %al, %dx
        hlt

        /* What is done with the selector in AX. DS to GS: DATA3. */
        op op_jmp
        ljmp *farptr
        op op_call
        lcall *farptr
        done
        op op_jmp16
        ljmpw *farptr16
        op op_call16
        lcallw *farptr16
        done
        op op_retf
        /* The outer stack is the one that belongs to the selector's RPL. */
        mov %eax, %ebx
        and $3, %ebx
        mov %ebx, %edx
        shl $4, %edx
        lea DATA0(%edx, %ebx), %edx
        push %edx
        push $OUTER + 0x40
        push $0x77777777
        push %eax
        push $STUB
        lret $4
        op op_retf16
        mov %eax, %ebx
        and $3, %ebx
        mov %ebx, %edx
        shl $4, %edx
        lea DATA0(%edx, %ebx), %edx
        pushw %dx
        pushw $OUTER + 0x40
        pushw %ax
        pushw $STUB
        lretw
        op op_iret
        mov %eax, %ebx
        and $3, %ebx
        mov %ebx, %edx
        shl $4, %edx
        lea DATA0(%edx, %ebx), %edx
        push %edx
        push $OUTER + 0x40
        push $0x3f1ad7 & ~0x20000 & ~0x100
        push %eax
        push $STUB
        iret
        op op_iret16
        mov %eax, %ebx
        and $3, %ebx
        mov %ebx, %edx
        shl $4, %edx
        lea DATA0(%edx, %ebx), %edx
        pushw %dx
        pushw $OUTER + 0x40
        pushw $0x1ad7
        pushw %ax
        pushw $STUB
        iretw
        op op_iret_ss
        push %eax
        push $OUTER + 0x40
        push $2
        push $CODE3 + 3
        push $STUB
        iret
        op op_retf_ss
        push %eax
        push $OUTER + 0x40
        push $CODE3 + 3
        push $STUB
        lret
        op op_iret_nt
        pushf
        orl $0x4000, (%esp)
        popf
        iret
        op op_mov_ds
        mov %eax, %ds
        done
        op op_mov_ss
        mov %eax, %ss
        nop
        done
        op op_pop_fs
        push %eax
        pop %fs
        done
        op op_les
        les farptr, %ecx
        done
        op op_lss
        lss farptr, %esp
        nop
        done
        op op_lar
        stc
        lar %eax, %ecx
        done
        op op_lar16
        lar %ax, %cx
        done
        op op_lsl
        lsl %eax, %ecx
        done
        op op_verr
        verr %ax
        done
        op op_verw
        verw %ax
        done
        op op_arpl
        mov $2, %ecx
        arpl %cx, %ax
        done
        op op_lldt
        lldt %ax
        done
        op op_ltr
        ltr %ax
        done
        op op_int
        mov %eax, %ecx
        lea ints(, %eax, 4), %eax
        jmp *%eax
        op op_int3
        int3
        done
        op op_into
        mov $0x7f, %al
        inc %al
        into
        done
        op op_int1
        .byte 0xf1
        done

        .balign 4
ints:
        .set n, 0
        .rept 256
        int $n
        .balign 4
        .set n, n + 1
        .endr

        /* Handlers of vectors 0 to 31 and 0x80 up to 0x8f: word frames of 32 bits, all to `handler` */
#include "handler.S"

        .balign 4
dumps:
        .long OUTER - 0x40, 20
        .long INNER0 - 0x30, 12
        .long INNER1 - 0x30, 12
        .long INNER2 - 0x30, 12
        .long 0xa000 - 0x30, 12
        .long TABLES, 2
        .long TABLES + 0x20, 18
        .long GDT + TSS, 2
dumps_end:

ops:
        .long op_jmp
        .long op_call
        .long op_jmp16
        .long op_call16
        .long op_retf
        .long op_retf16
        .long op_iret
        .long op_iret16
        .long op_iret_ss
        .long op_retf_ss
        .long op_iret_nt
        .long op_mov_ds
        .long op_mov_ss
        .long op_pop_fs
        .long op_les
        .long op_lss
        .long op_lar
        .long op_lar16
        .long op_lsl
        .long op_verr
        .long op_verw
        .long op_arpl
        .long op_lldt
        .long op_ltr
        .long op_int
        .long op_int3
        .long op_into
        .long op_int1
ops_end:
        /* One more than the last selector (or vector) of each */
limits:
        .long SELECTORS
        .long SELECTORS
        .long SELECTORS
        .long SELECTORS
        .long SELECTORS
        .long SELECTORS
        .long SELECTORS
        .long SELECTORS
        .long SELECTORS
        .long SELECTORS
        .long SELECTORS
        .long SELECTORS
        .long SELECTORS
        .long SELECTORS
        .long SELECTORS
        .long SELECTORS
        .long SELECTORS
        .long SELECTORS
        .long SELECTORS
        .long SELECTORS
        .long SELECTORS
        .long SELECTORS
        .long SELECTORS
        .long SELECTORS
        .long 0x100
        .long 1
        .long 1
        .long 1
v_op:   .long 0
v_cpl:  .long 0
v_sel:  .long 0
farptr: .long 0
        .word 0
farptr16: .word 0, 0
        .balign 4

pristine_gdtr:
        .word pristine_gdt_end - pristine_gdt - 1
        .long pristine_gdt
gdtr:   .word pristine_gdt_end - pristine_gdt - 1
        .long GDT
idtr:   .word 0x7ff
        .long idt

        .balign 8
pristine_gdt:
        .quad 0
        .set n, 0
        .rept 4
        descriptor 0, 0xfffff, 0xc09a|(n<<5)
        descriptor 0, 0xfffff, 0xc092|(n<<5)
        .set n, n + 1
        .endr
        descriptor (TABLES), 0x67, 0x89
        descriptor (TABLES+0x400), 0x4f, 0x82
        descriptor 0, 0xfffff, 0x40fa  /* 0x58: 1 MiB */
        descriptor 0, 0x7fff, 0x40fa  /* 0x60: too small for the stub */
        descriptor 0, 0xffff, 0x00fa  /* 0x68: 16 bits */
        descriptor 0, 0xffff, 0x00f2  /* 0x70: 16-bit data */
        descriptor 0, 0x3fff, 0x40f6  /* 0x78: expand-down */
        /* Every type, presence and privilege */
        .set p, 0
        .rept 2
        .set d, 0
        .rept 4
        .set t, 0
        .rept 32
        .if t == 1 || t == 3
        descriptor (TABLES+0x100), 0x2b, t|(d<<5)|(p<<7)
        .elseif t == 9 || t == 11
        descriptor (TABLES+0x80), 0x67, t|(d<<5)|(p<<7)
        .elseif t == 2
        descriptor (TABLES+0x400), 0x4f, t|(d<<5)|(p<<7)
        .elseif t == 5
        gate (16+4*32+9)*8, 0, t|(d<<5)|(p<<7)
        .elseif t == 4 || t == 12 || t == 6 || t == 7 || t == 14 || t == 15
        gate CODE0, STUB, t|(d<<5)|(p<<7), 2
        .else
        descriptor 0, 0xfffff, 0xc000|t|(d<<5)|(p<<7)
        .endif
        .set t, t + 1
        .endr
        .set d, d + 1
        .endr
        .set p, p + 1
        .endr
        /* Call gates to other segments: each level, conforming, data, none, absent, beyond the table, too small */
        .macro gates type
        .set d, 0
        .rept 4
        gate (8+16*d), STUB, \type, 3
        gate (16+(4+d)*32+0x1e)*8, STUB, \type, 1
        .set d, d + 1
        .endr
        gate DATA0, STUB, \type
        gate 0, STUB, \type
        gate (16+0x1a)*8, STUB, \type
        gate 0xfff8, STUB, \type
        gate 0x60, STUB, \type
        gate CODE0+3, STUB, \type, 31
        gate 0x0c, STUB, \type
        .endm
        gates 0xec
        gates 0xe4
        /* Task-state segments with something wrong or special */
        .set t, 0
        .rept 16
        descriptor (TABLES+0x480+t*0x80), 0x67, 0xe9
        .set t, t + 1
        .endr
        descriptor (TABLES+0x80), 0x66, 0xe9
        descriptor (TABLES+0x100), 0x2a, 0xe1
        gate 0x4c, 0, 0xe5
        gate 0, 0, 0xe5
        gate CODE0, 0, 0xe5
        gate TSS, 0, 0xe5
        descriptor (TABLES+0x80), 0x67, 0x6b
        descriptor (TABLES+0x80), 0x67, 0xeb
        descriptor (TABLES+0x480+16*0x80), 0x67, 0x89
pristine_gdt_end:
        .set DOUBLE_FAULT, pristine_gdt_end - pristine_gdt - 8
        .set SELECTORS, pristine_gdt_end - pristine_gdt + 16

        /* A 32-bit TSS for tasks under test */
        .macro tss32 cs=CODE0, ss=DATA0, ds=DATA3, ldt=LDT, flags=0x3002, trap=0, eip=STUB, es=0
        .long 0, INNER0, DATA0, INNER1, 0x21, INNER2, 0x32, 0
        .long \eip, \flags, 0xa0a0a0a0, 0xa1a1a1a1, 0xa2a2a2a2, 0xa3a3a3a3, OUTER + 0x20, 0xa5a5a5a5, 0xa6a6a6a6, 0xa7a7a7a7
        .long \es, \cs, \ss, \ds, DATA3 + 3, 0, \ldt
        .word \trap, 0x68
        .org . + 0x18
        .endm

        .balign 4
pristine_tables:
        tss32
        tss32
        .word 0, 0xa000, DATA0, 0xa800, 0x21, 0xb000, 0x32
        .word STUB, 0x3002, 0xb0b0, 0xb1b1, 0xb2b2, 0xb3b3, OUTER + 0x20, 0xb5b5, 0xb6b6, 0xb7b7
        .word DATA3, CODE3 + 3, DATA3 + 3, DATA3, LDT
        .org pristine_tables + 0x400
        /* The LDT */
        .quad 0
        descriptor 0, 0xfffff, 0xc09a
        descriptor 0, 0xfffff, 0xc092
        descriptor 0, 0xfffff, 0xc0fa
        descriptor 0, 0xfffff, 0xc0f2
        descriptor 0, 0xfffff, 0xc0f0
        gate CODE0, STUB, 0xec, 0
        descriptor (TABLES+0x80), 0x67, 0xe9
        descriptor 0, 0xfffff, 0xc0fe
        descriptor 0, 0xfffff, 0xc072
        .org pristine_tables + 0x480
        tss32 cs=CODE3+3 ss=DATA3+3
        tss32 cs=0
        tss32 cs=DATA0
        tss32 cs=CODE3 
        tss32 cs=0xfff8
        tss32 ss=0
        tss32 ss=DATA3
        tss32 ss=CODE0
        tss32 ds=0xfff8
        tss32 ds=(16+0x12)*8
        tss32 ldt=0
        tss32 ldt=CODE0
        tss32 ldt=(16+2)*8
        tss32 flags=0x23002 cs=0x0700 eip=0x1000 ss=0x0800 ds=0x1234
        tss32 trap=1
        tss32 cs=0x60 ss=DATA0 eip=0x9000
        tss32 eip=stubs+8*16 es=DATA0 ds=DATA0
pristine_tables_end:

        .balign 8
idt:
        .set n, 0
        .rept 0x90
        .if n == 8
        gate DOUBLE_FAULT, 0, 0x85
        .else
        .word stubs - start + n * 16, CODE0, 0x8e00 + (n >= 0x80) * -0x6000, ORIGIN >> 16
        .endif
        .set n, n + 1
        .endr
        /* From 0x90 on, gates to test */
        .irp type, 0xee, 0xef, 0xe6, 0xe7
        .set d, 0
        .rept 4
        gate (8+16*d), STUB, \type
        gate (16+(4+d)*32+0x1e)*8, STUB, \type
        .set d, d + 1
        .endr
        gate DATA0, STUB, \type
        gate 0, STUB, \type
        gate (16+0x1a)*8, STUB, \type
        gate 0xfff8, STUB, \type
        gate 0x60, STUB, \type
        .endr
        gate CODE0, STUB, 0x6e
        gate CODE0, STUB, 0xe0
        gate CODE0, STUB, 0xec
        gate CODE0, STUB, 0xe4
        gate CODE0, STUB, 0xfa
        gate (16+4*32+9)*8, 0, 0xe5
        gate (16+4*32+1)*8, 0, 0xe5
        gate (16+4*32+9)*8, 0, 0xc5
        gate (16+4*32+9)*8, 0, 0x65
        gate (16+9)*8, 0, 0xe5
        gate TSS, 0, 0xe5
        gate CODE0, 0, 0xe5
        gate 0, 0, 0xe5
        gate 0x4c, 0, 0xe5
        .org idt + 0x800
idt_end:
#include "end.S"
