"""The import hook among loaders, finders, reloads and threads of every kind."""

from __future__ import annotations

import _frozen_importlib_external
import ctypes
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import threading
import traceback
import types
import zipfile

import pytest

from apm_run.instrument import hook


@pytest.fixture
def hooked(tmp_path, monkeypatch):
    """Modules ``awaited_a``, ``awaited_b`` and ``other`` on the path; ``hooked.seen`` is what was told of."""
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    monkeypatch.setattr(_frozen_importlib_external, "_fix_up_module", _frozen_importlib_external._fix_up_module)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("awaited_a", "awaited_b", "other"):
        (tmp_path / f"{name}.py").write_text(f"word = {name!r}\n")

    class Hooked:
        folder = tmp_path
        seen: list[types.ModuleType] = []
        finder = None

        def arm(self, *names, made=None):
            self.triggers = dict.fromkeys(names or ("awaited_a", "awaited_b"), ("file",))
            self.finder = hook.arm(self.triggers, self.seen.append, made)

        def names(self):
            return [module.__name__ for module in self.seen]

    Hooked.seen = []
    importlib.invalidate_caches()
    yield Hooked()
    sys.path_importer_cache.pop(str(tmp_path), None)


def test_told_of_after_the_import(hooked):
    hooked.arm()
    import awaited_a
    import other

    assert hooked.seen == [awaited_a]
    assert awaited_a.word == "awaited_a"
    assert other.word == "other"


def test_loader_is_the_original_one(hooked):
    bare = importlib.util.find_spec("awaited_a").loader
    hooked.arm()
    import awaited_a

    loader = awaited_a.__loader__
    assert type(loader) is type(bare) is importlib.machinery.SourceFileLoader
    assert loader is awaited_a.__spec__.loader
    assert vars(loader) == vars(bare)
    assert loader.exec_module.__func__ is importlib.machinery.SourceFileLoader.exec_module


def test_reload_is_told_of_again(hooked):
    hooked.arm()
    import awaited_a

    awaited_a.word = "changed"
    assert importlib.reload(awaited_a) is awaited_a
    assert awaited_a.word == "awaited_a"
    assert hooked.seen == [awaited_a, awaited_a]
    assert "exec_module" not in vars(awaited_a.__loader__)


def test_imported_already(hooked):
    import awaited_a

    hooked.arm()
    assert hooked.seen == [awaited_a]


def test_being_imported_is_not_told_of_before_the_end(hooked):
    (hooked.folder / "awaited_a.py").write_text("import sys\nsys.armer.arm()\nword = 1\n")
    sys.armer = hooked
    try:
        import awaited_a
    finally:
        del sys.armer
    assert awaited_a.word == 1
    assert hooked.seen == []


def test_odd_entries_of_sys_modules(hooked):
    sys.modules["awaited_a"] = None
    sys.modules["awaited_b"] = types.SimpleNamespace()
    hooked.arm()
    assert hooked.seen == [sys.modules["awaited_b"]]


def test_missing_module(hooked):
    hooked.arm("awaited_missing")
    with pytest.raises(ModuleNotFoundError) as caught:
        import awaited_missing  # noqa: F401
    assert caught.value.name == "awaited_missing"
    assert hooked.seen == []


def test_an_error_in_the_module_is_its_own(hooked):
    (hooked.folder / "awaited_a.py").write_text("raise LookupError('mine')\n")

    def attempt():
        with pytest.raises(LookupError, match="mine") as caught:
            import awaited_a  # noqa: F401
        assert "awaited_a" not in sys.modules
        return [(frame.filename, frame.name) for frame in traceback.extract_tb(caught.tb)]

    bare = attempt()
    hooked.arm()
    if sys.version_info >= (3, 11):  # older ones show the frames of an import that has one of ours in between
        assert attempt() == bare
    else:
        assert attempt()[-1] == bare[-1]
    assert hooked.seen == []
    (hooked.folder / "awaited_a.py").write_text("word = 'mended at last'\n")
    importlib.invalidate_caches()
    import awaited_a

    assert hooked.seen == [awaited_a]


def test_find_spec_by_the_program_leaves_nothing_behind(hooked):
    hooked.arm()
    specs = [importlib.util.find_spec("awaited_a") for _ in range(3000)]
    import awaited_a

    assert hooked.seen == [awaited_a]
    # The program may load what it has found: that is a module of its own.
    module = importlib.util.module_from_spec(specs[0])
    specs[0].loader.exec_module(module)
    specs[0].loader.exec_module(module)
    assert module.word == "awaited_a"
    assert hooked.seen == [awaited_a, module]


def test_lazy_loader(hooked):
    hooked.arm()
    spec = importlib.util.find_spec("awaited_a")
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules["awaited_a"] = module
    spec.loader.exec_module(module)
    assert hooked.seen == []
    assert module.word == "awaited_a"
    assert hooked.seen == [module]


@pytest.mark.skipif(sys.version_info < (3, 10), reason="Python 3.9 loads from zip files without exec_module")
def test_zip_file_with_one_loader_for_all(hooked, monkeypatch):
    archive = hooked.folder / "archive.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("zipped_a.py", "import zipped_b\nword = 'a'\n")
        file.writestr("zipped_b.py", "import zipped_c\nword = 'b'\n")
        file.writestr("zipped_c.py", "word = 'c'\n")
    monkeypatch.syspath_prepend(str(archive))
    hooked.arm("zipped_a", "zipped_b")
    # Asked for many times before it is loaded: each asking meets the same loader.
    for _ in range(3000):
        assert importlib.util.find_spec("zipped_a") is not None
    assert importlib.util.find_spec("zipped_b") is not None
    import zipped_a
    import zipped_b
    import zipped_c

    assert hooked.seen == [zipped_b, zipped_a]
    assert [module.word for module in (zipped_a, zipped_b, zipped_c)] == ["a", "b", "c"]
    assert zipped_a.__loader__ is zipped_b.__loader__
    assert "exec_module" not in vars(zipped_a.__loader__)


def test_namespace_package_and_built_in_module(hooked):
    (hooked.folder / "awaited_space").mkdir()
    hooked.arm("awaited_space", "_bisect_not_there")
    import awaited_space

    assert awaited_space.__path__
    finder = hook.Finder({"sys": ()}, hooked.seen.append, {})
    monkey = finder.find_spec("sys")
    assert monkey.loader is importlib.machinery.BuiltinImporter
    assert "exec_module" not in vars(monkey.loader) or isinstance(
        vars(monkey.loader)["exec_module"], (staticmethod, classmethod)
    )


class Loader(importlib.abc.Loader):
    """A loader that serves one source for all names."""

    def __init__(self):
        self.loaded = []

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        self.loaded.append(module.__name__)
        module.word = "of the loader"


class SlottedLoader:
    __slots__ = ()

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        module.word = "slotted"


class OldLoader:
    """One without exec_module."""

    def load_module(self, name):
        module = sys.modules[name] = types.ModuleType(name)
        module.__loader__ = self
        module.word = "old"
        return module


class Finder:
    def __init__(self, loader, names=("awaited_a",)):
        self.loader = loader
        self.names = names

    def find_spec(self, name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, self.loader) if name in self.names else None


@pytest.mark.parametrize("position", ["before", "after"])
@pytest.mark.parametrize("loader", [Loader, SlottedLoader])
def test_finders_of_the_programs(hooked, loader, position):
    finder = Finder(loader())
    if position == "after":
        sys.meta_path.insert(0, finder)
    hooked.arm()
    if position == "before":  # what comes before ours may keep the module to itself
        sys.meta_path.insert(0, finder)
    import awaited_a

    assert awaited_a.word in ("of the loader", "slotted")
    assert hooked.seen == ([awaited_a] if position == "after" and loader is Loader else [])


@pytest.mark.filterwarnings("ignore::ImportWarning", "ignore::DeprecationWarning")
@pytest.mark.skipif(sys.version_info >= (3, 15), reason="load_module is gone")
def test_loader_without_exec_module(hooked):
    sys.meta_path.insert(0, Finder(OldLoader()))
    hooked.arm()
    import awaited_a

    assert awaited_a.word == "old"
    assert hooked.seen == []


def test_finders_that_are_none(hooked):
    sys.meta_path.insert(0, object())
    hooked.arm()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "meta_path", [one for one in sys.meta_path if type(one) is not object] + [object()])
        import awaited_a
    assert hooked.seen == [awaited_a]
    assert hooked.finder.find_spec("awaited_missing") is None


def test_a_finder_that_asks_all_the_others(hooked):
    class Asking:
        asked = 0

        def find_spec(self, name, path=None, target=None):
            if name != "awaited_a":
                return None
            self.asked += 1
            assert self.asked < 50, "they ask each other for ever"
            for finder in sys.meta_path:
                if finder is not self:
                    spec = finder.find_spec(name, path, target)
                    if spec is not None:
                        return spec
            return None

    first, last = Asking(), Asking()
    hooked.arm()
    sys.meta_path.insert(0, first)
    sys.meta_path.insert(2, last)
    with pytest.MonkeyPatch.context() as patch:
        # Of two that ask each other without end one has to go, as without us.
        patch.setattr(sys, "meta_path", [one for one in sys.meta_path if one is not last])
        import awaited_a
    assert hooked.seen == [awaited_a]
    assert "exec_module" not in vars(awaited_a.__loader__)


def test_another_hook_of_the_same_kind(hooked):
    """Another agent that sets exec_module on the loader, and takes its own away again."""
    told = []

    class Other:
        def find_spec(self, name, path=None, target=None):
            if name != "awaited_a":
                return None
            spec = importlib.machinery.PathFinder.find_spec(name, path, target)
            loader = spec.loader
            original = loader.exec_module

            def exec_module(module):
                del loader.exec_module
                original(module)
                told.append(module)

            loader.exec_module = exec_module
            return spec

    sys.meta_path.insert(0, Other())
    hooked.arm()
    import awaited_a

    assert told == hooked.seen == [awaited_a]
    assert "exec_module" not in vars(awaited_a.__loader__)


def test_another_hook_that_wraps_ours(hooked):
    hooked.arm()
    ours = hooked.finder

    class Other:
        def find_spec(self, name, path=None, target=None):
            spec = ours.find_spec(name, path, target)
            if spec is not None:
                original = spec.loader.exec_module
                spec.loader.exec_module = lambda module: original(module)
            return spec

    sys.meta_path.insert(0, Other())
    import awaited_a

    assert hooked.seen == [awaited_a]
    assert "exec_module" in vars(awaited_a.__loader__)


def test_a_loader_of_several_modules(hooked):
    loader = Loader()
    sys.meta_path.insert(0, Finder(loader, ("awaited_a", "other", "awaited_b")))
    hooked.arm()
    assert importlib.util.find_spec("awaited_a") is not None
    import other

    assert hooked.seen == []
    assert "exec_module" in vars(loader)
    import awaited_b

    assert hooked.seen == [awaited_b]
    import awaited_a

    assert hooked.seen == [awaited_b, awaited_a]
    assert loader.loaded == [other.__name__, "awaited_b", "awaited_a"]
    assert "exec_module" not in vars(loader)


def test_a_module_that_puts_another_in_its_place(hooked):
    (hooked.folder / "awaited_a.py").write_text(
        "import sys, types\nmodule = sys.modules[__name__] = types.ModuleType(__name__)\nmodule.word = 'other'\n"
    )
    hooked.arm()
    import awaited_a

    assert awaited_a.word == "other"
    assert hooked.names() == ["awaited_a"]


def test_threads_importing_at_once(hooked):
    for number in range(20):
        (hooked.folder / f"awaited_{number}.py").write_text(
            f"import awaited_{number // 2}\nimport time\ntime.sleep(0.001)\nword = {number}\n"
        )
    importlib.invalidate_caches()
    hooked.arm(*(f"awaited_{number}" for number in range(20)))
    failures = []
    start = threading.Barrier(6)

    def work(first):
        start.wait()
        for step in range(20):
            number = (first * 3 + step) % 20
            try:
                importlib.import_module(f"awaited_{number}")
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    assert sorted(hooked.names()) == sorted(f"awaited_{number}" for number in range(20))


# Servers written in C


@pytest.fixture
def executing(hooked, monkeypatch):
    """C has the interpreter's own modules, whatever ``sys.modules`` is."""
    modules = ctypes.pythonapi.PyImport_GetModuleDict
    modules.restype = ctypes.c_void_p  # a borrowed reference
    monkeypatch.setattr(sys, "modules", ctypes.cast(modules(), ctypes.py_object).value)
    before = set(sys.modules)
    yield hooked
    for name in set(sys.modules) - before:
        del sys.modules[name]


def execute(name, source):
    """As a server does it in C; what it finds in the module's dictionary right afterwards."""
    call = ctypes.pythonapi.PyImport_ExecCodeModule
    call.restype, call.argtypes = ctypes.py_object, (ctypes.c_char_p, ctypes.py_object)
    return vars(call(name.encode(), compile(source, f"{name}.wsgi", "exec"))).get("word")


def wrap(module):
    module.word = f"wrapped {module.word}"


def test_a_module_that_a_server_makes(hooked):
    hooked.arm(made={"server": "options", "other_server": "options"})
    module = sys.modules["server"] = types.ModuleType("server")
    import other

    assert (hooked.seen, other.word) == ([], "other")
    module.options = {}
    import awaited_a
    import awaited_b

    assert hooked.seen == [module, awaited_a, awaited_b]


def test_what_is_learned_from_it_is_there_for_the_very_import(hooked):
    hooked.arm("unused", made={"server": "options"})
    hooked.finder._imported = lambda module: (hooked.seen.append(module), hooked.triggers.update(awaited_a=()))
    module = sys.modules["server"] = types.ModuleType("server")
    module.options = {}
    import awaited_a

    assert hooked.seen == [module, awaited_a]


def test_code_that_a_server_runs(executing):
    tracing = sys.gettrace()
    executing.arm("application", made={"server": "options"})
    executing.finder._imported = wrap
    source = "import sys\nassert sys.gettrace() is tracing\ndef nested(): pass\nnested()\nword = 'bare'\n"
    source = source.replace("tracing", "None" if tracing is None else "sys.gettrace()")
    assert execute("application", source) == "wrapped bare"
    assert sys.gettrace() is tracing
    assert execute("another", source) == "bare"
    assert execute("application", source) == "wrapped bare"
    assert executing.finder._running == []


def test_a_server_is_met_where_it_runs_code(executing):
    executing.arm(made={"server": "options"})
    module = sys.modules["server"] = types.ModuleType("server")
    module.options = {}
    assert execute("another", "word = 1\n") == 1
    assert executing.seen == [module]


def test_code_that_fails(executing):
    executing.arm("application", made={"server": "options"})
    with pytest.raises(ZeroDivisionError) as caught:
        execute("application", "1 / 0\n")
    assert [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)][1:] == ["execute", "<module>"]
    assert sys.modules.get("application") is None
    caught.value.__traceback__ = None
    del caught
    assert executing.seen == []


def test_a_program_that_traces_itself(executing):
    events = []

    def tracer(frame, event, arg):
        if frame.f_code.co_filename == "application.wsgi":
            events.append((event, frame.f_lineno))
        return tracer

    executing.arm("application", made={"server": "options"})
    executing.finder._imported = wrap
    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        assert execute("application", "word = 1\nword = 2\n") == "wrapped 2"
        assert sys.gettrace() is tracer
    finally:
        sys.settrace(before)
    assert [event for event, _ in events] == ["call", "line", "line", "return"]


def test_nothing_of_the_import_system_is_replaced_where_nothing_is_made(hooked):
    before = _frozen_importlib_external._fix_up_module
    hooked.arm()
    assert _frozen_importlib_external._fix_up_module is before
