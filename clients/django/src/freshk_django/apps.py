"""The Django application."""

from django.apps import AppConfig


class FreshKDjangoConfig(AppConfig):
    """Registers the system checks."""

    name = "freshk_django"
    verbose_name = "FreshK"

    def ready(self) -> None:
        """Import the checks, which registers them."""
        from freshk_django import checks  # noqa: F401, PLC0415
