/*
 * Start of every image: 64 KiB that serve as a ROM below 1 MiB. Copies itself to RAM at 0x10000 and goes on there in
 * real mode at `main`, CS = DS = ES = SS = 0x1000. Results are 32-bit words from LOG on; LOGP points behind the last.
 * Writing to EXIT_PORT ends the run.
 */
        .set ORIGIN, 0x10000
        .set LOGP, 0x100000
        .set LOG, 0x100010
        .set EXIT_PORT, 0xf4


        /* Appends to the log at EDI. Changes EAX. */
        .macro put value
        movl \value, %eax
        stosl
        .endm

        /* Code under test: INT 0x81 ends a case. */
        .macro op name
\name:
        .endm
        .macro done
        int $0x81
        .endm

        /* base, limit, attributes as in a VMCS: type, S, DPL, P, L, D/B, G */
        .macro descriptor base, limit, attributes
        .word (\limit) & 0xffff, (\base) & 0xffff
        .byte ((\base) >> 16) & 0xff, (\attributes) & 0xff
        .byte (((\attributes) >> 8) & 0xf0) | (((\limit) >> 16) & 0xf), ((\base) >> 24) & 0xff
        .endm
        .macro gate selector, offset, attributes, parameters=0
        .word (\offset) & 0xffff, \selector
        .byte \parameters, (\attributes) & 0xff
        .word (\offset) >> 16
        .endm

        .text
        .globl start
start:
        .code16
boot:
        cli
        cld
        mov $0xf000, %ax
        mov %ax, %ds
        mov $0x1000, %ax
        mov %ax, %es
        mov %ax, %ss
        xor %si, %si
        xor %di, %di
        mov $0x8000, %cx
        rep movsw
        mov %ax, %ds
        mov $0xf000, %sp
        ljmp $0x1000, $(main - start)
