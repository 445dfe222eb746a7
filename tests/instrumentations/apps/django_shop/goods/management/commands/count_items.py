"""Its own command; ``--fail`` fails, ``--boom`` raises."""

import asyncio

from django.core.management.base import BaseCommand, CommandError

from django_shop.goods.models import Item


class Command(BaseCommand):
    def add_arguments(self, parser):
        parser.add_argument("--fail", action="store_true")
        parser.add_argument("--boom", action="store_true")

    def handle(self, *args, **options):
        self.stdout.write(f"{Item.objects.count()} items")
        if options["fail"]:
            raise CommandError("that is how it is")
        if options["boom"]:
            raise ZeroDivisionError("boom")
        asyncio.run(self.later())

    async def later(self):
        self.stdout.write(f"{await Item.objects.acount()} items")
