#!/usr/bin/env python3
"""Writes the table of dtype facts by running the installed PyTorch and NumPy.

Run:  python3 generate.py [-o ../facts-RELEASE.txt] [-j 2] [--only REGEX] [--seed N]

Takes 30 to 80 seconds on two cores. The same versions give the same bytes,
however many processes measure and however busy the machine is: every op starts
from a seed of its own, its limit is one of CPU time, and what an op leaves
uninitialised has a fixed value. Another --seed gives other samples and other
such values; a line that then differs rests on values, not on dtypes.
"""
import argparse
import json
import os
import random
import re
import select
import signal
import subprocess
import sys
import tempfile
import zlib

# Every error that PyTorch raises symbolises a C++ backtrace, some 6 ms of
# work; a backtrace() that finds nothing makes 300,000 raising calls feasible.
if __name__ == "__main__" and "DTYPEBOT_GEN" not in os.environ:
    with tempfile.TemporaryDirectory() as d:
        so = os.path.join(d, "nobacktrace.so")
        seed = sys.argv[sys.argv.index("--seed") + 1] if "--seed" in sys.argv else "0"
        # glibc fills what malloc gives with this byte (its complement, in fact).
        env = dict(os.environ, DTYPEBOT_GEN="slow", PYTHONDONTWRITEBYTECODE="1", PYTHONHASHSEED=seed, MALLOC_PERTURB_=str(1 + int(seed) * 37 % 255))
        try:
            done = subprocess.run(["cc", "-shared", "-fPIC", "-o", so, "-x", "c", "-"],
                                  input=b"int backtrace(void**b,int n){(void)b;(void)n;return 0;}")
            if done.returncode == 0:
                env["DTYPEBOT_GEN"], env["LD_PRELOAD"] = "fast", so
        except OSError:
            pass
        sys.exit(subprocess.run([sys.executable] + sys.argv, env=env).returncode)

import ops  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))


def start(name, seed):
    """Makes all random numbers depend on the name alone."""
    n = zlib.crc32(("%s %d" % (name, seed)).encode())
    random.seed(n)
    np.random.seed(n)
    torch.manual_seed(n)


def work(targets, todo, out, seed):
    """Measures targets in a child process, one JSON line before and after
    each, so that an op that crashes the interpreter costs only itself."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)

    def alarm(*a):
        raise ops.Timeout()

    signal.signal(signal.SIGPROF, alarm)
    with os.fdopen(out, "w") as w:
        for i in todo:
            w.write(json.dumps({"start": i}) + "\n")
            w.flush()
            start(".".join(targets[i]), seed)
            signal.setitimer(signal.ITIMER_PROF, 60)
            try:
                r, why = ops.measure(*targets[i]), "no arguments found"
            except ops.Timeout:
                r, why = None, "timeout"
            except Exception as e:  # noqa: BLE001
                r, why = None, type(e).__name__ + ": " + str(e)[:80]
            signal.setitimer(signal.ITIMER_PROF, 0)
            w.write(json.dumps({"i": i, "rec": r, "why": why, "messages": ops.messages}) + "\n")
            w.flush()
            ops.messages.clear()
    os._exit(0)


def measured(targets, jobs, seed):
    records, missing, live = {}, {}, {}

    def spawn(todo):
        if not todo:
            return
        r, w = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(r)
            try:
                work(targets, todo, w, seed)
            finally:
                os._exit(1)
        os.close(w)
        live[r] = {"todo": todo, "pid": pid, "at": None, "buf": b""}

    for k in range(jobs):
        spawn(list(range(k, len(targets), jobs)))
    while live:
        for fd in select.select(list(live), [], [])[0]:
            st, data = live[fd], os.read(fd, 1 << 16)
            if not data:
                os.close(fd)
                os.waitpid(st["pid"], 0)
                del live[fd]
                at = st["at"]
                if at is not None and at not in records and at not in missing:
                    missing[at] = "crash"
                    spawn(st["todo"][st["todo"].index(at) + 1:])
                continue
            st["buf"] += data
            while b"\n" in st["buf"]:
                line, st["buf"] = st["buf"].split(b"\n", 1)
                m = json.loads(line)
                if "start" in m:
                    st["at"] = m["start"]
                elif m["rec"]:
                    records[m["i"]] = (m["rec"], m["messages"])
                else:
                    missing[m["i"]] = m["why"]
    return [records[i] for i in sorted(records)], {".".join(targets[i][:2]): w for i, w in sorted(missing.items())}


class Interned:
    def __init__(self):
        self.index, self.list = {}, []

    def __call__(self, s):
        if s not in self.index:
            self.index[s] = len(self.list)
            self.list.append(s)
        return str(self.index[s])


def outcome(o):
    """One result in the table's words: dtypes joined by |, ! no kernel, ? an
    error, o something that is no tensor, e an empty tuple."""
    if o is None or o.startswith("E:"):
        return "!" if o == "E:ni" else "?"
    if o == "empty":
        return "e"
    return "|".join("o" if x.startswith("P:") or x == "None" or x.startswith("torch.") else x for x in o.split("|"))


def results(same):
    return ",".join(outcome(same.get(d)) for d in ops.ALL)


def op_lines(records):
    same, msgs, lines, order = Interned(), Interned(), {}, []
    for r, ms in records:
        operands = []
        for index, name, c, z, msg, mark, scalars in r["operands"]:
            operands.append("%s%s:%s:%s%s:%s:%s" % (name, mark, index if index >= 0 else "", c, z, "/".join(msgs(ms[m]) for m in msg), scalars))
        line = " ".join([
            r["kind"], ",".join(r["params"]) or "-", ",".join(r["keyword"]) or "-", ";".join(operands) or "-", same(results(r["same"])),
            same(results(r["dimsame"])) if r["dimsame"] else "-",
            r["cuda"] + r["cpu"] + r["rank"] + ("t" if r["takes"] else "-") + ("v" if r["vary"] else "-") + r["habits"], str(r["dim"]) if r["dim"] >= 0 else "-"])
        if line not in lines:
            lines[line] = []
            order.append(line)
        lines[line].append(r["name"])
    return same.list, msgs.list, [",".join(shorten(lines[x])) + " " + x for x in order]


def shorten(names):
    """torch.Tensor.add becomes T.add, and so on: the reader expands them."""
    short = (("torch.Tensor.", "T."), ("torch.nn.functional.", "F."), ("torch.linalg.", "linalg."), ("torch.special.", "special."),
             ("torch.fft.", "fft."), ("torch.", ""))
    out = []
    for n in names:
        for long, s in short:
            if n.startswith(long):
                out.append(s + n[len(long):])
                break
    return out


def main():
    ap = argparse.ArgumentParser()
    release = ".".join(torch.__version__.split(".")[:2])
    ap.add_argument("-o", default=os.path.join(HERE, "..", "facts-%s.txt" % release))
    ap.add_argument("-j", type=int, default=2)
    ap.add_argument("--only", help="measure only the ops that match")
    ap.add_argument("--seed", type=int, default=0, help="other samples")
    a = ap.parse_args()
    targets = ops.targets()
    if a.only:
        targets = [t for t in targets if re.search(a.only, ".".join(t[:2]))]
    records, missing = measured(targets, a.j, a.seed)
    same, msgs, lines = op_lines(records)
    out = ["# Written by gen/generate.py; do not edit.", "[version]", "torch " + torch.__version__, "numpy " + np.__version__,
           "[dtypes]", ",".join(ops.ALL), "[messages]"] + msgs + ["[results]"] + same + ["[ops]"] + lines
    out += sections(a.seed)
    out += ["[missing]"] + ["%s %s" % kv for kv in missing.items()]
    with open(a.o, "w", encoding="utf-8") as f:
        f.write("\n".join(out) + "\n")
    print("%d targets, %d measured, %d lines, %d bytes" % (len(targets), len(records), len(out), os.path.getsize(a.o)), file=sys.stderr)


def sections(seed):
    """Everything but the ops, which the parent measures alone."""
    out = []
    for name in ("basics", "factories", "modules", "arrays"):
        module = __import__(name)
        start(name, seed)
        out += module.lines()
    return out


if __name__ == "__main__":
    main()
