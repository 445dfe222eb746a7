"""What ``manage.py test`` finds."""

from django.test import TestCase

from django_shop.goods.models import Item


class Items(TestCase):
    def test_the_client(self):
        assert self.client.get("/items/1/").json() == {"items": 0}

    async def test_async(self):
        assert await Item.objects.acount() == 0

    def test_errors_reach_the_test(self):
        with self.assertRaises(ZeroDivisionError):  # noqa: PT027
            self.client.get("/boom/1/")
