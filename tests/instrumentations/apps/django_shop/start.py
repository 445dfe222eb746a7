"""Tables and a user, before the first request."""

import os
from threading import Thread

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "django_shop.settings")


def prepare():
    # The server may have an event loop running already, in which Django refuses the database.
    thread = Thread(target=_prepare)
    thread.start()
    thread.join()


def _prepare():
    import django

    django.setup()
    from django.contrib.auth import get_user_model
    from django.core.management import call_command

    call_command("migrate", verbosity=0, run_syncdb=True)
    users = get_user_model().objects
    if not users.filter(username="ada").exists():
        users.create_user("ada", "ada@example.com", "secret")
