/* The smallest loop around KVM_RUN: real mode, out and jmp for ever; prints the nanoseconds of the
 * fastest of BURSTS bursts of EXITS exits each. With a third argument, KVM has interrupt controllers;
 * a fourth is how often the guest executes LOOP between two exits. */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

enum { CODE = 0x1000, RAM = 0x400000 };

int main(int argc, char **argv)
{
	/* again: mov $1, %cx; loop .; out %al, $0x10; jmp to the mov, or without a fourth argument to the out */
	unsigned char code[] = { 0xb9, 1, 0, 0xe2, 0xfe, 0xe6, 0x10, 0xeb, 0xfc };
	unsigned pause = argc > 4 ? atoi(argv[4]) : 0;
	long exits = argc > 2 ? atol(argv[1]) : 1000;
	long bursts = argc > 2 ? atol(argv[2]) : 1;
	long long best = -1;
	int kvm = open("/dev/kvm", O_RDWR);
	int vm = ioctl(kvm, KVM_CREATE_VM, 0);
	void *ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct kvm_userspace_memory_region region = { .memory_size = RAM, .userspace_addr = (unsigned long)ram };
	struct kvm_sregs sregs;
	struct kvm_regs regs = { .rip = CODE, .rflags = 2 };
	struct timespec before, after;

	if (pause > 0) {
		code[1] = pause;
		code[2] = pause >> 8;
		code[8] = 0xf7;
	}
	memcpy((char *)ram + CODE, code, sizeof code);
	ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000);
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		return 1;
	if (argc > 3 && ioctl(vm, KVM_CREATE_IRQCHIP, 0) < 0)
		return 1;
	int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	struct kvm_run *run = mmap(NULL, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED || ioctl(vcpu, KVM_GET_SREGS, &sregs) < 0)
		return 1;
	sregs.cs.base = sregs.cs.selector = 0;
	ioctl(vcpu, KVM_SET_SREGS, &sregs);
	ioctl(vcpu, KVM_SET_REGS, &regs);

	while (bursts-- > 0) {
		clock_gettime(CLOCK_MONOTONIC, &before);
		for (long n = 0; n < exits; n++)
			if (ioctl(vcpu, KVM_RUN, 0) < 0 || run->exit_reason != KVM_EXIT_IO || run->io.port != 0x10)
				return 2;
		clock_gettime(CLOCK_MONOTONIC, &after);
		long long ns = (after.tv_sec - before.tv_sec) * 1000000000LL + after.tv_nsec - before.tv_nsec;
		if (best < 0 || ns < best)
			best = ns;
	}
	printf("%lld\n", best);
	return 0;
}
