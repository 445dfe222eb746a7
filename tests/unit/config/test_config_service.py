"""Names of services from the way programs are started."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from apm_run.config.service import UNKNOWN, clean, detect_service

VALID = re.compile(r"[a-zA-Z0-9 _-]{1,1024}\Z")


def name(
    argv: list[str], main_path: str | None = None, cwd: str = "/srv/shop", module: str | None = None, **env: str
) -> str:
    return detect_service(argv, main_path, cwd, env, module)[0]


@pytest.mark.parametrize(
    ("path", "want"),
    [
        ("/srv/shop/checkout.py", "checkout"),
        ("/srv/shop/check-out.v2.py", "check-out_v2"),
        ("/srv/shop/app.py", "shop"),
        ("/srv/shop/main.py", "shop"),
        ("/srv/shop/manage.py", "shop"),
        ("/srv/shop/wsgi.py", "shop"),
        ("/srv/shop/src/main.py", "shop"),
        ("/srv/shop/__main__.py", "shop"),
        ("/srv/shop.pyz/__main__.py", "shop"),
        ("/app/main.py", "app"),
        ("/usr/src/app/main.py", "app"),
        ("/home/bob/main.py", "bob"),
        ("/home/bob/shop/app/main.py", "shop"),
        ("/main.py", "main"),
        ("/venv/bin/shop-worker", "shop-worker"),
        ("/venv/bin/app", "app"),
        ("C/Scripts/shop.exe", "shop"),
        ("C/Scripts/shop-script.py", "shop"),
        ("/srv/shop/\u65e5\u672c.py", UNKNOWN),
        ("/srv/\u65e5\u672c/app.py", UNKNOWN),
        ("/srv/shop/caf\u00e9.py", "caf_"),
    ],
)
def test_scripts(path: str, want: str) -> None:
    assert name([path], path, cwd="/") == want
    assert name([path], None, cwd="/") == want


def test_relative_script_without_a_directory() -> None:
    assert name(["main.py"], None, cwd="/srv/shop") == "shop"
    assert name(["."], "./__main__.py", cwd="/srv/shop") == "shop"
    assert name(["../orders/app.py"], "../orders/app.py", cwd="/srv/shop") == "orders"
    assert name(["main.py"], None, cwd="") == "main"


@pytest.mark.parametrize(
    ("module", "path", "want"),
    [
        ("shop.__main__", "/lib/shop/__main__.py", "shop"),
        ("shop.worker", "/lib/shop/worker.py", "shop-worker"),
        ("shop.main", "/lib/shop/main.py", "shop"),
        ("http.server", "/lib/http/server.py", "http-server"),
        ("src.shop.main", "/x/src/shop/main.py", "shop"),
        ("main", "/srv/shop/main.py", "shop"),
        ("app.__main__", "/srv/shop/app/__main__.py", "shop"),
        ("checkout", "/srv/shop/checkout.py", "checkout"),
    ],
)
def test_modules(module: str, path: str, want: str) -> None:
    assert name([path, "-x"], path, module=module) == want


@pytest.mark.parametrize("argv", [["-c"], ["-c", "x"], ["-"], [""], []])
def test_code_from_the_command_line_or_standard_input(argv: list[str]) -> None:
    assert detect_service(argv, None, "/srv/shop", {}) == ("python", None)
    assert detect_service(argv, "<stdin>", "/srv/shop", {}) == ("python", None)


SERVED = [
    ("gunicorn shop.web:app", "shop"),
    ("gunicorn -w 4 -b 127.0.0.1:8000 -k gthread shop.wsgi", "shop"),
    ("gunicorn shop.wsgi -b unix:/run/x.sock --workers 4", "shop"),
    ("gunicorn --bind=localhost:http shop.checkout:create_app()", "shop-checkout"),
    ("gunicorn --reload -b :8000 shop.wsgi", "shop"),
    ("gunicorn --workers=4 orders", "orders"),
    ("gunicorn -c conf.py", "cwd-name"),
    ("gunicorn -c conf.py --log-level debug", "cwd-name"),
    ("gunicorn -c conf.py -k uvicorn.workers.UvicornWorker", "cwd-name"),
    ("gunicorn --reload shop.wsgi", "shop"),
    ("gunicorn app:app", "cwd-name"),
    ("gunicorn src.orders.app:app", "orders"),
    ("uvicorn main:app --reload --port 8000", "cwd-name"),
    ("uvicorn --app-dir src --host localhost price.api:app", "price-api"),
    ("uvicorn server:app", "cwd-name"),
    ("hypercorn shop:app", "shop"),
    ("daphne -p 8001 proj.asgi:application", "proj"),
    ("granian --interface asgi shop.web:app", "shop"),
    ("waitress-serve --port=80 --call shop.web:create_app", "shop"),
    ("flask --app shop run --port 1", "shop"),
    ("flask --app=shop.web:create_app run", "shop"),
    ("flask -A web/price.py run", "price"),
    ("flask -A shop/app.py run", "shop"),
    ("flask -A /srv/orders/wsgi.py:application run", "orders"),
    ("flask run --port 5000", "cwd-name"),
    ("flask run -A", "cwd-name"),
    ("fastapi run price.py", "price"),
    ("fastapi dev app/main.py --port 1", "cwd-name"),
    ("fastapi run", "cwd-name"),
    ("celery -A shop.tasks worker -l info", "shop"),
    ("celery -A shop worker", "shop"),
    ("celery worker", "cwd-name"),
    ("dramatiq shop.jobs", "shop-jobs"),
    ("arq shop.worker.WorkerSettings", "shop-worker-WorkerSettings"),
]


@pytest.mark.parametrize(("command", "want"), SERVED)
def test_servers(command: str, want: str) -> None:
    server, *arguments = command.split()
    script = f"/venv/bin/{server}"
    assert name([script, *arguments], script, cwd="/srv/cwd-name") == want
    main = f"/lib/{server}/__main__.py"
    assert name([main, *arguments], main, cwd="/srv/cwd-name", module=f"{server}.__main__") == want


def test_flask_app_variable() -> None:
    script = "/venv/bin/flask"
    assert name([script, "run"], script, FLASK_APP="orders.web:create_app") == "orders"
    assert name([script, "--app", "shop", "run"], script, FLASK_APP="orders") == "shop"
    assert name(["/venv/bin/gunicorn"], "/venv/bin/gunicorn", FLASK_APP="orders") == "shop"


@pytest.mark.parametrize("cwd", ["", "/"])
def test_server_without_application_and_directory(cwd: str) -> None:
    assert name(["/venv/bin/gunicorn"], "/venv/bin/gunicorn", cwd=cwd) == "gunicorn"
    assert name(["/venv/bin/uvicorn", "main:app"], "/venv/bin/uvicorn", cwd=cwd) == "main"


def test_random_arguments_give_a_valid_name() -> None:
    chance = random.Random(3)
    alphabet = "aB9 ._-:/=\\@\u0661\u65e5\n\x00\udc80"
    for _ in range(3000):
        words = ["".join(chance.choices(alphabet, k=chance.randrange(8))) for _ in range(chance.randrange(5))]
        for first in ("/venv/bin/gunicorn", "/venv/bin/flask", *words[:1]):
            path = chance.choice([None, first])
            found, _ = detect_service([first, *words], path, "/tmp", {}, chance.choice([None, *words]))
            assert VALID.match(found), (first, words)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("shop", "shop"),
        ("a.b/c", "a_b_c"),
        ("\u65e5", "_"),
        ("", UNKNOWN),
        ("a" * 2000, "a" * 1024),
        ("x y-z_1", "x y-z_1"),
    ],
)
def test_clean(text: str, want: str) -> None:
    assert clean(text) == want


class TestVersion:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "src/shop").mkdir(parents=True)
        return tmp_path

    def version(self, folder: Path) -> str | None:
        path = str(folder / "src/shop/x.py")
        return detect_service([path], path, "/", {})[1]

    @pytest.mark.parametrize(
        ("text", "want"),
        [
            ('[project]\nname = "x"\nversion = "1.2.3"  # now\n', "1.2.3"),
            ("[tool.poetry]\nversion='2.0'\n", "2.0"),
            ('[tool.x]\nversion = "9"\n[project]\nname = "x"\n', None),
            ('[project]\ndynamic = ["version"]\n[tool.y]\nversion = "1"\n', None),
            ('[project]\nversion = ""\n', None),
            ("[project]\nversion\n", None),
            ("", None),
        ],
    )
    def test_pyproject(self, folder: Path, text: str, want: str | None) -> None:
        (folder / "pyproject.toml").write_text(text)
        assert self.version(folder) == want

    @pytest.mark.parametrize(
        ("text", "want"),
        [
            ("[metadata]\nversion = 3.1\n", "3.1"),
            ("[metadata]\nversion = attr: shop.__version__\n", None),
            ("\xff", None),
        ],
    )
    def test_setup_cfg(self, folder: Path, text: str, want: str | None) -> None:
        (folder / "setup.cfg").write_text(text, encoding="latin-1")
        assert self.version(folder) == want

    def test_the_nearest_file_counts(self, folder: Path) -> None:
        (folder / "pyproject.toml").write_text('[project]\nversion = "1"\n')
        (folder / "src/shop/setup.cfg").write_text("[metadata]\nversion = 2\n")
        assert self.version(folder) == "2"

    def test_no_file(self, folder: Path) -> None:
        assert self.version(folder) is None

    def test_a_file_that_cannot_be_read(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # The memory of the process is the one file that root may open and not read from the start of.
        (folder / "pyproject.toml").symlink_to("/proc/self/mem")
        assert self.version(folder) is None

    def test_the_application_of_a_server(self, folder: Path) -> None:
        (folder / "pyproject.toml").write_text('[project]\nversion = "1.5"\n')
        argv = ["/venv/bin/gunicorn", "shop.web:app"]
        assert detect_service(argv, argv[0], str(folder), {}) == ("shop", "1.5")

    def test_a_console_script_has_none(self, folder: Path) -> None:
        (folder / "bin").mkdir()
        (folder / "pyproject.toml").write_text('[project]\nversion = "1.5"\n')
        script = str(folder / "bin/shop")
        assert detect_service([script], script, str(folder), {}) == ("shop", None)
