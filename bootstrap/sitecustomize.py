"""The first thing that a launched interpreter runs, of whatever version: old syntax, nothing that is not loaded yet."""

import os
import sys


def _aside(reason):
    # Doctor, where it listens, is told why this process runs untouched.
    folder, pid = os.environ.get("APM_RUN_REPORT", ""), os.getpid()
    if os.path.isdir(folder):
        handle = os.open("%s/%d.json" % (folder, pid), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.write(handle, ('{"schema": 1, "pid": %d, "state": "aside", "aside": "%s"}' % (pid, reason)).encode())
        os.close(handle)


def _start(here):
    if sys.version_info[:2] < (3, 9) or sys.implementation.name != "cpython" or len(sys.path) == 0:
        kind = "PyPy " if "PyPy" in sys.version else "Python "
        return _aside("only CPython 3.9 and newer is traced, and this is " + kind + sys.version.split()[0])
    import _frozen_importlib as importlib  # the import system itself, loaded already
    import _frozen_importlib_external as external
    from time import perf_counter_ns

    began = perf_counter_ns()
    wheel = here.rpartition("/")[0]
    root = wheel.rpartition("/")[0] if wheel.endswith("/apm_run") else wheel + "/src"
    if "apm_run" not in sys.modules:
        spec = external.PathFinder.find_spec("apm_run", [root])
        if spec is None or spec.loader is None:
            return _aside("the package apm_run is not where its bootstrap directory is")
        package = sys.modules["apm_run"] = importlib.module_from_spec(spec)
        spec.loader.exec_module(package)
    from apm_run import agent

    return agent.start(began)


def _run():
    here = __file__.replace("\\", "/").rpartition("/")[0]
    # Ours is for finding this file only; children find it through the environment.
    sys.path[:] = [entry for entry in sys.path if entry.replace("\\", "/").rstrip("/") != here]
    sys.path_importer_cache.pop(here, None)
    own = sys.modules.pop("sitecustomize", None)
    error = None
    try:
        import sitecustomize  # noqa: F401 (the program's own, if it has one)
    except Exception as caught:
        error = caught
    try:
        _start(here)
    except KeyboardInterrupt:
        raise
    except BaseException:
        if os.environ.get("APM_RUN_STRICT") == "1":
            raise
    if error is not None and own is not None:
        raise error  # that there is none, which the site module takes for that; or what the program's own has raised


_run()
