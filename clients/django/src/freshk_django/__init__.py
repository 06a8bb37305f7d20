"""FreshK's phone logins in a Django project: `request.user` is the project's own user."""

__version__ = "0.1.0"
