"""The table of FreshK's accounts."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    """Make the table."""

    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="FreshKAccount",
            fields=[
                ("freshk_id", models.BigIntegerField(primary_key=True, serialize=False, verbose_name="FreshK's id")),
                ("username", models.CharField(blank=True, db_index=True, max_length=150)),
                ("phone_number", models.CharField(blank=True, db_index=True, max_length=16, null=True)),
                ("role", models.CharField(blank=True, max_length=150)),
                ("phone_verified", models.BooleanField(blank=True, null=True)),
                ("date_joined", models.BigIntegerField(blank=True, null=True)),
                ("is_active", models.BooleanField(default=True, verbose_name="active in FreshK")),
                ("version", models.BigIntegerField(default=0, help_text="Of the newest event; 0 before the first.")),
                (
                    "event_at",
                    models.BigIntegerField(blank=True, help_text="When the newest event happened.", null=True),
                ),
                (
                    "claims_at",
                    models.BigIntegerField(blank=True, help_text="When the newest token was issued.", null=True),
                ),
                (
                    "not_before",
                    models.BigIntegerField(blank=True, help_text="Tokens issued earlier are refused.", null=True),
                ),
                (
                    "deleted_at",
                    models.BigIntegerField(blank=True, help_text="When FreshK's user was deleted.", null=True),
                ),
                (
                    "user",
                    models.OneToOneField(
                        blank=True,
                        help_text="Empty until the person's first call, and after deletion.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="freshk_account",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "FreshK account",
            },
        ),
    ]
