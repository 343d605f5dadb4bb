# What UEFI firmware starts: \EFI\BOOT\BOOTX64.EFI has this code as its first section, and the kernel, the initramfs and the command line
# in others. It starts the kernel, which is an EFI program too, with that command line, and offers the initramfs as the kernel asks for it.
# UEFI Specification 2.10, 7.4 "Image Services", 13.2 "Load File 2 Protocol"; Linux: Documentation/admin-guide/efi-stub.rst.
        .set    TEXT, 0x1000            # this section's address in the image
        .set    INSTALL_PROTOCOL, 128   # in the table of boot services
        .set    HANDLE_PROTOCOL, 152
        .set    LOAD_IMAGE, 200
        .set    START_IMAGE, 208
        .set    OUTPUT_STRING, 8        # in the protocol of the console
        .code64
        .globl _start
_start:
        jmp     main
        .org    8
# Filled in when the image is made: addresses in the image, and sizes.
kernel:         .long 0
kernel_bytes:   .long 0
initrd:         .long 0
initrd_bytes:   .long 0
options:        .long 0                 # UCS-2, with its NUL
options_bytes:  .long 0

main:
        pushq   %rbx
        pushq   %rsi
        pushq   %rdi
        subq    $64, %rsp
        movq    %rcx, %rsi              # our own handle
        movq    %rdx, system_table(%rip)
        movq    96(%rdx), %rbx          # boot services

        cmpl    $0, initrd_bytes(%rip)
        je      1f
        leaq    load_file(%rip), %rax
        movq    %rax, load_file_protocol(%rip)
        leaq    initrd_handle(%rip), %rcx
        leaq    device_path_guid(%rip), %rdx
        leaq    initrd_path(%rip), %r9
        call    install
        leaq    initrd_handle(%rip), %rcx
        leaq    load_file2_guid(%rip), %rdx
        leaq    load_file_protocol(%rip), %r9
        call    install

1:      leaq    _start - TEXT(%rip), %rdi
        movl    kernel(%rip), %r9d
        addq    %rdi, %r9
        movl    kernel_bytes(%rip), %eax
        movq    %rax, 32(%rsp)
        leaq    kernel_handle(%rip), %rax
        movq    %rax, 40(%rsp)
        xorl    %ecx, %ecx
        movq    %rsi, %rdx
        xorl    %r8d, %r8d
        call    *LOAD_IMAGE(%rbx)
        testq   %rax, %rax
        jnz     failed
        movq    kernel_handle(%rip), %rcx
        leaq    loaded_image_guid(%rip), %rdx
        leaq    loaded_image(%rip), %r8
        call    *HANDLE_PROTOCOL(%rbx)
        testq   %rax, %rax
        jnz     failed
        movq    loaded_image(%rip), %rax
        movl    options_bytes(%rip), %ecx
        movl    %ecx, 48(%rax)          # LoadOptionsSize
        movl    options(%rip), %ecx
        addq    %rdi, %rcx
        movq    %rcx, 56(%rax)          # LoadOptions
        movq    kernel_handle(%rip), %rcx
        xorl    %edx, %edx
        xorl    %r8d, %r8d
        call    *START_IMAGE(%rbx)
failed:
        movq    %rax, %rbx
        movq    system_table(%rip), %rax
        movq    64(%rax), %rcx          # ConOut
        testq   %rcx, %rcx
        jz      1f
        leaq    message(%rip), %rdx
        call    *OUTPUT_STRING(%rcx)
1:      movq    %rbx, %rax
        addq    $64, %rsp
        popq    %rdi
        popq    %rsi
        popq    %rbx
        ret

install:
        subq    $40, %rsp
        xorl    %r8d, %r8d              # EFI_NATIVE_INTERFACE
        call    *INSTALL_PROTOCOL(%rbx)
        addq    $40, %rsp
        testq   %rax, %rax
        jz      1f
        addq    $8, %rsp                # back from main
        jmp     failed
1:      ret

# EFI_LOAD_FILE2.LoadFile(This, FilePath, BootPolicy, *BufferSize, Buffer)
load_file:
        movl    initrd_bytes(%rip), %eax
        movq    40(%rsp), %rdx          # Buffer
        testq   %rdx, %rdx
        jz      small
        cmpq    %rax, (%r9)
        jb      small
        movq    %rax, (%r9)
        pushq   %rsi
        pushq   %rdi
        leaq    _start - TEXT(%rip), %rsi
        movl    initrd(%rip), %ecx
        addq    %rcx, %rsi
        movq    %rdx, %rdi
        movq    %rax, %rcx
        cld
        rep movsb
        popq    %rdi
        popq    %rsi
        xorl    %eax, %eax
        ret
small:  movq    %rax, (%r9)
        movabsq $0x8000000000000005, %rax # EFI_BUFFER_TOO_SMALL
        ret

        .balign 8
system_table:       .quad 0
kernel_handle:      .quad 0
loaded_image:       .quad 0
initrd_handle:      .quad 0
load_file_protocol: .quad 0
loaded_image_guid:
        .long 0x5b1b31a1; .word 0x9562, 0x11d2; .byte 0x8e, 0x3f, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b
device_path_guid:
        .long 0x09576e91; .word 0x6d3f, 0x11d2; .byte 0x8e, 0x39, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b
load_file2_guid:
        .long 0x4006c0c1; .word 0xfcb3, 0x403e; .byte 0x99, 0x6d, 0x4a, 0x6c, 0x87, 0x24, 0xe0, 0x6d
initrd_path:                            # a vendor's medium, LINUX_EFI_INITRD_MEDIA_GUID, and the end
        .byte 4, 3; .word 20
        .long 0x5568e427; .word 0x68fc, 0x4f3d; .byte 0xac, 0x74, 0xca, 0x55, 0x52, 0x31, 0xcc, 0x68
        .byte 0x7f, 0xff; .word 4
        .balign 2
message:            .string16 "Daybreak: the kernel cannot be started\r\n"
