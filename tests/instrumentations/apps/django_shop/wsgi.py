from django.core.wsgi import get_wsgi_application

from django_shop.start import prepare

prepare()
application = get_wsgi_application()
