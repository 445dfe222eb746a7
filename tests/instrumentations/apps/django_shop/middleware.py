"""Middleware of every kind. ``?middleware=`` says where one raises."""

from asgiref.sync import iscoroutinefunction
from django.utils.decorators import async_only_middleware, sync_and_async_middleware, sync_only_middleware


class RaisedByMiddleware(Exception):
    pass


def mind(request, place):
    if request.GET.get("middleware") == place:
        raise RaisedByMiddleware(place)


@sync_and_async_middleware
def BothKinds(get_response):
    if iscoroutinefunction(get_response):

        async def middleware(request):
            mind(request, "before")
            response = await get_response(request)
            mind(request, "after")
            return response

    else:

        def middleware(request):
            mind(request, "before")
            response = get_response(request)
            mind(request, "after")
            return response

    return middleware


class Hooks:
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        return self.get_response(request)

    def process_view(self, request, function, args, kwargs):
        mind(request, "view")

    def process_exception(self, request, error):
        from django.http import HttpResponse

        if isinstance(error, LookupError):
            return HttpResponse(f"handled {error}", status=409)
        return None


@sync_only_middleware
def only_sync(get_response):
    return Hooks(get_response)


@async_only_middleware
def only_async(get_response):
    async def middleware(request):
        return await get_response(request)

    return middleware
