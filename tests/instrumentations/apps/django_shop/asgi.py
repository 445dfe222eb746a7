from django.core.asgi import get_asgi_application

from django_shop.start import prepare

prepare()
application = get_asgi_application()
