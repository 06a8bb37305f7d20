from django.urls import include, path
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView


class Me(APIView):
    permission_classes = [IsAuthenticated]

    def get(self, request):
        return Response({"pk": str(request.user.pk), "model": request.user._meta.label})


urlpatterns = [path("me/", Me.as_view()), path("freshk/", include("freshk_django.urls"))]
