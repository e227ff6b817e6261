/* A plugin for qemu's user mode: how many instructions of each kind an aarch64 program executed.
 *
 * Every getpriority(0, MARK) of the program (scripts/arm_guest.py) appends one line of running totals to
 * the file named by out=FILE, in the order of the enum, which make_arm_results.py has too. With
 * blocks=FILE it also appends a line "address instructions executions" for every translated block that ran
 * since the last mark, and an empty line: arm_kernels.py adds them up by function. Counters are not atomic:
 * for programs that compute in one thread. The declarations are those of plugin API 1 (qemu 7.2): Debian
 * packages no header.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define MARK 0x7ec0de
#define GETPRIORITY 141 /* aarch64's number */
#define ADD_U64 0

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef void (*tb_cb)(qemu_plugin_id_t, struct qemu_plugin_tb *);
typedef void (*syscall_cb)(qemu_plugin_id_t, unsigned, int64_t, uint64_t, uint64_t, uint64_t,
                           uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, tb_cb);
void qemu_plugin_register_vcpu_syscall_cb(qemu_plugin_id_t, syscall_cb);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int, void *, uint64_t);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);
EXPORT int qemu_plugin_version = 1;

enum kind { DOT, WIDE, MUL, FMA, VECTOR, VMEMORY, MEMORY, BRANCH, SCALAR, KINDS };
static uint64_t total[KINDS];
static FILE *out, *blocks;

struct block { uint64_t address, instructions, executions, before; struct block *next; };
static struct block *first; /* of all that were translated, the last one first */

struct rule { uint32_t mask, value; enum kind kind; };
static const struct rule rules[] = { /* Arm ARM, section C4.1; the first that fits counts */
    {0x9fe0fc00, 0x0e809400, DOT},     /* SDOT, UDOT: 16 products of bytes, added up by fours */
    {0x9fc0f400, 0x0f80e000, DOT},     /* by element */
    {0x9f20bc00, 0x0e208000, WIDE},    /* SMULL, UMULL, SMLAL, UMLAL: 8 products of bytes */
    {0x9f007400, 0x0f002000, WIDE},    /* by element */
    {0xbf20fc00, 0x0e209c00, MUL},     /* MUL */
    {0x9f20fc00, 0x0e209400, MUL},     /* MLA, MLS */
    {0xbf00f400, 0x0f008000, MUL},     /* by element */
    {0xbf00b400, 0x2f000000, MUL},
    {0xbfa0fc00, 0x0e20cc00, FMA},     /* FMLA */
    {0xbf80f400, 0x0f801000, FMA},     /* by element */
    {0xff208000, 0x1f000000, FMA},     /* FMADD */
    {0x0e000000, 0x0e000000, VECTOR},  /* every other one of SIMD and floating point */
    {0x0e000000, 0x0c000000, VMEMORY}, /* loads and stores of vector registers */
    {0x0a000000, 0x08000000, MEMORY},
    {0x1c000000, 0x14000000, BRANCH},
    {0, 0, SCALAR},
};

static enum kind kind_of(uint32_t word)
{
    const struct rule *rule = rules;
    while ((word & rule->mask) != rule->value)
        rule++;
    return rule->kind;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *block)
{
    uint64_t here[KINDS] = {0};
    (void)id;
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); i++) {
        uint32_t word;
        memcpy(&word, qemu_plugin_insn_data(qemu_plugin_tb_get_insn(block, i)), sizeof word);
        here[kind_of(word)]++;
    }
    for (int kind = 0; kind < KINDS; kind++)
        if (here[kind])
            qemu_plugin_register_vcpu_tb_exec_inline(block, ADD_U64, &total[kind], here[kind]);
    if (blocks) {
        struct block *one = calloc(1, sizeof *one);
        one->address = qemu_plugin_tb_vaddr(block);
        one->instructions = qemu_plugin_tb_n_insns(block);
        one->next = first;
        first = one;
        qemu_plugin_register_vcpu_tb_exec_inline(block, ADD_U64, &one->executions, 1);
    }
}

static void write_blocks(void)
{
    for (struct block *one = first; one; one = one->next) {
        uint64_t ran = one->executions - one->before;
        if (ran)
            fprintf(blocks, "%llx %llu %llu\n", (unsigned long long)one->address,
                    (unsigned long long)one->instructions, (unsigned long long)ran);
        one->before = one->executions;
    }
    fputc('\n', blocks);
    fflush(blocks);
}

static void called(qemu_plugin_id_t id, unsigned vcpu, int64_t number, uint64_t which, uint64_t who,
                   uint64_t a3, uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8)
{
    (void)id, (void)vcpu, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
    if (number != GETPRIORITY || which || who != MARK)
        return;
    for (int kind = 0; kind < KINDS; kind++)
        fprintf(out, "%llu%c", (unsigned long long)total[kind], kind + 1 < KINDS ? ' ' : '\n');
    fflush(out);
    if (blocks)
        write_blocks();
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int count, char **options)
{
    (void)info;
    for (int i = 0; i < count; i++) {
        if (!strncmp(options[i], "out=", 4))
            out = fopen(options[i] + 4, "a");
        if (!strncmp(options[i], "blocks=", 7))
            blocks = fopen(options[i] + 7, "a");
    }
    if (!out)
        return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    return 0;
}
