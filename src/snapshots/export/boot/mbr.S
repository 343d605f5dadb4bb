# Master boot record of an exported disk: loads the second part, which lies in the partition "BIOS boot", and goes there.
# Linked to 0x7c00. INT 13h extensions: "BIOS Enhanced Disk Drive Specification" 3.0, function 42h.
        .code16
        .globl _start
_start:
        cli
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $0x7c00, %sp
        sti
        cld
        ljmp    $0, $normal  # some firmware comes here as 07c0:0000
normal:
        movb    $0x42, %ah              # the drive is in DL
        movw    $packet, %si
        int     $0x13
        jc      failed
        ljmp    $0, $0x8000
failed:
        movw    $message, %si
1:      lodsb
        testb   %al, %al
        jz      2f
        movb    $0x0e, %ah
        movw    $7, %bx
        int     $0x10
        jmp     1b
2:      hlt
        jmp     2b
packet:
        .byte   16, 0
        .word   8                       # sectors
        .word   0x8000, 0               # offset, segment
        .quad   34                      # the first sector of the partition
message:
        .asciz  "Daybreak: cannot read the disk\r\n"
