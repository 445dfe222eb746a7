"""Serve ``module:application`` by gevent's or eventlet's own WSGI server, in a program that is patched first."""

import sys
from importlib import import_module


def gevent(name):
    from gevent import monkey

    monkey.patch_all()
    from gevent.pywsgi import WSGIServer

    server = WSGIServer(("127.0.0.1", 0), application(name))
    server.start()
    print(f"serving on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


def eventlet(name):
    import eventlet

    eventlet.monkey_patch()
    from eventlet import wsgi

    # Without the port of the client and the seconds, which differ each time.
    form = "%(client_ip)s %(request_line)s %(status_code)s %(body_length)s"
    wsgi.server(eventlet.listen(("127.0.0.1", 0)), application(name), log_format=form, debug=False)


def application(name):
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


{"gevent": gevent, "eventlet": eventlet}[sys.argv[1]](sys.argv[2])
