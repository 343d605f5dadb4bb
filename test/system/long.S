/*
 * As protected.S, in long mode: 64-bit and compatibility code at every privilege against every kind of descriptor.
 * Each case ends in an exception or in INT 0x81, whose handler logs the registers and the stacks.
 */
#include "boot.S"

        .set CODE0, 0x08         /* 64-bit code of level n: CODE0 + 0x10 n */
        .set DATA0, 0x10
        .set CODE3, 0x38
        .set DATA3, 0x40
        .set TSS, 0x48           /* 16 bytes */
        .set LDT, 0x58           /* 16 bytes */
        .set NARROW0, 0x80       /* 32-bit code of level n: NARROW0 + 8 n */
        .set STUB, 0x8000
        .set GDT, 0x60000
        .set TABLES, 0x62000
        .set PAGES, 0x70000
        .set STACK0, 0x48000
        .set INNER0, 0x40000
        .set INNER1, 0x42000
        .set INNER2, 0x44000
        .set IST1, 0x46000
        .set OUTER, 0x9000
        .set EFER, 0xc0000080
        .set GENERATED, 24       /* number of the first generated descriptor */
        .set GATES, GENERATED + 256

main:
        .code16
        lgdtl pristine_gdtr - start
        mov %cr0, %eax
        or $1, %al
        mov %eax, %cr0
        ljmpl $NARROW0, $narrow
        .code32
narrow:
        mov $DATA0, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %ss
        cld
        mov $PAGES, %edi
        xor %eax, %eax
        mov $0xc00, %ecx
        rep stosl
        movl $PAGES + 0x1007, PAGES
        movl $PAGES + 0x2007, PAGES + 0x1000
        mov $PAGES + 0x2000, %edi
        mov $0x87, %eax
1:      mov %eax, (%edi)
        add $8, %edi
        add $0x200000, %eax
        cmp $0x10000087, %eax
        jb 1b
        mov $PAGES, %eax
        mov %eax, %cr3
        mov $0x20, %eax
        mov %eax, %cr4
        mov $EFER, %ecx
        rdmsr
        or $0x100, %eax
        wrmsr
        mov %cr0, %eax
        or $0x80000000, %eax
        mov %eax, %cr0
        ljmp $CODE0, $flat
        .code64
flat:
        movl $LOG, LOGP
        movw $0x81cd, STUB
        lidt idtr
        movl $0, v_op
next_op:
        movl $0, v_cpl
next_cpl:
        movl $0, v_sel
next_sel:
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
        .irp top, INNER0, INNER1, INNER2, IST1, STACK0
        mov $\top - 0x80, %edi
        mov $0x28, %ecx
        rep stosl
        .endr
        lgdt gdtr
        push $CODE0
        push $1f
        lretq
1:      mov $TSS, %eax
        ltr %ax
        mov $LDT, %eax
        lldt %ax
        mov v_sel, %eax
        movq $STUB, farptr64
        mov %ax, farptr64 + 8
        movl $STUB, farptr
        mov %ax, farptr + 4
        movw $STUB, farptr16
        mov %ax, farptr16 + 2
        mov $DATA3 + 3, %edx
        mov %edx, %ds
        mov %edx, %es
        mov %edx, %fs
        mov %edx, %gs
        mov $0xc0000100, %ecx
        mov $0x11110000, %eax
        mov $0x1, %edx
        wrmsr
        inc %ecx
        wrmsr

        /* To the code under test: operations from `narrow_ops` on are 32-bit code */
        mov v_op, %ebx
        mov %ebx, %esi
        mov ops(, %rbx, 4), %ebx
        mov v_cpl, %ecx
        mov %ecx, %edx
        shl $4, %edx
        lea DATA0(%rdx, %rcx), %ebp
        lea CODE0(%rdx, %rcx), %edi
        lea NARROW0(%rcx, %rcx, 8), %edx
        cmp $(narrow_ops - ops) / 4, %esi
        cmovae %edx, %edi
        mov v_sel, %eax
        push %rbp
        push $OUTER
        push $0x3002
        push %rdi
        push %rbx
        mov $0xcccccccc, %ebp
        xor %ecx, %ecx
        iretq

resume:
        mov v_op, %ebx
        mov limits(, %rbx, 4), %edx
        mov v_sel, %eax
        inc %eax
        cmp $0x101, %edx
        jb 2f
        cmp $0xc0, %eax
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

        /* The stack segment that belongs to the RPL of the selector in AX, to EDX */
        .macro outer_stack
        mov %eax, %ebx
        and $3, %ebx
        mov %ebx, %edx
        shl $4, %edx
        .endm

        .code64
        op jmp
        ljmpl *farptr
        op call
        lcalll *farptr
        done
        op call16
        lcallw *farptr16
        done
        op retf64
        outer_stack
        lea DATA0(%rdx, %rbx), %edx
        push %rdx
        push $OUTER + 0x40
        push $0x77777777
        push %rax
        push $STUB
        lretq $8
        op retf32
        outer_stack
        lea DATA0(%rdx, %rbx), %edx
        sub $16, %rsp
        mov %edx, 12(%rsp)
        movl $OUTER + 0x40, 8(%rsp)
        mov %eax, 4(%rsp)
        movl $STUB, (%rsp)
        lretl
        op iret64
        outer_stack
        lea DATA0(%rdx, %rbx), %edx
        push %rdx
        push $OUTER + 0x40
        push $0x241ad7
        push %rax
        push $STUB
        iretq
        op iret32
        outer_stack
        lea DATA0(%rdx, %rbx), %edx
        sub $20, %rsp
        mov %edx, 16(%rsp)
        movl $OUTER + 0x40, 12(%rsp)
        movl $0x241ad7, 8(%rsp)
        mov %eax, 4(%rsp)
        movl $STUB, (%rsp)
        iretl
        op iret16
        outer_stack
        lea DATA0(%rdx, %rbx), %edx
        sub $10, %rsp
        mov %dx, 8(%rsp)
        movw $OUTER + 0x40, 6(%rsp)
        movw $0x1ad7, 4(%rsp)
        mov %ax, 2(%rsp)
        movw $STUB, (%rsp)
        iretw
        op iret_ss                       /* to user code with any SS */
        push %rax
        push $OUTER + 0x40
        push $2
        push $CODE3 + 3
        push $STUB
        iretq
        op iret_ss_narrow
        push %rax
        push $OUTER + 0x40
        push $2
        push $NARROW0 + 0x1b
        push $STUB
        iretq
        op iret_ss_same                  /* to code of the same level with any SS */
        mov %cs, %edx
        push %rax
        push $OUTER + 0x40
        push $2
        push %rdx
        push $STUB
        iretq
        op retf_ss
        push %rax
        push $OUTER + 0x40
        push $CODE3 + 3
        push $STUB
        lretq
        op iret_nt
        pushf
        orl $0x4000, (%rsp)
        popf
        iretq
        op iret_high                     /* to an address that is not canonical */
        mov $1, %edx
        shl $47, %rdx
        outer_stack
        lea DATA0(%rdx, %rbx), %ecx
        push %rcx
        push $OUTER + 0x40
        push $0x1002
        push %rax
        mov $1, %edx
        shl $47, %rdx
        push %rdx
        iretq
        op mov_ds
        mov %eax, %ds
        done
        op mov_ss
        mov %eax, %ss
        nop
        done
        op mov_gs
        mov %eax, %gs
        done
        op pop_fs
        push %rax
        pop %fs
        done
        op lss
        lss farptr, %ecx
        nop
        done
        op lar
        lar %eax, %ecx
        done
        op lsl
        lsl %eax, %ecx
        done
        op verr
        verr %ax
        done
        op verw
        verw %ax
        done
        op lldt
        lldt %ax
        done
        op ltr
        ltr %ax
        done
        op int_n
        lea ints(, %eax, 4), %eax
        jmp *%rax
        op int_3
        int3
        done
        op invalid
        .byte 0x06, 0xcd, 0x81
        op enter_n
        and $31, %eax
        mov $OUTER + 0x60, %ebp
        mov enters(, %rax, 8), %edx
        lea enters(, %rax, 8), %eax
        jmp *%rax

        .code32
        op n_jmp
        ljmp *farptr
        op n_call
        lcall *farptr
        done
        op n_call16
        lcallw *farptr16
        done
        op n_retf
        outer_stack
        lea DATA0(%edx, %ebx), %edx
        push %edx
        push $OUTER + 0x40
        push %eax
        push $STUB
        lret
        op n_iret
        outer_stack
        lea DATA0(%edx, %ebx), %edx
        push %edx
        push $OUTER + 0x40
        push $0x1ad7
        push %eax
        push $STUB
        iret
        op n_iret_ss
        push %eax
        push $OUTER + 0x40
        push $2
        push $NARROW0 + 0x1b
        push $STUB
        iret
        op n_mov_ds
        mov %eax, %ds
        done
        op n_mov_ss
        mov %eax, %ss
        nop
        done
        op n_les
        les farptr, %ecx
        done
        op n_int
        lea ints(, %eax, 4), %eax
        jmp *%eax
        op n_into
        mov $0x7f, %al
        inc %al
        into
        done
        op n_pusha
        pusha
        popa
        done

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
        .code64
        .set n, 0
        .rept 32
        enter $0x10, $n
        int $0x81
        .balign 8
        .set n, n + 1
        .endr

        .balign 16
stubs:
        .set n, 0
        .rept 0x90
        .balign 16
        .if !(n == 8 || (n >= 10 && n <= 14) || n == 17)
        push $-1
        .endif
        .byte 0x68
        .long n
        .byte 0xe9
        .long handler - (. + 4)
        .set n, n + 1
        .endr

        /* RAX at 0, vector 8, error code 0x10, RIP 0x18, CS 0x20, RFLAGS 0x28, RSP 0x30, SS 0x38 */
handler:
        push %rax
        andl $~0x10000, 0x28(%rsp)
        mov %rsp, %rsi
        mov %ds, %r8d
        mov %es, %r9d
        mov %edi, %r10d
        mov $DATA0, %eax
        mov %eax, %ds
        mov %eax, %es
        cld
        mov LOGP, %edi
        put v_op
        put v_cpl
        put v_sel
        put 8(%rsi)
        put 0x10(%rsi)
        put 0x18(%rsi)
        put 0x20(%rsi)
        put 0x28(%rsi)
        put 0x30(%rsi)
        put 0x38(%rsi)
        put 0x1c(%rsi)
        put 0x34(%rsi)
        put 0(%rsi)
        put %ecx
        put %edx
        put %ebp
        put %r8d
        put %r9d
        put %fs
        put %gs
        put %ss
        put %esp
        str %eax
        stosl
        sldt %eax
        stosl
        mov $0xc0000100, %ecx
        rdmsr
        stosl
        inc %ecx
        rdmsr
        stosl
        mov $0, %ebp
1:      mov dumps(, %rbp, 8), %esi
        mov dumps + 4(, %rbp, 8), %ecx
        rep movsl
        inc %ebp
        cmp $(dumps_end - dumps) / 8, %ebp
        jb 1b
        mov %edi, LOGP
        mov $STACK0, %esp
        push $2
        popf
        jmp resume

        .balign 4
dumps:
        .long OUTER - 0x60, 28
        .long INNER0 - 0x60, 24
        .long INNER1 - 0x60, 24
        .long INNER2 - 0x60, 24
        .long IST1 - 0x60, 24
        .long STACK0 - 0x10, 4
dumps_end:

        .macro operations of:vararg
        .irp each, \of
        .long \each
        .endr
        .endm
ops:
        operations jmp, call, call16, retf64, retf32, iret64, iret32, iret16, iret_ss, iret_ss_narrow, iret_ss_same, retf_ss, iret_nt
        operations iret_high, mov_ds, mov_ss, mov_gs, pop_fs, lss, lar, lsl, verr, verw, lldt, ltr, int_n, int_3, invalid, enter_n
narrow_ops:
        operations n_jmp, n_call, n_call16, n_retf, n_iret, n_iret_ss, n_mov_ds, n_mov_ss, n_les, n_int, n_into, n_pusha
ops_end:
limits:
        .irp each, SELECTORS, SELECTORS, SELECTORS, SELECTORS, SELECTORS, SELECTORS, SELECTORS, SELECTORS, SELECTORS, SELECTORS, SELECTORS, SELECTORS, 4
        .long \each
        .endr
        .irp each, 0x100, SELECTORS, SELECTORS, SELECTORS, SELECTORS, SELECTORS, SELECTORS, SELECTORS, SELECTORS, SELECTORS, SELECTORS, SELECTORS, 0x100, 1, 1, 32
        .long \each
        .endr
        .irp each, SELECTORS, SELECTORS, SELECTORS, SELECTORS, SELECTORS, SELECTORS, SELECTORS, SELECTORS, SELECTORS, 0x100, 1, 1
        .long \each
        .endr
v_op:   .long 0
v_cpl:  .long 0
v_sel:  .long 0
farptr: .long 0
        .word 0
farptr16: .word 0, 0
farptr64: .quad 0
        .word 0
        .balign 4

        .macro gate64 selector, offset, attributes, high=0, upper=0
        gate \selector, \offset, \attributes
        .long \high, \upper
        .endm

pristine_gdtr:
        .word pristine_gdt_end - pristine_gdt - 1
        .long pristine_gdt
gdtr:   .word pristine_gdt_end - pristine_gdt - 1
        .quad GDT
idtr:   .word 0xfff
        .quad idt

        .balign 8
pristine_gdt:
        .quad 0
        .set n, 0
        .rept 4
        descriptor 0, 0xfffff, 0xa09a|(n<<5)
        descriptor 0, 0xfffff, 0xc092|(n<<5)
        .set n, n + 1
        .endr
        descriptor TABLES, 0x67, 0x89
        .quad 0
        descriptor (TABLES+0x400), 0x4f, 0x82
        .quad 0
        .quad 0                             /* 0x68 */
        .quad 0
        .quad 0
        .set n, 0
        .rept 4
        descriptor 0, 0xfffff, 0xc09a|(n<<5)
        .set n, n + 1
        .endr
        descriptor 0, 0xffff, 0x00fa        /* 0xa0: 16-bit code */
        descriptor 0, 0x7fff, 0x40fa        /* 0xa8: too small for the stub */
        descriptor 0, 0xfffff, 0xe0fa       /* 0xb0: both L and D */
        descriptor 0, 0xffff, 0x00f2        /* 0xb8: 16-bit data */
        .set p, 0
        .rept 2
        .set d, 0
        .rept 4
        .set t, 0
        .rept 32
        .if t == 2
        descriptor (TABLES+0x400), 0x4f, t|(d<<5)|(p<<7)
        .elseif t == 9 || t == 11
        descriptor TABLES, 0x67, t|(d<<5)|(p<<7)
        .elseif t == 4 || t == 12 || t == 5
        gate CODE0, STUB, t|(d<<5)|(p<<7)
        .elseif t >= 0x18
        descriptor 0, 0xfffff, 0xa000|t|(d<<5)|(p<<7)
        .else
        descriptor 0, 0xfffff, 0xc000|t|(d<<5)|(p<<7)
        .endif
        .set t, t + 1
        .endr
        .set d, d + 1
        .endr
        .set p, p + 1
        .endr
        /* 16-byte system descriptors */
        .macro targets type
        .set d, 0
        .rept 4
        gate64 (8+16*d), STUB, \type
        gate64 (GENERATED+(4+d)*32+0x1e)*8, STUB, \type
        .set d, d + 1
        .endr
        gate64 NARROW0, STUB, \type
        gate64 0xb0, STUB, \type
        gate64 DATA0, STUB, \type
        gate64 0, STUB, \type
        gate64 (GENERATED+0x1a)*8, STUB, \type
        gate64 0xfff8, STUB, \type
        gate64 0xc, STUB, \type
        gate64 CODE0, STUB, \type, 0x8000
        gate64 CODE0+3, STUB, \type
        .endm
        targets 0xec
        gate64 CODE0, STUB, 0xcc
        gate64 CODE0, STUB, 0x8c
        gate64 CODE0, STUB, 0x6c
        gate64 CODE0, STUB, 0xec, 0, 0x100
        gate64 CODE0, STUB, 0xec, 0, 0x1000
        descriptor TABLES, 0x67, 0x89
        .quad 0
        descriptor TABLES, 0x67, 0x8b
        .quad 0
        descriptor TABLES, 0x67, 0x89
        .long 0x8000, 0
        descriptor TABLES, 0x67, 0x89
        .long 0, 0x900
        descriptor TABLES, 0x67, 0x09
        .quad 0
        descriptor TABLES, 0x67, 0x81
        .quad 0
        descriptor (TABLES+0x400), 0x4f, 0x82
        .quad 0
        descriptor (TABLES+0x400), 0x4f, 0x82
        .long 0x8000, 0
        descriptor (TABLES+0x400), 0x4f, 0x02
        .quad 0
        descriptor TABLES, 0x67, 0x89
pristine_gdt_end:
        .set SELECTORS, pristine_gdt_end - pristine_gdt + 16

        .balign 4
pristine_tables:
        .long 0
        .quad INNER0, INNER1, INNER2, 0, IST1, 0x0000800000000000, 0, 0, 0, 0, 0, 0
        .org pristine_tables + 0x68
        .org pristine_tables + 0x400
        .quad 0
        descriptor 0, 0xfffff, 0xa09a
        descriptor 0, 0xfffff, 0xc092
        descriptor 0, 0xfffff, 0xa0fa
        descriptor 0, 0xfffff, 0xc0f2
        descriptor 0, 0xfffff, 0xc0fa
        gate64 CODE0, STUB, 0xec
        descriptor 0, 0xfffff, 0xa0fe
        descriptor 0, 0xfffff, 0xc072
pristine_tables_end:

        .balign 8
idt:
        .set n, 0
        .rept 0x90
        .word stubs - start + n * 16, CODE0, 0x8e00 + (n >= 0x80) * -0x6000, ORIGIN >> 16
        .quad 0
        .set n, n + 1
        .endr
        targets 0xee
        targets 0xef
        gate64 CODE0, STUB, 0x8e
        gate64 CODE0, STUB, 0x6e
        .irp type, 0xe6, 0xe7, 0xec, 0xe5, 0xe0, 0xfa, 0xf2
        gate64 CODE0, STUB, \type
        .endr
        .set ist, 0
        .rept 8
        .word STUB, CODE0, 0xee00 | ist, 0
        .quad 0
        .word STUB, CODE3 + 3, 0xee00 | ist, 0
        .quad 0
        .set ist, ist + 1
        .endr
        .org idt + 0x1000
#include "end.S"
