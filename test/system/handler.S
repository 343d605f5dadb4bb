/*
 * Handlers of vectors 0 to 0x8f in 32-bit protected mode: all log the case, the frame, the registers and the memory
 * that `dumps` lists (address and count of words), then go to `resume`. The includer has v_op, v_cpl and v_sel.
 */
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

handler:
        pusha
        mov %ds, %ebx
        mov %es, %ecx
        mov $DATA0, %eax
        mov %eax, %ds
        mov %eax, %es
        cld
        mov LOGP, %edi
        put v_op
        put v_cpl
        put v_sel
        put 0x20(%esp)           /* vector */
        put 0x24(%esp)           /* error code */
        put 0x28(%esp)           /* EIP */
        put 0x2c(%esp)           /* CS */
        andl $~0x10000, 0x30(%esp)
        put 0x30(%esp)           /* EFLAGS but RF */
        put 0x34(%esp)           /* ESP */
        put 0x38(%esp)           /* SS */
        put 0x3c(%esp)           /* in virtual-8086 mode: ES, DS */
        put 0x40(%esp)
        put 0x1c(%esp)           /* EAX */
        put 0x18(%esp)
        put 0x14(%esp)
        put 0x08(%esp)           /* EBP */
        put %ebx
        put %ecx
        put %fs
        put %gs
        put %ss
        put %esp
        str %eax
        stosl
        sldt %eax
        stosl
        mov %cr0, %eax
        stosl
        mov %dr6, %eax
        stosl
        xor %eax, %eax
        mov %eax, %dr6
        /* What has been pushed */
        mov $0, %ebp
1:      mov dumps(, %ebp, 8), %esi
        mov dumps + 4(, %ebp, 8), %ecx
        rep movsl
        inc %ebp
        cmp $(dumps_end - dumps) / 8, %ebp
        jb 1b
        mov %edi, LOGP
        mov $STACK0, %esp
        push $2
        popf
        push $2                  /* IRET clears VIF and VIP, which POPF leaves */
        push %cs
        push $1f
        iret
1:      jmp resume
