from django.db import models


class Tutor(models.Model):
    name = models.CharField(max_length=200)
    subject = models.CharField(max_length=100)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "tutor"
        ordering = ["id"]
