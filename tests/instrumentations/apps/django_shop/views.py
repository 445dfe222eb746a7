import asyncio
import time

from asgiref.sync import async_to_sync, sync_to_async
from django import http, shortcuts, template
from django.contrib import auth
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.template.response import TemplateResponse
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from django_shop.goods.models import Item


def failed(request):
    return http.HttpResponse("our own page", status=500)


def empty(request, *args, **kwargs):
    return http.HttpResponse("empty")


def nothing(request):
    return None


def item(request, pk):
    return http.JsonResponse({"items": Item.objects.filter(pk=pk).count()})


async def async_item(request, pk):
    count = await Item.objects.filter(pk=pk).acount()
    return http.JsonResponse({"items": count})


class Detail(View):
    def get(self, request, name):
        return http.HttpResponse(name)


class AsyncDetail(View):
    async def get(self, request, name):
        return http.HttpResponse(name)


def missing(request, pk):
    shortcuts.get_object_or_404(Item, pk=pk)


def denied(request):
    raise PermissionDenied


def boom(request, pk):
    raise ZeroDivisionError(f"boom {pk}")


async def async_boom(request, pk):
    raise ZeroDivisionError(f"boom {pk}")


def handled(request):
    raise LookupError("this")


def status(request, code):
    return http.HttpResponse("status", status=code)


def moved(request):
    return shortcuts.redirect("/items/1/")


def page(request, name):
    return shortcuts.render(request, "shop/page.html", {"name": name, "items": Item.objects.all()})


def lazy_page(request):
    return TemplateResponse(request, "shop/page.html", {"name": "lazy", "items": []})


def jinja(request):
    return shortcuts.render(request, "page.jinja", {"name": "jinja"}, using="jinja")


def string(request):
    made = template.Template("{{ name }}")
    return http.HttpResponse(made.render(template.Context({"name": "string"})))


def broken_page(request):
    def fail():
        raise OverflowError("in the template")

    return shortcuts.render(request, "shop/page.html", {"name": fail, "items": []})


def pieces(count):
    for number in range(count):
        Item.objects.filter(pk=number).exists()
        yield f"{number};"


def stream(request, count):
    return http.StreamingHttpResponse(pieces(count), content_type="text/plain")


async def async_stream(request, count):
    async def pieces():
        for number in range(count):
            await Item.objects.filter(pk=number).aexists()
            yield f"{number};"

    return http.StreamingHttpResponse(pieces(), content_type="text/plain")


def broken(request):
    def pieces():
        yield "x" * 10_000
        raise OverflowError("in the middle")

    return http.StreamingHttpResponse(pieces(), content_type="text/plain")


def endless(request):
    def pieces():
        try:
            while True:
                yield b"x" * 65536
                time.sleep(0.001)
        finally:
            Item.objects.count()

    return http.StreamingHttpResponse(pieces(), content_type="text/plain")


async def async_endless(request):
    async def pieces():
        while True:
            yield b"x" * 65536
            await asyncio.sleep(0.001)

    return http.StreamingHttpResponse(pieces(), content_type="text/plain")


async def slow(request):
    print("waiting", flush=True)
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        print("cancelled", flush=True)
        raise


def file(request):
    return http.FileResponse(open(__file__, "rb"), content_type="text/x-python")


@csrf_exempt
def upload(request):
    sizes = {name: file.size for name, file in request.FILES.items()}
    return http.JsonResponse({"sizes": sizes, "fields": request.POST.dict(), "body": not sizes and len(request.body)})


def query(number):
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {number} FROM goods_item")


async def later(number):
    await asyncio.sleep(0.01)
    await sync_to_async(query)(number)


def work(request, number):
    query(number)
    async_to_sync(later)(number)
    query(number)
    return http.HttpResponse(str(number))


async def async_work(request, number):
    await later(number)
    await asyncio.gather(later(number), sync_to_async(async_to_sync(later))(number))
    return http.HttpResponse(str(number))


def login(request):
    auth.login(request, auth.authenticate(request, username="ada", password="secret"))
    return http.HttpResponse("in")


def user(request):
    return http.HttpResponse(str(request.user.is_authenticated))


async def async_user(request):
    if hasattr(request, "auser"):
        found = await request.auser()
        return http.HttpResponse(str(found.is_authenticated))
    # Before Django 5.0 there is the lazy one only.
    return http.HttpResponse(str(await sync_to_async(lambda: request.user.is_authenticated)()))
