# Second part of the boot loader for BIOS: loads a bzImage and an initramfs, and starts the kernel by its 16-bit entry.
# Linked to 0x8000. Linux: Documentation/arch/x86/boot.rst, "The Linux/x86 Boot Protocol".
#
#  0x06000  answers of the memory map        0x10000  the kernel's setup code, its stack, at 0x1e000 its command line
#  0x08000  this code, then the command line 0x20000  what is read, before it is copied up
        .set    SETUP, 0x1000           # segment
        .set    BUFFER, 0x20000
        .set    STEP, 64                # sectors that are read at once
        .set    MAP, 0x6000
        .code16
        .globl _start
_start:
        jmp     main
        .org    4
# Filled in when the disk is made: sectors count from the disk's beginning.
kernel_sector:  .long 0
kernel_sectors: .long 0
initrd_sector:  .long 0
initrd_bytes:   .long 0

main:
        movb    %dl, drive
        movw    $0x2401, %ax            # A20, by the firmware
        int     $0x15
        inb     $0x92, %al              # and by the chip
        orb     $2, %al
        andb    $0xfe, %al
        outb    %al, $0x92

        movl    kernel_sector, %eax
        movl    $STEP, %ecx
        movw    $SETUP, packet_segment
        call    read
        movw    $BUFFER >> 4, packet_segment
        movw    $SETUP, %ax
        movw    %ax, %es
        cmpl    $0x53726448, %es:0x202  # "HdrS"
        movw    $no_kernel, %si
        jne     failed
        movzbl  %es:0x1f1, %ecx         # sectors of setup code, but the first
        incl    %ecx
        movl    kernel_sector, %eax
        addl    %ecx, %eax
        movl    kernel_sectors, %ebx
        subl    %ecx, %ebx
        movl    $0x100000, %edi
        call    load

        cmpl    $0, initrd_bytes
        je      start
        call    find_room
        movw    $no_room, %si
        testl   %edi, %edi
        jz      failed
        movw    $SETUP, %ax
        movw    %ax, %es
        movl    %edi, %es:0x218         # ramdisk_image
        movl    initrd_bytes, %ebx
        movl    %ebx, %es:0x21c         # ramdisk_size
        addl    $511, %ebx
        shrl    $9, %ebx
        movl    initrd_sector, %eax
        call    load

start:
        movw    $SETUP, %ax
        movw    %ax, %es
        movb    $0xff, %es:0x210        # type_of_loader: none that has a number
        orb     $0x80, %es:0x211        # loadflags: CAN_USE_HEAP
        movw    $0xde00, %es:0x224      # heap_end_ptr: below the stack, minus 0x200
        movl    $(SETUP << 4) + 0xe000, %es:0x228 # cmd_line_ptr
        movw    $command_line, %si
        movw    $0xe000, %di
        movw    $2048, %cx
        rep movsb
        cli
        movw    %ax, %ds
        movw    %ax, %fs
        movw    %ax, %gs
        movw    %ax, %ss
        movw    $0xe000, %sp
        ljmp    $SETUP + 0x20, $0

# Loads EBX sectors from sector EAX on to address EDI, which is above 1 MiB.
load:
        movl    %ebx, %ecx
        cmpl    $STEP, %ecx
        jbe     1f
        movl    $STEP, %ecx
1:      pushl   %eax
        pushl   %ecx
        call    read
        popl    %ecx
        pushl   %ecx
        shll    $7, %ecx                # double words
        call    copy
        popl    %ecx
        popl    %eax
        addl    %ecx, %eax
        subl    %ecx, %ebx
        jnz     load
        ret

# Reads CX sectors from sector EAX on to where the packet says.
read:
        movl    %eax, packet_sector
        movw    %cx, packet_count
        movw    $packet, %si
        movb    drive, %dl
        movb    $0x42, %ah
        pushl   %ebx
        pushl   %edi
        int     $0x13
        popl    %edi
        popl    %ebx
        movw    $no_disk, %si
        jc      failed
        ret

# Copies ECX double words from the buffer to EDI, and moves EDI on. Real mode cannot reach there.
copy:
        cli
        lgdtl   gdt_pointer
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        jmp     1f
1:      movw    $8, %dx
        movw    %dx, %ds
        movw    %dx, %es
        movl    $BUFFER, %esi
        addr32 rep movsl
        andb    $0xfe, %al
        movl    %eax, %cr0
        jmp     2f
2:      xorw    %dx, %dx
        movw    %dx, %ds
        movw    %dx, %es
        sti
        ret

# Where the initramfs goes: as high as there is memory that the kernel lets it be in, above what the kernel unpacks itself to.
# EDI is 0 when there is no such place. ACPI: "INT 15H, E820H - Query System Address Map".
find_room:
        movw    $SETUP, %ax
        movw    %ax, %fs
        xorl    %edi, %edi
        xorl    %ebx, %ebx
        movw    %bx, %es
next:
        movl    $0xe820, %eax
        movl    $0x534d4150, %edx       # "SMAP"
        movl    $20, %ecx
        pushl   %edi
        movw    $MAP, %di
        int     $0x15
        popl    %edi
        jc      done
        cmpl    $1, MAP + 16            # usable
        jne     more
        cmpl    $0, MAP + 4             # begins above 4 GiB
        jne     more
        movl    MAP, %eax               # its end, at most initrd_addr_max + 1
        movl    MAP + 12, %edx
        addl    MAP + 8, %eax
        adcl    $0, %edx
        movl    %fs:0x22c, %ecx
        incl    %ecx
        testl   %edx, %edx
        jnz     1f
        cmpl    %ecx, %eax
        jb      2f
1:      movl    %ecx, %eax
2:      movl    initrd_bytes, %ecx
        addl    $511, %ecx              # whole sectors are copied
        andl    $~511, %ecx
        subl    %ecx, %eax
        jb      more
        andl    $~4095, %eax
        cmpl    MAP, %eax
        jb      more
        movl    %fs:0x258, %ecx         # pref_address
        addl    %fs:0x260, %ecx         # init_size
        cmpl    %ecx, %eax
        jb      more
        cmpl    %edi, %eax
        jbe     more
        movl    %eax, %edi
more:   testl   %ebx, %ebx
        jnz     next
done:   ret

failed:
        movw    $name, %ax
        pushw   %si
        movw    %ax, %si
        call    print
        popw    %si
        call    print
1:      hlt
        jmp     1b
print:
        lodsb
        testb   %al, %al
        jz      1f
        movb    $0x0e, %ah
        movw    $7, %bx
        int     $0x10
        jmp     print
1:      ret

name:       .asciz "Daybreak: "
no_kernel:  .asciz "there is no kernel on the disk\r\n"
no_room:    .asciz "there is not enough memory\r\n"
no_disk:    .asciz "cannot read the disk\r\n"
drive:      .byte 0
        .balign 4
packet:
        .byte   16, 0
packet_count:   .word 0
        .word   0
packet_segment: .word 0
packet_sector:  .quad 0
        .balign 8
gdt:    .quad   0
        .quad   0x00cf92000000ffff      # data, from 0, 4 GiB
gdt_pointer:
        .word   15
        .long   gdt
        .org    2048
command_line:
