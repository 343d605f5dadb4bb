/*
 * Start of every image: 64 KiB that serve as a ROM below 1 MiB. Copies itself to RAM at 0x10000 and goes on there in
 * real mode at `main`, CS = DS = ES = SS = 0x1000. Results are 32-bit words from LOG on; LOGP points behind the last.
 * `finish` (32-bit code, flat segments) ends the run.
 */
        .set ORIGIN, 0x10000
        .set LOGP, 0x100000
        .set LOG, 0x100010
        .set EXIT_PORT, 0xf4

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
