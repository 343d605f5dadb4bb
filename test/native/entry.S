/* Into a case, and the two ways back. Variables are runner.c's; GPRs are stored in the order of their encodings. */
  .text
  .globl _start, enter_guest, resume_end, resume_fault, signal_entry, signal_restorer

_start:
  mov %rsp, %rdi
  and $-16, %rsp
  call runner_main

/* int enter_guest(void): 0 when the case came to its end, 1 after resume_fault. */
enter_guest:
  push %rbx
  push %rbp
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, host_rsp(%rip)
  mov in_fp(%rip), %rcx
  mov xcr_mask(%rip), %eax
  xor %edx, %edx
  xrstor64 (%rcx)
  mov in_gprs+0x00(%rip), %rax
  mov in_gprs+0x08(%rip), %rcx
  mov in_gprs+0x10(%rip), %rdx
  mov in_gprs+0x18(%rip), %rbx
  mov in_gprs+0x28(%rip), %rbp
  mov in_gprs+0x30(%rip), %rsi
  mov in_gprs+0x38(%rip), %rdi
  mov in_gprs+0x40(%rip), %r8
  mov in_gprs+0x48(%rip), %r9
  mov in_gprs+0x50(%rip), %r10
  mov in_gprs+0x58(%rip), %r11
  mov in_gprs+0x60(%rip), %r12
  mov in_gprs+0x68(%rip), %r13
  mov in_gprs+0x70(%rip), %r14
  mov in_gprs+0x78(%rip), %r15
  lea in_frame(%rip), %rsp
  iretq

/* The end of every case jumps here with its registers as they are. */
resume_end:
  mov %rax, out_gprs+0x00(%rip)
  mov %rcx, out_gprs+0x08(%rip)
  mov %rdx, out_gprs+0x10(%rip)
  mov %rbx, out_gprs+0x18(%rip)
  mov %rsp, out_gprs+0x20(%rip)
  mov %rbp, out_gprs+0x28(%rip)
  mov %rsi, out_gprs+0x30(%rip)
  mov %rdi, out_gprs+0x38(%rip)
  mov %r8, out_gprs+0x40(%rip)
  mov %r9, out_gprs+0x48(%rip)
  mov %r10, out_gprs+0x50(%rip)
  mov %r11, out_gprs+0x58(%rip)
  mov %r12, out_gprs+0x60(%rip)
  mov %r13, out_gprs+0x68(%rip)
  mov %r14, out_gprs+0x70(%rip)
  mov %r15, out_gprs+0x78(%rip)
  mov host_rsp(%rip), %rsp
  pushfq
  popq out_rflags(%rip)
  pushq $2
  popfq
  mov xcr_mask(%rip), %eax
  xor %edx, %edx
  xsave64 out_fp(%rip)
  xor %eax, %eax
1:
  mov %ds, out_segments+0(%rip)
  mov %es, out_segments+2(%rip)
  mov %fs, out_segments+4(%rip)
  mov %gs, out_segments+6(%rip)
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbp
  pop %rbx
  ret

/* From the signal handler, instead of sigreturn. */
resume_fault:
  mov host_rsp(%rip), %rsp
  pushq $2
  popfq
  mov $1, %eax
  jmp 1b

/* The guest's AC flag must not reach C code. */
signal_entry:
  pushq $2
  popfq
  jmp on_signal

signal_restorer:
  mov $15, %eax
  syscall

  .section .note.GNU-stack, "", @progbits
