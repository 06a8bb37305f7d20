import uuid

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import BaseUserManager
from django.db import models


class Person(AbstractBaseUser):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    email = models.CharField(max_length=60, unique=True)
    phone = models.CharField(max_length=16, unique=True, null=True)
    kind = models.CharField(
        max_length=20, default="customer", choices=[("customer", "Customer"), ("retailer", "Retailer")]
    )
    phone_is_proven = models.BooleanField(default=False)
    joined = models.DateTimeField(null=True)
    shop = models.CharField(max_length=20, blank=True)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)

    objects = BaseUserManager()
    USERNAME_FIELD = "email"


class Order(models.Model):
    """A row that needs its user."""

    person = models.ForeignKey("people.Person", on_delete=models.PROTECT)
