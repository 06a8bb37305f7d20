"""`path("freshk/", include("freshk_django.urls"))` in the project's URLs."""

from django.urls import path

from freshk_django.webhook import webhook

app_name = "freshk"
urlpatterns = [path("webhook/", webhook, name="webhook")]
