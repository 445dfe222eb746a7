"""Everything that a project has by default, but the admin."""

import os
from pathlib import Path

HERE = Path(__file__).parent
SECRET_KEY = "only for tests"
DEBUG = os.environ.get("SHOP_DEBUG") == "1"
DEBUG_PROPAGATE_EXCEPTIONS = os.environ.get("SHOP_PROPAGATE") == "1"
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = [
    *os.environ.get("SHOP_APPS", "").split(),
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_shop.goods",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_shop.middleware.BothKinds",
    "django_shop.middleware.only_sync",
    "django_shop.middleware.only_async",
]
ROOT_URLCONF = "django_shop.urls"
WSGI_APPLICATION = "django_shop.wsgi.application"
ASGI_APPLICATION = "django_shop.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [HERE / "templates"],
        "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
    },
    {"BACKEND": "django.template.backends.jinja2.Jinja2", "NAME": "jinja", "DIRS": [HERE / "jinja"]},
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": Path.cwd() / "shop.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "static/"
STATICFILES_DIRS = [HERE / "jinja"]
USE_TZ = True
LANGUAGES = [("en", "English"), ("de", "Deutsch")]
