from django.conf.urls.i18n import i18n_patterns
from django.urls import include, path, re_path

from django_shop import api, views

handler500 = views.failed

years = [
    re_path(r"^(?P<year>[0-9]{4})/$", views.empty),
    re_path(r"^(?P<year>[0-9]{4})/page-(?:(?P<page>\d+)\.)?html$", views.empty),
    re_path(r"^([a-z/]{2,5})/unnamed$", views.empty),
]

urlpatterns = [
    path("", views.empty),
    path("items/<int:pk>/", views.item),
    path("async/<int:pk>/", views.async_item),
    path("class/<slug:name>/", views.Detail.as_view()),
    path("async-class/<slug:name>/", views.AsyncDetail.as_view()),
    path("missing/<int:pk>/", views.missing),
    path("denied/", views.denied),
    path("boom/<int:pk>/", views.boom),
    path("async-boom/<int:pk>/", views.async_boom),
    path("handled/", views.handled),
    path("status/<int:code>/", views.status),
    path("moved/", views.moved),
    path("template/<name>/", views.page),
    path("lazy-template/", views.lazy_page),
    path("jinja/", views.jinja),
    path("string/", views.string),
    path("broken-template/", views.broken_page),
    path("stream/<int:count>/", views.stream),
    path("async-stream/<int:count>/", views.async_stream),
    path("broken/", views.broken),
    path("endless/", views.endless),
    path("async-endless/", views.async_endless),
    path("slow/", views.slow),
    path("file/", views.file),
    path("upload/", views.upload),
    path("work/<int:number>/", views.work),
    path("async-work/<int:number>/", views.async_work),
    path("login/", views.login),
    path("user/", views.user),
    path("async-user/", views.async_user),
    path("nothing/", views.nothing),
    path("wiki/Foo_(bar)/", views.empty),
    path("archive/", include(years)),
    path("nested/<slug:shop>/", include(([path("items/<int:pk>/", views.empty)], "nested"))),
    path("api/", include(api.router.urls)),
    path("api/plain/<int:pk>/", api.Plain.as_view()),
    *i18n_patterns(path("greeting/<name>/", views.empty)),
]
