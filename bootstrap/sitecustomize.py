"""The first thing that a launched interpreter runs, of whatever version: old syntax, no imports of its own."""
import sys


def _start(here, own):
    version = sys.version_info[:2]
    if version < (3, 9) or sys.implementation.name != "cpython" or len(sys.path) == 0:
        return
    import _frozen_importlib as importlib  # the import system itself, loaded already
    import _frozen_importlib_external as external

    wheel = here.rpartition("/")[0]
    root = wheel.rpartition("/")[0] if wheel.endswith("/apm_run") else wheel + "/src"
    if "apm_run" not in sys.modules:
        spec = external.PathFinder.find_spec("apm_run", [root])
        if spec is None or spec.loader is None:
            return
        package = sys.modules["apm_run"] = importlib.module_from_spec(spec)
        spec.loader.exec_module(package)
    from apm_run import agent

    agent.start(own)


def _run():
    here = __file__.replace("\\", "/").rpartition("/")[0]
    own = sys.modules.get("sitecustomize")
    # Ours is for finding this file only; children find it through the environment.
    sys.path[:] = [entry for entry in sys.path if entry.replace("\\", "/").rstrip("/") != here]
    sys.path_importer_cache.pop(here, None)
    error = None
    try:
        sys.modules.pop("sitecustomize", None)
        import sitecustomize  # noqa: F401 (the program's own, if it has one)
    except ImportError as caught:
        if getattr(caught, "name", "sitecustomize") != "sitecustomize" or "No module" not in str(caught):
            error = caught
    except Exception as caught:
        error = caught
    sys.modules.setdefault("sitecustomize", own)
    try:
        _start(here, own)
    except KeyboardInterrupt:
        raise
    except BaseException:
        if __import__("os").environ.get("APM_RUN_STRICT") == "1":
            raise
    if error is None and sys.modules.get("sitecustomize") is own:
        # The program has none. The site module takes this error for that, and "import sitecustomize" fails as bare.
        error = ImportError("No module named 'sitecustomize'")
        error.name = "sitecustomize"
    if error is not None:
        raise error


_run()
