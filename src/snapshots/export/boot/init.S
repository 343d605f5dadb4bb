# /init of an exported disk's initramfs: loads the modules /m/000.ko, /m/001.ko…, waits for the disk with the root file system, and hands over to
# the system on it. A static x86-64 program without a library, so that it does not depend on what the system has.
# Linux: Documentation/filesystems/ramfs-rootfs-initramfs.rst; numbers of system calls: arch/x86/entry/syscalls/syscall_64.tbl.
        .set    READ_ONLY, 0
        .set    MS_MOVE, 8192
        .set    MNT_DETACH, 2
        .set    EXT_MAGIC, 0xef53
        .set    STACK_NAMES, 4096       # room for names of a directory

        .macro  system number
        movl    $\number, %eax
        syscall
        .endm

        .code64
        .globl _start
# ELF-64 Object File Format: one segment with everything.
        .byte   0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0
        .word   2, 62                   # an executable for x86-64
        .long   1
        .quad   _start, 64, 0
        .long   0
        .word   64, 56, 1, 0, 0, 0
        .long   1, 7                    # loaded; readable, writable, executable
        .quad   0, 0x400000, 0x400000, end - 0x400000, end - 0x400000, 4096

# Filled in: of the root file system.
uuid:   .quad   0, 0

_start:
        movq    %rsp, %rbp              # argc, argv, NULL, envp, NULL
        subq    $STACK_NAMES, %rsp
        leaq    dev(%rip), %rdi
        call    make_directory
        leaq    sys(%rip), %rdi
        call    make_directory
        leaq    root(%rip), %rdi
        call    make_directory
        leaq    dev(%rip), %rdi
        movq    %rdi, %rsi
        leaq    devtmpfs(%rip), %rdx
        call    mount
        leaq    sys(%rip), %rdi
        movq    %rdi, %rsi
        leaq    sysfs(%rip), %rdx
        call    mount

# A module that does not fit this machine refuses; that is as it should be.
modules:
        leaq    module(%rip), %rdi
        xorl    %esi, %esi
        system  2                       # open
        testl   %eax, %eax
        js      search
        movl    %eax, %ebx
        movl    %eax, %edi
        leaq    empty(%rip), %rsi
        xorl    %edx, %edx
        system  313                     # finit_module
        movl    %ebx, %edi
        system  3                       # close
        leaq    module_number + 2(%rip), %rdi
1:      incb    (%rdi)
        cmpb    $'9', (%rdi)
        jbe     modules
        movb    $'0', (%rdi)
        decq    %rdi
        jmp     1b

# All block devices, again and again: disks appear when they like.
search:
        leaq    block(%rip), %rdi
        xorl    %esi, %esi
        system  2                       # open
        testl   %eax, %eax
        js      again
        movl    %eax, %r12d
names:
        movl    %r12d, %edi
        movq    %rsp, %rsi
        movl    $STACK_NAMES, %edx
        system  217                     # getdents64
        testl   %eax, %eax
        jle     2f
        movq    %rsp, %r13
        leaq    (%rsp, %rax), %r14
1:      leaq    19(%r13), %rsi          # d_name
        call    try
        movzwl  16(%r13), %eax          # d_reclen
        addq    %rax, %r13
        cmpq    %r14, %r13
        jb      1b
        jmp     names
2:      movl    %r12d, %edi
        system  3                       # close
again:
        leaq    pause(%rip), %rdi
        xorl    %esi, %esi
        system  35                      # nanosleep
        decl    patience(%rip)
        jnz     search
        leaq    waiting(%rip), %rsi
        movl    $waiting_end - waiting, %edx
        call    print
        jmp     search

# Whether the device named RSI has the root file system; then there is no coming back.
try:
        cmpb    $'.', (%rsi)
        je      3f
        leaq    device_name(%rip), %rdi
        movl    $60, %ecx
1:      lodsb
        stosb
        testb   %al, %al
        loopnz  1b
        jnz     3f
        leaq    device(%rip), %rdi
        xorl    %esi, %esi
        system  2                       # open
        testl   %eax, %eax
        js      3f
        movl    %eax, %ebx
        movl    %eax, %edi
        leaq    superblock(%rip), %rsi
        movl    $128, %edx
        movl    $1024, %r10d
        system  17                      # pread64
        movq    %rax, %r15
        movl    %ebx, %edi
        system  3                       # close
        cmpq    $128, %r15
        jne     3f
        cmpw    $EXT_MAGIC, superblock + 56(%rip)
        jne     3f
        movq    superblock + 104(%rip), %rax
        cmpq    uuid(%rip), %rax
        jne     3f
        movq    superblock + 112(%rip), %rax
        cmpq    uuid + 8(%rip), %rax
        jne     3f
        leaq    device(%rip), %rdi
        leaq    root(%rip), %rsi
        leaq    ext4(%rip), %rdx
        call    mount
        testl   %eax, %eax
        jz      hand_over
        leaq    unmountable(%rip), %rsi
        movl    $unmountable_end - unmountable, %edx
        call    print
3:      ret

hand_over:
        leaq    sys(%rip), %rdi
        movl    $MNT_DETACH, %esi
        system  166                     # umount2
        leaq    dev(%rip), %rdi
        leaq    root_dev(%rip), %rsi
        movl    $MS_MOVE, %r10d
        call    mount_flags
        leaq    root(%rip), %rdi
        system  80                      # chdir
        leaq    here(%rip), %rdi
        leaq    slash(%rip), %rsi
        movl    $MS_MOVE, %r10d
        call    mount_flags
        leaq    here(%rip), %rdi
        system  161                     # chroot
        leaq    slash(%rip), %rdi
        system  80                      # chdir
        leaq    sbin_init(%rip), %rdi
        call    execute
        leaq    systemd(%rip), %rdi
        call    execute
        leaq    shell(%rip), %rdi
        call    execute
        leaq    no_init(%rip), %rsi
        movl    $no_init_end - no_init, %edx
        call    print
1:      system  34                      # pause
        jmp     1b

# Arguments and environment are those that the kernel gave.
execute:
        movq    %rdi, 8(%rbp)
        leaq    8(%rbp), %rsi
        movq    (%rbp), %rax
        leaq    16(%rbp, %rax, 8), %rdx
        system  59                      # execve
        ret

make_directory:
        movl    $0755, %esi
        system  83                      # mkdir
        ret

mount:
        xorl    %r10d, %r10d
mount_flags:
        xorl    %r8d, %r8d
        system  165                     # mount
        ret

print:
        movl    $2, %edi
        system  1                       # write
        ret

dev:        .asciz "/dev"
sys:        .asciz "/sys"
root:       .asciz "/root"
root_dev:   .asciz "/root/dev"
here:       .asciz "."
slash:      .asciz "/"
devtmpfs:   .asciz "devtmpfs"
sysfs:      .asciz "sysfs"
ext4:       .asciz "ext4"
block:      .asciz "/sys/class/block"
module:     .ascii "/m/"
module_number:
            .ascii "000"
            .ascii ".ko"
empty:      .asciz ""
sbin_init:  .asciz "/sbin/init"
systemd:    .asciz "/usr/lib/systemd/systemd"
shell:      .asciz "/bin/sh"
waiting:    .ascii "daybreak: waiting for the disk with the root file system; is it attached in a way that the kernel has a driver for?\n"
waiting_end:
unmountable: .ascii "daybreak: the root file system cannot be mounted\n"
unmountable_end:
no_init:    .ascii "daybreak: the system has no init\n"
no_init_end:
device:     .ascii "/dev/"
device_name: .fill 64, 1, 0
        .balign 8
pause:      .quad 0, 50000000           # 50 ms
patience:   .long 200
superblock: .fill 128, 1, 0
end:
