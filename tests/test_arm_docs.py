"""The script behind docs/arm_kernels.md: its plugin tells instructions apart, and it says why it cannot run."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
WORDS = {
    "4e829420": "DOT",  # sdot v0.4s, v1.16b, v2.16b
    "6e829420": "DOT",  # udot v0.4s, v1.16b, v2.16b
    "6fa2e820": "DOT",  # udot v0.4s, v1.16b, v2.4b[3]
    "0e22c020": "WIDE",  # smull v0.8h, v1.8b, v2.8b
    "6e228020": "WIDE",  # umlal2 v0.8h, v1.16b, v2.16b
    "4f42a020": "WIDE",  # smull2 v0.4s, v1.8h, v2.h[0]
    "4e229c20": "MUL",  # mul v0.16b, v1.16b, v2.16b
    "4ea29420": "MUL",  # mla v0.4s, v1.4s, v2.4s
    "4f828020": "MUL",  # mul v0.4s, v1.4s, v2.s[0]
    "4e22cc20": "FMA",  # fmla v0.4s, v1.4s, v2.4s
    "4f821020": "FMA",  # fmla v0.4s, v1.4s, v2.s[0]
    "1f020c20": "FMA",  # fmadd s0, s1, s2, s3
    "4e606820": "VECTOR",  # sadalp v0.4s, v1.8h
    "6ea2b420": "VECTOR",  # sqrdmulh v0.4s, v1.4s, v2.4s
    "0e22e020": "VECTOR",  # pmull v0.8h, v1.8b, v2.8b
    "3dc00000": "VMEMORY",  # ldr q0, [x0]
    "4c407000": "VMEMORY",  # ld1 {v0.16b}, [x0]
    "f9400020": "MEMORY",  # ldr x0, [x1]
    "14000000": "BRANCH",  # b .
    "d65f03c0": "BRANCH",  # ret
    "8b020020": "SCALAR",  # add x0, x1, x2
}
"""Encodings of the Arm ARM, and the kind each is counted as."""

PROGRAM = """
#include "arm_instructions.c"
#define STUB(type, name, ...) type name(__VA_ARGS__)
STUB(void, qemu_plugin_register_vcpu_tb_trans_cb, qemu_plugin_id_t a, tb_cb b) { (void)a, (void)b; }
STUB(void, qemu_plugin_register_vcpu_syscall_cb, qemu_plugin_id_t a, syscall_cb b) { (void)a, (void)b; }
STUB(void, qemu_plugin_register_vcpu_tb_exec_inline, struct qemu_plugin_tb *a, int b, void *c, uint64_t d)
    { (void)a, (void)b, (void)c, (void)d; }
STUB(size_t, qemu_plugin_tb_n_insns, const struct qemu_plugin_tb *a) { return a != 0; }
STUB(struct qemu_plugin_insn *, qemu_plugin_tb_get_insn, const struct qemu_plugin_tb *a, size_t b)
    { (void)a, (void)b; return 0; }
STUB(uint64_t, qemu_plugin_tb_vaddr, const struct qemu_plugin_tb *a) { return a != 0; }
STUB(const void *, qemu_plugin_insn_data, const struct qemu_plugin_insn *a) { return a; }
int main(void) { unsigned word; while (scanf("%x", &word) == 1) printf("%d\\n", kind_of(word)); return 0; }
"""


def test_the_plugin_knows_every_kind_of_instruction_that_is_counted(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    source, program = tmp_path / "kinds.c", tmp_path / "kinds"
    source.write_text(PROGRAM)
    subprocess.run([compiler, "-I", str(SCRIPTS), "-o", str(program), str(source)], check=True)
    said = subprocess.run([program], input="\n".join(WORDS), capture_output=True, text=True)
    kinds = ["DOT", "WIDE", "MUL", "FMA", "VECTOR", "VMEMORY", "MEMORY", "BRANCH", "SCALAR"]
    found = [kinds[int(line)] for line in said.stdout.split()]
    assert dict(zip(WORDS, found, strict=True)) == WORDS


def test_without_qemus_plugins_one_sentence_says_what_to_install() -> None:
    command = [sys.executable, str(SCRIPTS / "make_arm_results.py"), "--qemu", sys.executable]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("skipped: ")
    assert ran.stdout.strip().endswith("sudo apt-get install qemu-user")
    assert len(ran.stdout.splitlines()) == 1
