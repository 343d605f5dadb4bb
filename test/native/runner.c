/*
 * Runs short x86-64 user-mode instruction sequences on the host's own processor and reports everything they did.
 *
 * The entry and the ways back are in entry.S. Freestanding (no libc at run time, so FS is free for the guest), linked at a high address away from the guest's
 * windows. Batches arrive in a file (fd 3) and results leave in another (fd 4), both mapped; fd 0 carries commands
 * and fd 1 acknowledgements. layout.ts and native.ts describe the formats; keep the three in step.
 *
 * A case is entered with IRET, which loads RIP, CS, RFLAGS, RSP and SS at once and serialises. Its end is a jump to a
 * fixed address, where another jump leads back here with no register changed: no signal is involved. Faults arrive
 * as signals; the handler copies the frame and never returns through sigreturn. Endless loops are cut by a timer of CPU
 * time. System calls from guest code are refused by seccomp (SIGSYS), so guest code cannot touch the host.
 */
#define _GNU_SOURCE
#include <asm/ldt.h>
#include <cpuid.h>
#include <emmintrin.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>

#include "freestanding.h"

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

/* The guest's address space; the same numbers stand in layout.ts. */
#define PAGE 4096ul
#define CODE_LOW 0x10000000ul
#define CODE_SIZE (2 * PAGE)
#define END_LOW 0x10010000ul /* +0: 64-bit code lands here, +0x10: 32-bit code, +0x20: 16-bit code */
#define ENTER_16 0x60 /* on the same page: the way into 16-bit code, and where it finds its target */
#define ENTER_16_TARGET 0x80
#define DATA_LOW 0x20000000ul /* pages: writable, writable, read-only, none, writable, none */
#define DATA_SIZE (5 * PAGE)
#define HIGH 0x5a5a40000000ul /* added to the low addresses: a second mapping of the same pages */
#define CODE_IN_CHANGES 0x8000u /* where code bytes appear in the offsets of changes */
#define FILE_SIZE (64ul << 20)
#define RESULT_ROOM (48ul << 10) /* the largest possible result */
#define FP_SIZE 832 /* XSAVE area with x87, SSE and AVX in the standard format */
#define TICK_US 4000

struct fp_state { u8 bytes[FP_SIZE]; } __attribute__((aligned(64)));

struct batch { u32 cases, fp_count, image_count, cases_offset, fp_offset, image_offset, done, result_bytes; };

struct patch { u32 offset, length; u8 bytes[]; };

struct guest_case {
  u32 length;
  u8 mode, flags;
  u16 code_length;
  u32 patches, fp_index, image_index, reserved;
  u64 rip, rflags, fs_base, gs_base, gprs[16];
  u8 rest[]; /* code padded to 8, then patches, each padded to 8 */
};

enum { END = 0, FAULT = 1, TIMEOUT = 2, ENTRY_FAULT = 3 };

struct result {
  u32 length;
  u8 kind, vector, signal, fp_changed;
  u32 error_code, si_code;
  u64 cr2, rip, rflags, gprs[16], fs_base, gs_base;
  u16 cs, ss, ds, es, fs, gs, reserved[2];
  u32 changes, reserved2;
  u8 rest[]; /* fp_changed ? struct fp_state : nothing; then the changes, as patches */
};

/* Shared with entry.S. */
u64 in_gprs[16], in_frame[5], out_gprs[16], out_rflags, host_rsp;
u16 out_segments[4];
struct fp_state out_fp;
struct fp_state *in_fp;
u64 xcr_mask;

static u8 *code_rw, *data_rw, *end_rw, *batch_base, *result_base;
static u8 shadow[DATA_SIZE] __attribute__((aligned(16)));
static volatile u64 sequence, ticked;
static u32 fault_kind, fault_vector, fault_signal, fault_error, fault_si_code;
static u64 fault_cr2, fault_rip;
static u16 fault_cs, fault_ss;

/* In entry.S, and two from the linker. */
extern char resume_end[], runner_start[], runner_end[], signal_entry[], signal_restorer[];
int enter_guest(void);
void resume_fault(void) __attribute__((noreturn));

__attribute__((used)) void on_signal(int signal, siginfo_t *info, void *context) {
  ucontext_t *uc = context;
  const greg_t *r = uc->uc_mcontext.gregs;
  const u64 rip = r[REG_RIP];
  const int inside = rip >= (u64)runner_start && rip < (u64)runner_end && (r[REG_CSGSFS] & 0xffff) == 0x33;
  if (signal == SIGVTALRM) {
    if (inside || ticked != sequence) {
      ticked = sequence;
      return;
    }
  }
  static const u8 order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                               REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
  for (int i = 0; i < 16; i++) out_gprs[i] = r[order[i]];
  out_rflags = r[REG_EFL];
  memcpy(out_fp.bytes, uc->uc_mcontext.fpregs, xcr_mask & 4 ? FP_SIZE : 576);
  fault_kind = signal == SIGVTALRM ? TIMEOUT : inside ? ENTRY_FAULT : FAULT;
  fault_vector = signal == SIGSYS ? 0xff : r[REG_TRAPNO];
  fault_signal = signal;
  fault_error = r[REG_ERR];
  fault_si_code = info->si_code;
  fault_cr2 = r[REG_CR2];
  fault_rip = rip;
  fault_cs = r[REG_CSGSFS];
  fault_ss = (u64)r[REG_CSGSFS] >> 48;
  resume_fault();
}

static u64 get_fs(void) { u64 v; __asm__ volatile("rdfsbase %0" : "=r"(v)); return v; }
static u64 get_gs(void) { u64 v; __asm__ volatile("rdgsbase %0" : "=r"(v)); return v; }

/* Loading a selector sets a usable flat segment for compatibility mode; the bases come after it. */
static void load_segments(u16 data) {
  __asm__ volatile("mov %0, %%ds\n mov %0, %%es\n mov %0, %%fs\n mov %0, %%gs\n" : : "r"((u32)data));
}

static u8 *emit_change(u8 *out, u32 offset, const u8 *bytes, u32 length) {
  ((u32 *)out)[0] = offset;
  ((u32 *)out)[1] = length;
  memcpy(out + 8, bytes, length);
  return out + 8 + ((length + 7) & ~7u);
}

/* Emits the bytes of `live` that differ from `want`, in runs of 16-byte granules trimmed at both ends, and puts them back. */
static u8 *emit_differences(u8 *out, u32 *count, u8 *live, const u8 *want, u32 from, u32 to, u32 name) {
  u32 at = from;
  while (at < to) {
    __m128i same = _mm_cmpeq_epi8(_mm_load_si128((void *)(live + at)), _mm_load_si128((void *)(want + at)));
    if (_mm_movemask_epi8(same) == 0xffff) {
      at += 16;
      continue;
    }
    u32 start = at, end = at + 16;
    while (end < to &&
           _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_load_si128((void *)(live + end)), _mm_load_si128((void *)(want + end)))) != 0xffff)
      end += 16;
    at = end;
    while (live[start] == want[start]) start++;
    while (live[end - 1] == want[end - 1]) end--;
    out = emit_change(out, name + start, live + start, end - start);
    memcpy(live + start, want + start, end - start);
    (*count)++;
  }
  return out;
}

static int fp_differs(const u8 *a, const u8 *b) {
  /* FOP, FIP, FDP and MXCSR_MASK are not compared: processors differ in when they record them. */
  static const u16 ranges[][2] = {{0, 6}, {24, 28}, {32, 416}, {576, 832}};
  for (int i = 0; i < (xcr_mask & 4 ? 4 : 3); i++)
    for (u32 at = ranges[i][0]; at < ranges[i][1]; at += 2)
      if (*(u16 *)(a + at) != *(u16 *)(b + at)) return 1;
  return 0;
}

static u32 image_loaded = ~0u;
static u8 code_shadow[CODE_SIZE] __attribute__((aligned(16)));

static u8 *run_case(const struct batch *batch, const struct guest_case *c, u8 *out) {
  const u8 *image = batch_base + batch->image_offset + (u64)c->image_index * DATA_SIZE;
  if (image_loaded != c->image_index) {
    memcpy(data_rw, image, DATA_SIZE);
    memcpy(shadow, image, DATA_SIZE);
    image_loaded = c->image_index;
  }
  const u64 window = c->mode == 16 ? 0 : c->rip >= HIGH ? CODE_LOW + HIGH : CODE_LOW;
  const u64 offset = c->rip - window;
  const u32 padded = (c->code_length + 7) & ~7u;
  if (offset > CODE_SIZE || offset + c->code_length > CODE_SIZE) die("case: code does not fit\n");
  memcpy(code_rw + offset, c->rest, c->code_length);
  u32 code_end = offset + c->code_length;
  if (c->mode == 16 && code_end + 8 <= CODE_SIZE) {
    const u8 jump[8] = {0x66, 0xea, 0x20, 0x00, END_LOW >> 16 & 0xff, END_LOW >> 24, 0x33, 0}; /* jmp far 33:END_LOW+20 */
    memcpy(code_rw + code_end, jump, 8);
    code_end += 8;
  } else if (c->mode != 16 && code_end + 5 <= CODE_SIZE) {
    const u32 distance = END_LOW + (c->mode == 32 ? 0x10 : 0) - (CODE_LOW + code_end + 5);
    code_rw[code_end] = 0xe9;
    memcpy(code_rw + code_end + 1, &distance, 4);
    code_end += 5;
  }
  memcpy(code_shadow + offset, code_rw + offset, code_end - offset);

  const u8 *at = c->rest + padded;
  for (u32 i = 0; i < c->patches; i++) {
    const struct patch *p = (const void *)at;
    if ((u64)p->offset + p->length > DATA_SIZE) die("case: patch outside the data window\n");
    memcpy(data_rw + p->offset, p->bytes, p->length);
    memcpy(shadow + p->offset, p->bytes, p->length);
    at += 8 + ((p->length + 7) & ~7u);
  }

  memcpy(in_gprs, c->gprs, sizeof in_gprs);
  const u16 code_selector = c->mode == 64 ? 0x33 : c->mode == 32 ? 0x23 : 0x07, data_selector = c->mode == 16 ? 0x0f : 0x2b;
  if (c->mode == 16) *(u32 *)(end_rw + ENTER_16_TARGET) = c->rip;
  in_frame[0] = c->mode == 16 ? END_LOW + ENTER_16 : c->rip;
  in_frame[1] = c->mode == 64 ? 0x33 : 0x23;
  in_frame[2] = c->rflags;
  in_frame[3] = c->gprs[4];
  in_frame[4] = 0x2b;
  in_fp = (struct fp_state *)(batch_base + batch->fp_offset + (u64)c->fp_index * FP_SIZE);
  load_segments(data_selector);
  __asm__ volatile("wrfsbase %0\n wrgsbase %1\n" : : "r"(c->fs_base), "r"(c->gs_base));
  sequence++;
  const int faulted = enter_guest();

  struct result *r = (void *)out;
  r->kind = faulted ? fault_kind : END;
  r->vector = faulted ? fault_vector : 0;
  r->signal = faulted ? fault_signal : 0;
  r->error_code = faulted ? fault_error : 0;
  r->si_code = faulted ? fault_si_code : 0;
  r->cr2 = faulted && fault_vector == 14 ? fault_cr2 : 0;
  r->rip = faulted ? fault_rip : window + code_end;
  r->rflags = out_rflags;
  memcpy(r->gprs, out_gprs, sizeof out_gprs);
  r->fs_base = get_fs();
  r->gs_base = get_gs();
  r->cs = faulted ? fault_cs : code_selector;
  r->ss = faulted ? fault_ss : data_selector;
  memcpy(&r->ds, out_segments, sizeof out_segments);
  out = r->rest;
  r->fp_changed = fp_differs(in_fp->bytes, out_fp.bytes);
  if (r->fp_changed) {
    memcpy(out, out_fp.bytes, FP_SIZE);
    out += FP_SIZE;
  }
  u32 changes = 0;
  out = emit_differences(out, &changes, data_rw, shadow, 0, 2 * PAGE, 0);
  out = emit_differences(out, &changes, data_rw, shadow, 4 * PAGE, 5 * PAGE, 0);
  if (c->mode == 64) out = emit_differences(out, &changes, code_rw, code_shadow, 0, CODE_SIZE, CODE_IN_CHANGES);
  r->changes = changes;
  r->length = out - (u8 *)r;

  at = c->rest + padded;
  for (u32 i = 0; i < c->patches; i++) {
    const struct patch *p = (const void *)at;
    memcpy(data_rw + p->offset, image + p->offset, p->length);
    memcpy(shadow + p->offset, image + p->offset, p->length);
    at += 8 + ((p->length + 7) & ~7u);
  }
  memset(code_rw + offset, 0xcc, code_end - offset);
  memset(code_shadow + offset, 0xcc, code_end - offset);
  return out;
}

static void run_batch(void) {
  struct batch *batch = (void *)batch_base;
  const u8 *at = batch_base + batch->cases_offset;
  u8 *out = result_base;
  u32 done = 0;
  image_loaded = ~0u;
  for (; done < batch->cases && out - result_base + RESULT_ROOM <= FILE_SIZE; done++) {
    const struct guest_case *c = (const void *)at;
    out = run_case(batch, c, out);
    at += c->length;
  }
  batch->done = done;
  batch->result_bytes = out - result_base;
}

static u8 *map(u64 address, u64 length, int protection, int fd, u64 offset) {
  /* Populated, because a page not yet there would show in the error codes of page faults. */
  const int flags = MAP_SHARED | (address ? MAP_FIXED_NOREPLACE | MAP_POPULATE : 0);
  const long p = sys(SYS_mmap, address, length, protection, flags, fd, offset);
  if (p < 0 && p > -4096) die("mmap failed\n");
  return (u8 *)p;
}

static void install_handlers(void) {
  /* Away from this program: IRET to a 16-bit stack leaves the upper bits of the address of `in_frame` in RSP, and a
   * signal whose RSP lies in the alternate stack does not start at its top. */
  const u64 size = 128 << 10;
  stack_t stack = {.ss_sp = (void *)sys(SYS_mmap, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), .ss_size = size};
  SYS3(SYS_sigaltstack, &stack, 0, 0);
  static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS, SIGVTALRM};
  for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++) {
    struct { void *handler; u64 flags; void *restorer; u64 mask; } action = {
      signal_entry, SA_SIGINFO | SA_ONSTACK | SA_NODEFER | 0x04000000 /* SA_RESTORER */, signal_restorer, 0};
    if (sys(SYS_rt_sigaction, signals[i], (long)&action, 0, 8, 0, 0)) die("sigaction failed\n");
  }
  struct itimerval every = {{0, TICK_US}, {0, TICK_US}};
  SYS3(SYS_setitimer, ITIMER_VIRTUAL, &every, 0);
}

/* System calls are allowed only to the runner's own text. */
static void confine(void) {
  struct sock_filter filter[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 12), /* high half of instruction_pointer */
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (u64)runner_start >> 32, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
  };
  struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
  sys(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0);
  if (sys(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, (long)&program, 0, 0, 0)) die("seccomp is not available\n");
}

/* 16-bit segments over the code and data windows. False when the kernel is built without them. */
static int make_ldt(void) {
  struct user_desc code = {.entry_number = 0, .base_addr = CODE_LOW, .limit = CODE_SIZE - 1, .contents = 2};
  struct user_desc data = {.entry_number = 1, .base_addr = DATA_LOW, .limit = DATA_SIZE - 1, .contents = 0};
  return (int)SYS3(SYS_modify_ldt, 0x11, &code, sizeof code) == 0 && (int)SYS3(SYS_modify_ldt, 0x11, &data, sizeof data) == 0;
}

static void send_features(int has_16_bit) {
  static u32 report[64][6];
  static const u32 leaves[][2] = {{0, 0}, {1, 0}, {7, 0}, {7, 1}, {0xd, 0}, {0xd, 1}, {0x19, 0}, {0x80000001, 0}, {0x80000008, 0}};
  u32 n = 0;
  for (; n < sizeof leaves / sizeof *leaves; n++) {
    report[n][0] = leaves[n][0];
    report[n][1] = leaves[n][1];
    if (!__get_cpuid_count(leaves[n][0], leaves[n][1], &report[n][2], &report[n][3], &report[n][4], &report[n][5]))
      report[n][2] = report[n][3] = report[n][4] = report[n][5] = 0;
  }
  report[n][0] = 0xffffffff; /* not a CPUID leaf: what this runner can do */
  report[n][2] = has_16_bit;
  report[n++][3] = xcr_mask;
  SYS3(SYS_write, 1, report, n * sizeof *report);
}

__attribute__((used)) void runner_main(const long *stack) {
  const char **env = (const char **)(stack + stack[0] + 2);
  while (*env) env++;
  u64 hwcap2 = 0;
  for (const u64 *aux = (const u64 *)(env + 1); aux[0]; aux += 2)
    if (aux[0] == 26) hwcap2 = aux[1];
  if (!(hwcap2 & 2)) die("the kernel does not allow FSGSBASE instructions\n");
  u32 a = 0, b = 0, c = 0, d = 0;
  __get_cpuid(1, &a, &b, &c, &d);
  if (!(c & (1u << 27))) die("the processor or kernel has no XSAVE\n");
  __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
  xcr_mask = a & 7;

  const int fd = (int)SYS3(SYS_memfd_create, "guest", 0, 0);
  const u64 end_offset = CODE_SIZE + DATA_SIZE;
  if (fd < 0 || SYS3(SYS_ftruncate, fd, end_offset + PAGE, 0)) die("memfd failed\n");
  code_rw = map(0, CODE_SIZE, PROT_READ | PROT_WRITE, fd, 0);
  data_rw = map(0, DATA_SIZE, PROT_READ | PROT_WRITE, fd, CODE_SIZE);
  end_rw = map(0, PAGE, PROT_READ | PROT_WRITE, fd, end_offset);
  memset(code_rw, 0xcc, CODE_SIZE);
  memset(code_shadow, 0xcc, CODE_SIZE);
  memset(end_rw, 0xcc, PAGE);
  static const u8 far[] = {0xea, 0x00, 0x00, END_LOW >> 16 & 0xff, END_LOW >> 24, 0x33, 0}; /* jmp far 33:END_LOW */
  static const u8 near[] = {0xff, 0x25, 0x3a, 0, 0, 0}; /* jmp [rip + 3a], which is at +40 */
  /* IRET to a 16-bit stack would leave the upper bits of this program's RSP in ESP; so 16-bit code is entered from here. */
  static const u8 enter_16[] = {
    0x2e, 0x8e, 0x15, ENTER_16_TARGET + 6, 0x00, END_LOW >> 16 & 0xff, END_LOW >> 24, /* mov ss, cs:[END_LOW + ENTER_16_TARGET + 6] */
    0x2e, 0xff, 0x2d, ENTER_16_TARGET, 0x00, END_LOW >> 16 & 0xff, END_LOW >> 24,     /* jmp far cs:[END_LOW + ENTER_16_TARGET] */
  };
  memcpy(end_rw + ENTER_16, enter_16, sizeof enter_16);
  *(u16 *)(end_rw + ENTER_16_TARGET + 4) = 0x07;
  *(u16 *)(end_rw + ENTER_16_TARGET + 6) = 0x0f;
  memcpy(end_rw, near, 6);
  memcpy(end_rw + 0x10, far, 7);
  memcpy(end_rw + 0x20, near, 6);
  end_rw[0x22] = 0x1a;
  *(u64 *)(end_rw + 0x40) = (u64)resume_end;
  for (u64 base = 0; base <= HIGH; base += HIGH) {
    map(base + CODE_LOW, CODE_SIZE, PROT_READ | PROT_EXEC | (base ? PROT_WRITE : 0), fd, 0);
    map(base + END_LOW, PAGE, PROT_READ | PROT_EXEC, fd, end_offset);
    map(base + DATA_LOW, 2 * PAGE, PROT_READ | PROT_WRITE, fd, CODE_SIZE);
    map(base + DATA_LOW + 2 * PAGE, PAGE, PROT_READ, fd, CODE_SIZE + 2 * PAGE);
    map(base + DATA_LOW + 4 * PAGE, PAGE, PROT_READ | PROT_WRITE, fd, CODE_SIZE + 4 * PAGE);
  }
  batch_base = map(0, FILE_SIZE, PROT_READ | PROT_WRITE, 3, 0);
  result_base = map(0, FILE_SIZE, PROT_READ | PROT_WRITE, 4, 0);
  const int has_16_bit = make_ldt();
  install_handlers();
  confine();
  send_features(has_16_bit);
  char command;
  while (SYS3(SYS_read, 0, &command, 1) == 1) {
    run_batch();
    SYS3(SYS_write, 1, &command, 1);
  }
  SYS3(SYS_exit_group, 0, 0, 0);
}
