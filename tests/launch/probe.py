# Says all that a launcher could have changed of a process, as JSON. Runs under any Python.
import json
import os
import resource
import signal
import sys


def text(value):
    if isinstance(value, bytes) and not isinstance(value, str):
        return value.decode("latin-1")
    return value


def environ():
    with open("/proc/self/environ", "rb") as file:
        entries = file.read().split(b"\0")
    return dict(text(entry).split("=", 1) for entry in entries if b"=" in entry)


def descriptors():
    found = {}
    for name in sorted(os.listdir("/proc/self/fd"), key=int):
        try:
            target = os.readlink("/proc/self/fd/" + name)
        except OSError:
            continue  # the directory being read
        found[name] = target.split(":")[0]
    return found


def status():
    wanted = ("SigBlk", "SigIgn", "SigCgt", "ShdPnd", "SigPnd", "Umask", "NoNewPrivs", "CapEff", "Threads")
    with open("/proc/self/status") as file:
        lines = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    return {name: lines.get(name) for name in wanted}


with open("/proc/self/cmdline", "rb") as file:
    cmdline = [text(word) for word in file.read().split(b"\0")]

try:
    cwd = os.getcwd()
except OSError:
    cwd = None

facts = {
    "pid": os.getpid(),
    "argv": [text(os.fsencode(word)) if hasattr(os, "fsencode") else text(word) for word in sys.argv],
    "cmdline": cmdline,
    "environ": environ(),
    "cwd": cwd,
    "fds": descriptors(),
    "status": status(),
    "handlers": [str(signal.getsignal(number)) for number in range(1, 32)],
    "limits": [
        resource.getrlimit(getattr(resource, name)) for name in sorted(dir(resource)) if name.startswith("RLIMIT_")
    ],
    "nice": os.nice(0),
    "group": os.getpgrp() == os.getppid() or os.getpgrp() != os.getpid(),
    "path": sys.path,
    "flags": str(sys.flags),
    "executable": sys.executable,
    "prefix": sys.prefix,
    "hooks": [str(sys.excepthook), str(getattr(sys, "unraisablehook", None)), str(sys.displayhook)],
    "modules": sorted(sys.modules),
}
sys.stdout.write(json.dumps(facts))
