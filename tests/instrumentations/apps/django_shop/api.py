"""Views of Django REST framework."""

from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.routers import DefaultRouter
from rest_framework.serializers import ModelSerializer
from rest_framework.views import APIView
from rest_framework.viewsets import ModelViewSet

from django_shop.goods.models import Item


class ItemSerializer(ModelSerializer):
    class Meta:
        model = Item
        fields = ("id", "name")


class ItemViewSet(ModelViewSet):
    queryset = Item.objects.order_by("pk")
    serializer_class = ItemSerializer

    @action(detail=True)
    def boom(self, request, pk):
        raise ZeroDivisionError(f"boom {pk}")

    @action(detail=False)
    def wrong(self, request):
        raise ValidationError({"name": "wrong"})

    @action(detail=False, permission_classes=[IsAuthenticated])
    def mine(self, request):
        return Response({"user": request.user.username})


class Plain(APIView):
    def get(self, request, pk):
        return Response({"pk": pk})


router = DefaultRouter()
router.register("items", ItemViewSet)
