from threading import Thread

from django.core.asgi import get_asgi_application

from django_shop.start import prepare

# The server may have an event loop running already, in which Django refuses the database.
thread = Thread(target=prepare)
thread.start()
thread.join()
application = get_asgi_application()
