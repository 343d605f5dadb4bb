/*
 * Instructions in real mode. Every vector of the table at 0 leads to a handler that keeps the registers, goes to
 * protected mode to log them with the stack, and comes back for the next case. INT 0x81 ends a case.
 */
#include "boot.S"

        .set CODE, 0x08
        .set DATA, 0x10
        .set CODE16, 0x18
        .set DATA16, 0x20
        .set STACK, 0xf000       /* in segment 0x1000 */

main:
        .code16
        cli
        /* The vector table: far pointers to 4-byte stubs */
        xor %ax, %ax
        mov %ax, %es
        mov %ax, %di
        mov $0x100, %cx
        mov $(stubs - start), %ax
1:      stosw
        add $8, %ax
        movw $0x1000, %es:(%di)
        add $2, %di
        loop 1b
        mov $LOG, %eax
        movl %eax, logp - start
        movw $0, v_op - start
next_op:
        movw $0, v_sel - start
next_sel:
        xor %ax, %ax
        mov %ax, %es
        mov $0x8f00, %di
        mov $0x100, %cx
        cld
        rep stosw
        movl $0x05060304, %es:0x9000
        movl $0x0d0e0b0c, %es:0x9004
        movw $0x81cd, %es:0x8000
        movw $0x81cd, 0x8000     /* for processors that do not check the limit of CS */
        mov v_op - start, %bx
        shl $1, %bx
        mov ops - start(%bx), %bx
        mov v_sel - start, %ax
        mov $0x0800, %cx
        mov %cx, %ss
        mov $0x1000, %esp
        mov $0x200, %cx
        mov %cx, %ds
        mov $0x300, %cx
        mov %cx, %es
        mov $0x400, %cx
        mov %cx, %fs
        mov $0x500, %cx
        mov %cx, %gs
        push $2
        popf
        mov $0, %ecx
        mov $0x1234abcd, %edx
        mov $0xbbbb0ff0, %ebp
        mov $0x2000, %esi
        mov $0, %edi
        jmp *%bx

resume:
        .code16
        mov v_op - start, %bx
        shl $1, %bx
        incw v_sel - start
        mov limits - start(%bx), %ax
        cmp %ax, v_sel - start
        jb next_sel
        incw v_op - start
        cmpw $(ops_end - ops) / 2, v_op - start
        jb next_op
        mov $DATA, %ax
        jmp finish

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
        done
        op sti_
        sti
        done
        op pushf_
        pushf
        done
        op pushfl_
        pushfl
        done
        op popf_
        image
        push %ax
        popf
        done
        op popfl_
        image
        push $0x3f
        push %ax
        popfl
        done
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
        done
        op into_
        mov $0x7f, %al
        inc %al
        into
        done
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
        done
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
        done
        op pusha_wrap
        mov $8, %sp
        pusha
        done
        op word_at_end
        mov 0xffff, %ax
        done
        op bound_
        bound %ax, %cs:bounds - start
        done
        op undefined_
        sldt %ax
        done
        op arpl_
        arpl %ax, %ax
        done
        op lar_
        lar %ax, %ax
        done
        op control
        mov %cr0, %eax
        done
        op smsw_
        smsw %ax
        done
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
        done
        op divide
        aam $0
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
        .set n, 0
        .rept 8
        enter $0x10, $n
        done
        .balign 8
        .set n, n + 1
        .endr
pointer: .word 0x1000, 0x0700
bounds: .word 10, 20


        /* The vector, then everything else, below the frame */
        .balign 8
stubs:
        .set n, 0
        .rept 256
        .balign 8
        pushw $n
        jmp handler
        .set n, n + 1
        .endr
handler:
        pushal
        push %ds
        push %es
        push %fs
        push %gs
        pushfl
        mov %cs, %ax
        mov %ax, %ds
        mov %sp, frame - start
        mov %ss, %ax
        mov %ax, frame + 2 - start
        call protect
        .code32
        /* The case, the stack with all that was pushed, and what the code under test left on its own */
        mov logp, %edi
        movzwl v_op, %eax
        stosl
        movl $0, %eax
        stosl
        movzwl v_sel, %eax
        stosl
        movzwl frame + 2, %esi
        mov %esi, %eax
        stosl
        shl $4, %esi
        movzwl frame, %eax
        stosl
        add %eax, %esi
        mov $16, %ecx
        rep movsl
        mov $0x8fe0, %esi
        mov $16, %ecx
        rep movsl
        mov $0x90f0, %esi
        mov $8, %ecx
        rep movsl
        mov %edi, logp
        mov %edi, LOGP
        ljmp $CODE16, $(back - start)
        .code16
back:   mov $DATA16, %ax
        mov %ax, %ds
        mov %ax, %es
        mov %ax, %ss
        mov %cr0, %eax
        and $~1, %al
        mov %eax, %cr0
        ljmp $0x1000, $(1f - start)
1:      mov $0x1000, %ax
        mov %ax, %ds
        mov %ax, %ss
        mov $STACK, %esp
        jmp resume

        /* To 32-bit code after the call; the stack is lost. */
protect:
        pop %bx
        movzwl %bx, %ebx
        add $ORIGIN, %ebx
        lgdtl gdtr - start
        mov %cr0, %eax
        or $1, %al
        mov %eax, %cr0
        ljmpl $CODE, $1f
        .code32
1:      mov $DATA, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %ss
        mov $ORIGIN + STACK, %esp
        cld
        jmp *%ebx

        .code16
finish: mov $EXIT_PORT, %dx
        mov $0, %al
        out %al, %dx
        hlt

        .balign 8
gdt:    .quad 0
        descriptor 0, 0xfffff, 0xc09a
        descriptor 0, 0xfffff, 0xc092
        descriptor ORIGIN, 0xffff, 0x009a
        descriptor ORIGIN, 0xffff, 0x0092
gdt_end:
gdtr:   .word gdt_end - gdt - 1
        .long gdt
        .balign 4
logp:   .long 0
frame:  .word 0, 0
v_op:   .word 0
v_sel:  .word 0
ops:    .word cli_ - start, sti_ - start, pushf_ - start, pushfl_ - start, popf_ - start, popfl_ - start
        .word iret_ - start, iretl_ - start, int_n - start, int_3 - start, into_ - start, segments - start
        .word far_jump - start, far_call - start, far_call32 - start, far_beyond - start, far_indirect - start, far_return - start
        .word far_return_beyond - start, enter_n - start, pusha_ - start, pusha_wrap - start, word_at_end - start, bound_ - start
        .word undefined_ - start, arpl_ - start, lar_ - start, control - start, smsw_ - start, decimal - start
        .word divide - start
ops_end:
limits: .word 1, 1, 1, 1, 16, 16, 16, 16, 256, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 8, 1, 1, 1, 32, 1, 1, 1, 1, 1, 256, 1
#include "end.S"
